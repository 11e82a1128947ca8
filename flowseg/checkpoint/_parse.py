"""Bytes to named tensors, running nothing that a file asks for."""

import io
import json
import pickle
import re
import zipfile
from typing import Any, NamedTuple

import numpy.typing as npt

from flowseg.checkpoint import _torch_zip
from flowseg.checkpoint._tensors import as_arrays
from flowseg.checkpoint._torch_zip import DAMAGE
from flowseg.errors import ModelError

Array = npt.NDArray[Any]

HEADER = "flowseg"
"""Name of the entry in a safetensors header that holds the config."""

_LEGACY_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)


class _Foreign(NamedTuple):
    marker: bytes  # part of a tensor's name
    text: str


_FOREIGN = (
    _Foreign(
        b"net.encoder.patch_embed",
        "the transformer of Cellpose 3 (transformer_cp3), a SegFormer; flowseg runs the residual networks of Cellpose "
        "1 to 3: use cyto3 or another of them, or run this one in Cellpose 3",
    ),
    _Foreign(
        b"encoder.patch_embed",
        "the Segment Anything transformer of Cellpose 4 (cpsam); flowseg runs the residual networks of Cellpose "
        "1 to 3: use cyto3 or another of them, or run this one in Cellpose 4",
    ),
    _Foreign(b"mask_decoder.", "a Segment Anything model; flowseg runs the residual networks of Cellpose 1 to 3"),
)


_OPENINGS = (
    (b"\x93NUMPY", "a NumPy array; size models (size_*.npy) are read by flowseg.checkpoint.read_size_model"),
    (b"\x12\x01\x00\x00\x00\x00\x00\x00", "an MXNet model of Cellpose before 0.6; use its torch twin (cytotorch_0)"),
    (b"\x89HDF", "an HDF5 file (Keras, StarDist); flowseg reads Cellpose's torch files and its own"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with 'git lfs pull'"),
    (b"\x80", "a Python pickle, which could run code; save the network's state_dict with torch.save"),
    (b"<", "a web page (HTML or XML), not the model it should link to; download it again"),
)


def is_safetensors(data: bytes) -> bool:
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= 16 * 2**20


def parse_safetensors(data: bytes) -> tuple[dict[str, Array], Any]:
    import safetensors.numpy

    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        stated = header.get("__metadata__", {}).get(HEADER)
        if any(isinstance(entry, dict) and entry.get("dtype") == "BF16" for entry in header.values()):
            tensors = _with_bfloat16(data)
        else:
            tensors = safetensors.numpy.load(data)
        values = None if stated is None else json.loads(stated)
    except (*DAMAGE, safetensors.SafetensorError) as error:
        raise ModelError(f"the safetensors file is damaged or cut short ({brief(error)})") from error
    return tensors, values


def _with_bfloat16(data: bytes) -> dict[str, Array]:
    """Read what numpy has no type for."""
    import safetensors.torch

    return as_arrays(safetensors.torch.load(data))


def parse_torch(data: bytes) -> dict[str, Array]:
    if data.startswith(b"PK"):
        _check_zip(data)
    elif not data.startswith(_LEGACY_TORCH):
        raise ModelError(f"this is {_opening(data)}")
    plain = _torch_zip.read(data)  # whose reader checks what it reads
    if plain is not None:
        return plain
    if data.startswith(b"PK"):
        _check_sums(data)
    return _parsed_by_torch(data)


def _parsed_by_torch(data: bytes) -> dict[str, Array]:
    import torch

    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(_why_refused(str(error))) from error
    except DAMAGE as error:
        raise ModelError(f"the torch file is damaged or cut short ({brief(error)})") from error
    return _named_tensors(content, len(data))


def _opening(data: bytes) -> str:
    for start, text in _OPENINGS:
        if data[:64].lstrip().startswith(start):
            return text
    return f"no model file: it begins with {data[:16]!r}; wanted a torch state dict of Cellpose, or safetensors"


def _check_zip(data: bytes) -> None:
    """Refuse archives that torch does not write: cut short, without tensors, compressed, or with shared contents."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except DAMAGE as error:
        raise ModelError(f"the file is cut short or damaged ({brief(error)}); fetch it again") from error
    if not any(entry.filename.endswith("data.pkl") for entry in entries):
        raise ModelError("this is a zip archive, not a model (is the model inside it? then unpack it)")
    if any("/code/" in entry.filename for entry in entries):
        raise ModelError("this is a TorchScript program, which is code; save the network's state_dict with torch.save")
    packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if packed or sum(entry.file_size for entry in entries) > len(data):
        raise ModelError("the archive unpacks to more than its size, which torch files never do; refused")


def _check_sums(data: bytes) -> None:
    """Refuse an archive of which some bytes changed on the way: torch does not look."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        changed = [entry.filename for entry in entries if not _is_whole(archive, entry)]
    if 0 < len(changed) < len(entries):  # torch can be told to write no checksums: then none is right
        raise ModelError(f"the file is damaged: the checksum of {changed[0]} differs; fetch it again")


def _is_whole(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    try:
        archive.read(entry)
    except DAMAGE:
        return False
    return True


def _why_refused(text: str) -> str:
    found = re.search(r"GLOBAL ([\w.]+)", text)
    if found is None:
        reason = text.strip().splitlines()[-1][:120] if text.strip() else "no reason given"
        return f"the torch file is damaged, or holds what weights never need ({reason}); refused"
    name = found.group(1)
    return f"the file asks to run {name}, which could be any code; refused. Save the network's state_dict instead"


def _named_tensors(content: object, size: int) -> dict[str, Array]:
    import torch

    if not isinstance(content, dict) or not content:
        raise ModelError(f"the torch file holds a {type(content).__name__}; wanted a state dict, names and tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ModelError(f"{str(name)[:60]!r} is a {type(value).__name__}; wanted a state dict, names and tensors")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise ModelError(f"{name[:60]} is a sparse, quantised or meta tensor; wanted a dense one")
    if sum(value.numel() * value.element_size() for value in content.values()) > size:
        raise ModelError("its tensors claim more bytes than the file has; refused")
    return as_arrays(content)


def names_in_zip(file: io.BufferedReader) -> bytes:
    """Return the part of a torch file that names the tensors, without reading the tensors."""
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith("data.pkl") and entry.file_size < 2**24:
                    return archive.read(entry)
    except DAMAGE:
        pass  # not recognised, which the caller says
    return b""


def refuse_foreign(names: bytes) -> None:
    for foreign in _FOREIGN:
        if foreign.marker in names:
            raise ModelError(f"this is {foreign.text}")


def brief(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:120]
