"""A table beside the images that says more of each, such as its kind."""

from pathlib import Path

from flowseg.errors import InputError
from flowseg.names import last_part
from flowseg.sources import _csv
from flowseg.sources._gather import files_in

_KEYS = ("id", "image", "name")
_NAMES = ("id", "name", "image", "image_id", "imageid", "filename", "file_name", "file")
_OF_INSTANCES = {"annotation", "predicted", "encodedpixels", "rle"}
_MOST_BYTES = 1 << 26


def columns_beside(root: Path) -> dict[str, dict[str, str]]:
    """Return, by name of image, what the one CSV file of a folder says of it; nothing where there is no such file.

    Its first column is to be called id, name, image, filename or the like, and to name each image once.

    Raises
    ------
    InputError
        It is not in UTF-8.
    """
    tables = [path for path in files_in(root, (".csv",)) if path.stat().st_size <= _MOST_BYTES]
    headers = {path: _csv.header(path) for path in tables}
    fitting = [path for path, names in headers.items() if names and names[0] in _NAMES and not _OF_INSTANCES & {*names}]
    if len(fitting) != 1:
        return {}
    names = headers[fitting[0]]
    _csv.require_utf_8(fitting[0], 1, names)
    found: dict[str, dict[str, str]] = {}
    for row in _csv.rows(fitting[0]):
        _csv.require_utf_8(fitting[0], row.line, row.rough)
        if row.fields is None or len(row.fields) != len(names):
            continue
        key = row.fields[0].strip()
        key = Path(last_part(key)).stem if "file" in names[0] else key
        if key in found:  # a row an instance, not an image
            return {}
        found[key] = dict(zip(names[1:], (value.strip() for value in row.fields[1:]), strict=True))
    return found


def side_table(path: Path) -> dict[str, dict[str, str]]:
    """Return, by name of image, what a table says of it; ``id``, ``image`` or ``name``, or the first column, names it.

    Raises
    ------
    InputError
        It has no rows, rows that cannot be read, or several that say different things about one image.
    """
    names, small = _csv.names(path), _csv.header(path)
    _csv.require_utf_8(path, 1, names)
    key = next((small.index(name) for name in _KEYS if name in small), 0)
    found: dict[str, dict[str, str]] = {}
    for line, fields, rough in _csv.rows(path):
        _csv.require_utf_8(path, line, rough)
        if fields is None or len(fields) != len(names):
            raise InputError(f"{path}, line {line}: wanted {len(names)} fields, as many as columns")
        values = {name: field.strip() for name, field in zip(names, fields, strict=True) if name}
        image = fields[key].strip()
        if found.setdefault(image, values) != values:
            raise InputError(
                f"{path}, line {line}: it says of {image} what an earlier line does not; wanted one row each"
            )
    if not found:
        raise InputError(f"{path} has no rows")
    return found
