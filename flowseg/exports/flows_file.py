"""Flows and probability kept in a file, so that thresholds can be changed without running the network again."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flowseg.arrays import Floats
from flowseg.errors import InputError


class KeptFlows(NamedTuple):
    """Flows (2, H, W), logits (H, W), and what is known about them."""

    flows: Floats
    cellprob: Floats
    about: dict[str, Any]


def encode(flows: Floats, cellprob: Floats, about: Mapping[str, Any]) -> bytes:
    """Return an npz archive of float32 arrays ``flows`` and ``cellprob`` and the JSON text ``about``."""
    buffer = io.BytesIO()
    np.savez(buffer, flows=flows, cellprob=cellprob, about=np.array(json.dumps(dict(about))))
    return buffer.getvalue()


def read(path: Path) -> KeptFlows:
    """Read what `encode` wrote; nothing in the file is run."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            return KeptFlows(kept["flows"], kept["cellprob"], json.loads(str(kept["about"])))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a file of flows that --save flows wrote: {error}") from error
