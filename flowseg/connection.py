"""Connections to servers of files: addresses of the right form, certificates verified, no way from https to http."""

import os
import ssl
import urllib.parse
import urllib.request
from typing import IO, Any

from flowseg.errors import DownloadError, OptionError


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never from a protected connection to an open one."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in {"http", "https"} or (req.type == "https" and scheme == "http"):
            fp.close()
            raise DownloadError(f"{req.full_url} redirects to {newurl}, which is not protected: not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def opener() -> urllib.request.OpenerDirector:
    """Return an opener that verifies certificates, whatever other packages did to this process's defaults."""
    context = ssl.create_default_context()
    if not context.get_ca_certs() and not os.environ.get("SSL_CERT_FILE"):
        import certifi  # some Pythons come without the system's authorities

        context.load_verify_locations(certifi.where())
    made = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _SafeRedirects)
    made.addheaders = [("User-Agent", "flowseg"), ("Accept-Encoding", "identity")]
    return made


def check_address(url: str) -> None:
    """Refuse what is no address of a file on a server, or holds a user name."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise OptionError(f"the address {url!r} is not of the form http(s)://host/path")
    if parts.username is not None:
        raise OptionError(f"the address of {parts.hostname} holds a user name, which is not supported")
