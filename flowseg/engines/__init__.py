"""Engines run a network on batches of tiles; all of them have the same few methods."""

import ctypes
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from flowseg.arrays import Floats
from flowseg.errors import OptionError
from flowseg.model_config import Architecture

if TYPE_CHECKING:
    import torch


class Batch(NamedTuple):
    """What a network gives for a batch of tiles: maps (N, outputs, H, W) and styles (N, S), both float32."""

    maps: Floats
    styles: Floats


class Engine(Protocol):
    """Runs one network on one device in one precision."""

    name: str
    device: str
    precision: str
    batch_pixels: int  # pixels of tiles that are best run at once

    def run(self, tiles: Floats, style: Floats | None = None) -> Batch:
        """Run the network on tiles (N, C, H, W), each with its own style or all with the one given, (S,)."""
        ...

    def styles(self, tiles: Floats) -> Floats:
        """Return the mean deepest features (N, S) of tiles; their mean, scaled to 1, is the style of them all."""
        ...


class Choice(NamedTuple):
    """An engine, where it runs and in which precision, and why it was chosen."""

    engine: str
    device: str
    precision: str
    why: str


def choose(
    device: "str | torch.device" = "auto", precision: str = "auto", architecture: Architecture | None = None
) -> Choice:
    """Choose the fastest engine that this machine has and that keeps the masks, for networks of one kind."""
    if precision not in ("auto", "fp32", "bf16", "fp16"):
        raise OptionError(f"precision is {precision!r}; wanted auto, fp32, bf16 or fp16")
    name = fastest_device() if device == "auto" else str(device)
    if name.partition(":")[0] == "cpu":
        return _choose_for_processor(precision, architecture or Architecture())
    fast = "fp32" if name == "mps" else "bf16"
    return Choice("torch", name, fast if precision == "auto" else precision, "a GPU runs the network through torch")


def fastest_device() -> str:
    """Return the name of the device that "auto" stands for: a GPU, if there is one."""
    if not _may_have_gpu():  # asking torch takes a second and 200 MB
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _may_have_gpu() -> bool:
    """Tell whether there is a driver of a GPU: NVIDIA's, AMD's, or a Mac."""
    return sys.platform == "darwin" or Path("/dev/kfd").exists() or has_nvidia_driver()


def has_nvidia_driver() -> bool:
    """Tell whether there is a driver of NVIDIA, whatever torch can do with it."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _choose_for_processor(precision: str, architecture: Architecture) -> Choice:
    if precision == "fp16":
        raise OptionError("precision is 'fp16', which no processor computes in; wanted auto, fp32 or bf16 on the cpu")
    has_openvino = importlib.util.find_spec("openvino") is not None
    if precision == "bf16":
        return Choice("openvino" if has_openvino else "torch", "cpu", "bf16", "in the precision asked for")
    would_gain = precision == "auto" and has_amx()
    if would_gain and has_openvino:
        return Choice("openvino", "cpu", "bf16", "OpenVINO; the processor has AMX, which is made for bfloat16")
    if architecture.kernel == 3 and not architecture.concatenation:
        why = "float32 with a quarter of the usual multiplications"
        if would_gain:
            why += '; the processor has AMX, which is made for bfloat16: pip install "flowseg[cpu]" uses it'
        return Choice("winograd", "cpu", "fp32", why)
    return Choice("openvino" if has_openvino else "torch", "cpu", "fp32", "a network of an unusual kind")


def has_amx() -> bool:
    """Tell whether the processor multiplies matrices of bfloat16; without, on Zen 4, float32 by Winograd is as fast."""
    from llvmlite.binding import get_host_cpu_features  # numba stands on it

    try:
        return bool(get_host_cpu_features().get("amx-bf16"))
    except RuntimeError:  # LLVM does not know the processor
        return False


def start(
    architecture: Architecture,
    weights: Mapping[str, Any],
    device: "str | torch.device" = "auto",
    precision: str = "auto",
) -> Engine:
    """Start the engine that `choose` chooses on a network."""
    chosen = choose(device, precision, architecture)
    if chosen.engine == "openvino":
        from flowseg.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(architecture, weights, chosen.precision)
    if chosen.engine == "winograd":
        from flowseg.engines.winograd_engine import WinogradEngine

        return WinogradEngine(architecture, weights)
    from flowseg.engines.torch_engine import TorchEngine

    return TorchEngine(architecture, weights, chosen.precision, chosen.device)
