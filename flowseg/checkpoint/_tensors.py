"""Named arrays of weights: the network they belong to, and whether they are all there and sound."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg import arrays
from flowseg.checkpoint._shapes import Shape, is_counter, shapes
from flowseg.errors import ModelError
from flowseg.model_config import Architecture, ModelConfig
from flowseg.words import many

FORMAT = 1
"""Of the config in flowseg's own files; raised when an older flowseg would misread a newer file."""

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

_DIAMETERS = ("diam_mean", "diam_labels")

# Names that Cellpose 1 and 2 gave to what they trained; the options in them cannot be seen in the tensors.
_STYLE_OFF = re.compile(r"cellpose_residual_(on|off)_style_off_")
_CLASSIFIER = re.compile(r"unet\d_residual_")


def as_arrays(weights: Mapping[str, Any]) -> dict[str, Array]:
    """Return tensors of torch, or arrays, as arrays; bfloat16, which numpy does not have, as float32."""
    return {name: arrays.as_array(value, name) for name, value in weights.items()}


def without_wrapper(tensors: Arrays) -> dict[str, Array]:
    """Take off what DataParallel and torch.compile put before every name."""
    for prefix in ("module.", "_orig_mod."):
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def stated_config(values: Any) -> ModelConfig:
    """Return the config that a flowseg file states in its header."""
    if not isinstance(values, dict) or not isinstance(values.get("format"), int):
        raise ModelError("the config in the header has no format number; is the file damaged?")
    if values["format"] != FORMAT:
        raise ModelError(
            f"the config has format {values['format']}; this flowseg reads {FORMAT}: is there a newer flowseg?"
        )
    return ModelConfig.from_dict({name: value for name, value in values.items() if name != "format"})


def inferred_config(tensors: Arrays, name: str) -> ModelConfig:
    """Return what the tensors, and the name of the file, say about a network of Cellpose."""
    if _CLASSIFIER.match(name):
        raise ModelError("this is a U-Net classifier of Cellpose 1, which gives classes, not flows")
    architecture = _inferred_architecture(tensors, style=not _STYLE_OFF.match(name))
    diameters = {key: _diameter(tensors.get(key)) for key in _DIAMETERS}
    if "diam_mean" in tensors and diameters["diam_mean"] is None:
        raise ModelError(f"diam_mean is {tensors['diam_mean'].ravel()[:3].tolist()}; wanted a diameter in pixels")
    return ModelConfig(
        architecture=architecture,
        diameter_mean=diameters["diam_mean"] or ModelConfig().diameter_mean,
        diameter_labels=diameters["diam_labels"],
    )


def _diameter(tensor: Array | None) -> float | None:
    """Return a diameter that Cellpose kept among the weights, or None where there is none that makes sense."""
    if tensor is None or tensor.size != 1:
        return None
    value = float(tensor.reshape(())) if tensor.dtype.kind in "fiu" else np.nan
    return value if 0.1 <= value <= 1e5 else None


def _inferred_architecture(tensors: Arrays, style: bool) -> Architecture:
    residual = any(name.startswith("downsample.down.res_down_") for name in tensors)
    down, up = ("res_down", "res_up") if residual else ("conv_down", "conv_up")
    kernels: list[tuple[int, ...]] = []
    while (name := f"downsample.down.{down}_{len(kernels)}.conv.conv_0.2.weight") in tensors:
        kernels.append(_kernel_shape(tensors, name))
    joined = tensors.get(f"upsample.up.{up}_0.conv.conv_1.full.bias")
    if not kernels or joined is None or "output.2.weight" not in tensors:
        raise ModelError(f"its tensors ({_some(sorted(tensors))}) are not those of a residual network of Cellpose")
    return Architecture(
        channels=kernels[0][1],
        widths=tuple(kernel[0] for kernel in kernels),
        outputs=_kernel_shape(tensors, "output.2.weight")[0],
        kernel=kernels[0][2],
        residual=residual,
        style=style,
        concatenation=joined.size == 2 * kernels[0][0],
    )


def _kernel_shape(tensors: Arrays, name: str) -> tuple[int, ...]:
    shape = tuple(tensors[name].shape)
    if len(shape) == 5:
        raise ModelError(f"{name} has shape {shape}: this is a network of 3D convolutions; wanted 2D")
    if len(shape) != 4:
        raise ModelError(f"{name} has shape {shape}; wanted (out, in, height, width)")
    return shape


def checked(tensors: Arrays, config: ModelConfig) -> dict[str, Array]:
    """Return the arrays as a complete state dict of the config's network: float32, finite, with their own memory."""
    wanted = shapes(config.architecture)
    labels = config.diameter_mean if config.diameter_labels is None else config.diameter_labels
    given = dict(tensors) | _diameters(config.diameter_mean, labels)
    counters = {name for name in wanted if is_counter(name)}  # torch before 0.4.1 had none
    given |= {name: np.zeros((), np.int64) for name in counters - set(given)}
    if missing := [name for name in wanted if name not in given]:
        raise ModelError(f"{many(len(missing), 'tensor is', 'tensors are')} missing: {_some(missing)}")
    if extra := [name for name in given if name not in wanted]:
        raise ModelError(f"{many(len(extra), 'tensor belongs', 'tensors belong')} to another network: {_some(extra)}")
    result = {name: _plain(name, given[name], shape) for name, shape in wanted.items()}
    refuse_nonfinite(result)
    return result


def _diameters(*values: float) -> dict[str, Array]:
    return {name: np.array([value], np.float32) for name, value in zip(_DIAMETERS, values, strict=True)}


def _plain(name: str, array: Array, shape: Shape) -> Array:
    if array.shape != shape:
        raise ModelError(f"{name} has shape {array.shape}; wanted {shape}")
    kinds, kind = ("iu", np.int64) if is_counter(name) else ("f", np.float32)
    if array.dtype.kind not in kinds:
        raise ModelError(f"{name} has type {array.dtype}; wanted {np.dtype(kind)}")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused
        return np.array(array, kind, order="C")


def refuse_nonfinite(tensors: Arrays) -> None:
    """Raise unless every weight is finite and every variance a variance."""
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise ModelError(f"{name} holds NaN or infinity; wanted finite weights (did the training diverge?)")
        if name.endswith("running_var") and (array < 0).any():
            raise ModelError(f"{name} holds a negative variance; is the file damaged?")


def _some(names: list[str]) -> str:
    return ", ".join(name[:80] for name in names[:3]) + (", ..." if len(names) > 3 else "")
