"""Named tensors: the network they belong to, and whether they are all there and sound."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from flowseg.errors import ModelError
from flowseg.network import Network
from flowseg.options import Architecture, ModelConfig

FORMAT = 1
"""Of the config in flowseg's own files; raised when an older flowseg would misread a newer file."""

Tensors = Mapping[str, Tensor]

_DIAMETERS = ("diam_mean", "diam_labels")

# Names that Cellpose 1 and 2 gave to what they trained; the options in them cannot be seen in the tensors.
_STYLE_OFF = re.compile(r"cellpose_residual_(on|off)_style_off_")
_CLASSIFIER = re.compile(r"unet\d_residual_")


def without_wrapper(tensors: Tensors) -> dict[str, Tensor]:
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


def inferred_config(tensors: Tensors, name: str) -> ModelConfig:
    """Return what the tensors, and the name of the file, say about a network of Cellpose."""
    if _CLASSIFIER.match(name):
        raise ModelError("this is a U-Net classifier of Cellpose 1, which gives classes, not flows")
    architecture = _inferred_architecture(tensors, style=not _STYLE_OFF.match(name))
    diameters = {key: _diameter(tensors.get(key)) for key in _DIAMETERS}
    if "diam_mean" in tensors and diameters["diam_mean"] is None:
        raise ModelError(f"diam_mean is {tensors['diam_mean'].flatten()[:3].tolist()}; wanted a diameter in pixels")
    return ModelConfig(
        architecture=architecture,
        diameter_mean=diameters["diam_mean"] or ModelConfig().diameter_mean,
        diameter_labels=diameters["diam_labels"],
    )


def _diameter(tensor: Tensor | None) -> float | None:
    """Return a diameter that Cellpose kept among the weights, or None where there is none that makes sense."""
    if tensor is None or tensor.numel() != 1:
        return None
    value = float(tensor)
    return value if 0.1 <= value <= 1e5 else None


def _inferred_architecture(tensors: Tensors, style: bool) -> Architecture:
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
        concatenation=joined.numel() == 2 * kernels[0][0],
    )


def _kernel_shape(tensors: Tensors, name: str) -> tuple[int, ...]:
    shape = tuple(tensors[name].shape)
    if len(shape) == 5:
        raise ModelError(f"{name} has shape {shape}: this is a network of 3D convolutions; wanted 2D")
    if len(shape) != 4:
        raise ModelError(f"{name} has shape {shape}; wanted (out, in, height, width)")
    return shape


def skeleton(architecture: Architecture) -> Network:
    """Return a network without weights, to compare with or to fill."""
    with torch.device("meta"):  # shapes alone: no memory, no time
        return Network(architecture)


def checked(tensors: Tensors, config: ModelConfig) -> dict[str, Tensor]:
    """Return the tensors as a complete state dict of the config's network: float32, dense, finite, its own memory."""
    wanted = skeleton(config.architecture).state_dict()
    labels = config.diameter_mean if config.diameter_labels is None else config.diameter_labels
    given = dict(tensors) | {"diam_mean": torch.tensor([config.diameter_mean]), "diam_labels": torch.tensor([labels])}
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # torch before 0.4.1 had none
    given |= {name: torch.zeros((), dtype=torch.int64) for name in counters - set(given)}
    if missing := [name for name in wanted if name not in given]:
        raise ModelError(f"{len(missing)} tensors are missing: {_some(missing)}")
    if extra := [name for name in given if name not in wanted]:
        raise ModelError(f"{len(extra)} tensors belong to another network: {_some(extra)}")
    result = {name: _plain(name, given[name], model) for name, model in wanted.items()}
    refuse_nonfinite(result)
    return result


def _plain(name: str, tensor: Tensor, model: Tensor) -> Tensor:
    if tensor.shape != model.shape:
        raise ModelError(f"{name} has shape {tuple(tensor.shape)}; wanted {tuple(model.shape)}")
    if tensor.is_floating_point() != model.is_floating_point() or tensor.is_complex():
        raise ModelError(f"{name} has type {tensor.dtype}; wanted {model.dtype}")
    return tensor.detach().to("cpu", model.dtype).clone(memory_format=torch.contiguous_format)


def refuse_nonfinite(tensors: Tensors) -> None:
    """Raise unless every weight is finite and every variance a variance."""
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{name} holds NaN or infinity; wanted finite weights (did the training diverge?)")
        if name.endswith("running_var") and (tensor < 0).any():
            raise ModelError(f"{name} holds a negative variance; is the file damaged?")


def _some(names: list[str]) -> str:
    return ", ".join(name[:80] for name in names[:3]) + (", ..." if len(names) > 3 else "")
