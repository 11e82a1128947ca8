"""Run a network through torch: on the processor, an NVIDIA GPU (cuda) or an Apple one (mps)."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from flowseg.arrays import Floats
from flowseg.engines import Batch
from flowseg.errors import OptionError
from flowseg.network import Network
from flowseg.options import Architecture

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def device_of(name: str) -> torch.device:
    """Return the device of this name ("cpu", "cuda", "cuda:1", "mps"), if the machine has it."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionError(f"device is {name!r}; wanted auto, cpu, cuda, cuda:N or mps") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        present = ", ".join(kind for kind, here in there.items() if here)
        raise OptionError(f"device is {name!r}, but this machine, or this build of torch, has only: {present}")
    return device


class TorchEngine:
    """See `flowseg.engines.Engine`."""

    name = "torch"

    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, Any],
        precision: str = "fp32",
        device: str = "cpu",
    ) -> None:
        self.precision = precision
        self.device = str(device_of(device))
        network = Network(architecture)
        network.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
        self.batch_pixels = 2**19 if self.device == "cpu" else 2**23
        self._type = _TYPES[precision]
        self._network = network.eval().to(self.device, self._type, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def run(self, tiles: Floats, style: Floats | None = None) -> Batch:
        """Run the network on tiles (N, C, H, W), each with its own style or all with the one given, (S,)."""
        given = None if style is None else torch.from_numpy(style[None]).to(self.device, self._type)
        with self._exact():
            result = self._network(self._moved(tiles), given)
        styles = (
            result.style.float().cpu().numpy() if style is None else np.broadcast_to(style, (len(tiles), len(style)))
        )
        return Batch(result.output.float().cpu().contiguous().numpy(), styles)

    @torch.inference_mode()
    def styles(self, tiles: Floats) -> Floats:
        """Return the mean deepest features (N, S) of tiles."""
        with self._exact():
            pooled: Floats = self._network.pooled(self._moved(tiles)).float().cpu().numpy()
        return pooled

    def _exact(self) -> AbstractContextManager[None]:
        """Keep a GPU from rounding float32 to TF32, which torch lets convolutions do by default."""
        if self.precision != "fp32" or not self.device.startswith("cuda"):
            return nullcontext()
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)

    def _moved(self, tiles: Floats) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(tiles)).to(
            self.device, self._type, memory_format=torch.channels_last, non_blocking=True
        )
