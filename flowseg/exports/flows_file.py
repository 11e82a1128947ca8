"""Flows and probability kept in a file, so that thresholds can be changed without running the network again."""

import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flowseg import checks, files
from flowseg.arrays import Floats
from flowseg.errors import InputError
from flowseg.options import MaskOptions

# What damaged bytes make zipfile and numpy raise.
_DAMAGE = (
    *(OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, SyntaxError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


class KeptFlows(NamedTuple):
    """Flows (2, H, W), logits (H, W), and what is known about them."""

    flows: Floats
    cellprob: Floats
    about: dict[str, Any]

    def masks(self, changed: Mapping[str, Any]) -> MaskOptions:
        """Return the thresholds that the image was segmented with, some of them changed."""
        stated = checks.known_fields(MaskOptions, self.about.get("masks", {}), "record of thresholds")
        return MaskOptions(**{**stated, **changed})


def encode(flows: Floats, cellprob: Floats, about: Mapping[str, Any]) -> bytes:
    """Return an npz archive of float32 arrays ``flows`` and ``cellprob`` and the JSON text ``about``."""
    buffer = io.BytesIO()
    np.savez(buffer, flows=flows, cellprob=cellprob, about=np.array(json.dumps(dict(about))))
    return buffer.getvalue()


def read(path: Path) -> KeptFlows:
    """Read what `encode` wrote; nothing in the file is run."""
    files.check_has_end(path)
    wanted = "not a file of flows that --save flows wrote"
    try:
        if not zipfile.is_zipfile(path):
            raise InputError(f"{path} is {wanted}, or was cut short")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            about = dict(json.loads(str(kept["about"])))
            return KeptFlows(kept["flows"], kept["cellprob"], about)
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{path} is {wanted}, or was damaged: {error}") from error
