"""Model files: weights and what they say about themselves, in and out.

Two kinds are read and written: flowseg's own, safetensors with the `ModelConfig` as JSON in the header, and those of
Cellpose 1 to 3, a torch state dict. Neither can run code: torch files are unpickled with ``weights_only=True``, and
whatever needs more is refused. A file is read once, as a whole, and its SHA-256 is that of the bytes that were used.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import flowseg
from flowseg.checkpoint import _parse, _tensors
from flowseg.checkpoint._files import PathLike, digest, naming, opened, read_bytes, write
from flowseg.checkpoint._tensors import Arrays
from flowseg.checkpoint.size_model import SizeModel, read_size_model
from flowseg.errors import ModelError
from flowseg.model_config import Architecture, ModelConfig
from flowseg.words import many

if TYPE_CHECKING:
    import torch

    from flowseg.network import Network

__all__ = [
    "MAX_BYTES",
    "Checkpoint",
    "SizeModel",
    "digest",
    "naming",
    "read",
    "read_size_model",
    "require_cellpose",
    "write_cellpose",
    "write_flowseg",
]

MAX_BYTES = 512 * 2**20
"""Largest model file that is read; those of Cellpose 1 to 3 have 27 MB."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model file, read and checked.

    Attributes
    ----------
    config
        What the file says about its network; where it says nothing, the defaults of `ModelConfig`.
    arrays
        Every tensor under Cellpose's name; floats are float32, whatever the file held.
    digest
        SHA-256 of the file, 64 hexadecimal digits.
    source
        ``"flowseg"`` or ``"cellpose"``.
    diameter_known
        Whether the file itself says which diameter it wants. Files of Cellpose 1 do not: 30 is assumed, and
        Cellpose's own nuclei model wants 17.
    """

    config: ModelConfig
    arrays: Arrays
    digest: str
    source: str
    diameter_known: bool = True

    @cached_property
    def weights(self) -> "dict[str, torch.Tensor]":
        """The arrays as tensors of torch, on the CPU; they share their memory."""
        import torch

        return {name: torch.from_numpy(array) for name, array in self.arrays.items()}

    def network(self) -> "Network":
        """Return a new network with a copy of these weights, on the CPU and in evaluation mode."""
        import torch

        from flowseg.network import Network

        with torch.device("meta"):  # shapes alone: no memory, no time
            network = Network(self.config.architecture)
        network.load_state_dict({name: tensor.clone() for name, tensor in self.weights.items()}, assign=True)
        return network.eval()

    def require_segmentation(self) -> None:
        """Raise `ModelError` unless the network gives the three maps that instances are made of."""
        outputs = self.config.architecture.outputs
        if outputs != 3:
            hint = "; is it of Omnipose?" if outputs == 4 else "; is it one of Cellpose's image restoration?"
            maps = many(outputs, "map")
            raise ModelError(f"the network gives {maps}; wanted 3 (flows along y and x, cell probability){hint}")


def read(path: PathLike) -> Checkpoint:
    """Read a model file: flowseg's own, or one of Cellpose 1, 2 or 3.

    The network's shape is taken from the tensors, so networks of other widths, input channels and numbers of outputs
    are read as they are; `Checkpoint.require_segmentation` tells those that cannot segment. A ``module.`` before every
    name (DataParallel) is taken off. That a network was trained without style cannot be seen in its tensors: like
    Cellpose 1 and 2, this trusts a name that begins ``cellpose_residual_on_style_off_``.

    Raises
    ------
    ModelError
        Missing, empty, damaged, too large, of another kind, able to run code, or with tensors that are missing, too
        many, of the wrong shape, NaN or infinite.

    Examples
    --------
    >>> import tempfile
    >>> from flowseg.network import Network
    >>> folder = tempfile.mkdtemp()
    >>> network = Network(Architecture(widths=(4, 8)))
    >>> digest = write_flowseg(f"{folder}/tiny", ModelConfig(architecture=network.architecture), network.state_dict())
    >>> read(f"{folder}/tiny").config.architecture.widths
    (4, 8)
    """
    file = Path(path)
    with naming(file):
        data = _read_bytes(file)
        if _parse.is_safetensors(data):
            given, values = _parse.parse_safetensors(data)
        else:
            given, values = _parse.parse_torch(data), None
        tensors = _tensors.without_wrapper(given)
        _parse.refuse_foreign(" ".join(tensors).encode(errors="replace"))
        stated = None if values is None else _tensors.stated_config(values)
        config = stated or _tensors.inferred_config(tensors, file.name)
        arrays = _tensors.checked(tensors, config)
    return Checkpoint(
        config=config,
        arrays=arrays,
        digest=hashlib.sha256(data).hexdigest(),
        source="flowseg" if stated else "cellpose",
        diameter_known=bool(stated) or "diam_mean" in tensors,
    )


def _read_bytes(path: Path) -> bytes:
    with opened(path) as file:
        if path.stat().st_size > MAX_BYTES:  # Cellpose 4's model has 1.2 GB: say what it is rather than how large
            _parse.refuse_foreign(_parse.names_in_zip(file))
        return read_bytes(file, MAX_BYTES)


def write_flowseg(path: PathLike, config: ModelConfig, weights: Mapping[str, Any], *, half: bool = False) -> str:
    """Write a model as safetensors with its config in the header, whole or not at all.

    Parameters
    ----------
    path
        The file; one that is there is replaced in one step.
    config
        What the file says about the network; ``flowseg_version`` is filled in.
    weights
        ``network.state_dict()``, or arrays of these names: complete, finite, of the shapes that
        ``config.architecture`` wants.
    half
        Store float16: half the size, read back as float32.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    ModelError
        The weights do not fit the config, or are NaN, infinite or (with ``half``) too large for float16.
    OSError
        The file could not be written; what was there before is untouched.
    """
    import safetensors.numpy

    config = replace(config, flowseg_version=flowseg.__version__)
    tensors = _tensors.checked(_tensors.without_wrapper(_tensors.as_arrays(weights)), config)
    if half:
        # Variances and diameters stay: they are few, and small variances would be lost.
        with np.errstate(over="ignore"):  # what becomes infinite is refused
            small = {name: array.astype(np.float16) for name, array in tensors.items() if array.ndim > 1}
        _tensors.refuse_nonfinite(small)
        tensors |= small
    header = {_parse.HEADER: json.dumps({"format": _tensors.FORMAT, **config.to_dict()}, sort_keys=True)}
    return write(Path(path), safetensors.numpy.save(tensors, metadata=header))


def require_cellpose(config: ModelConfig) -> None:
    """Refuse a model that Cellpose 3 has no such network for, or whose flows it would follow wrongly."""
    shape = config.architecture
    wanted = Architecture(channels=shape.channels, style=shape.style)
    if shape != wanted:
        raise ModelError(f"Cellpose 3 cannot run a network of {shape}; wanted {wanted}")
    if config.target != "diffusion":
        raise ModelError(f"Cellpose follows flows of heat; this model's target is {config.target}: keep it in flowseg")


def write_cellpose(path: PathLike, config: ModelConfig, weights: Mapping[str, Any]) -> str:
    """Write a model as a state dict that Cellpose 2 and 3 open, whole or not at all; return its SHA-256.

    Open it there with ``models.CellposeModel(pretrained_model=path)``, and with ``nchan=`` where the network does not
    take two channels. Cellpose 3 cannot run a network without style: one is written with style weights of zero, which
    gives the same output. Do not end the file's name in ``nucleitorch_0``: Cellpose takes that for its own.

    Raises
    ------
    ModelError
        As `write_flowseg`, and where `require_cellpose` refuses it.
    """
    import torch

    require_cellpose(config)
    shape = config.architecture
    tensors = _tensors.checked(_tensors.without_wrapper(_tensors.as_arrays(weights)), config)
    if not shape.style:
        tensors |= {name: np.zeros_like(tensors[name]) for name in tensors if name.endswith("full.weight")}
    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in tensors.items()}, buffer)
    return write(Path(path), buffer.getvalue())
