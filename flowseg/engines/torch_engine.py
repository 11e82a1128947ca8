"""Run a network through torch: on the processor, an NVIDIA GPU (cuda) or an Apple one (mps)."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from flowseg import threads
from flowseg.arrays import Floats
from flowseg.engines import Batch
from flowseg.errors import OptionError
from flowseg.model_config import Architecture
from flowseg.network import Network

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Run at once, at most. An Apple GPU has no memory beside the machine's: 2**20 pixels in float32 take 0.7 GB of it.
_BATCH_PIXELS = {"cpu": 2**19, "mps": 2**20, "cuda": 2**23}


def device_of(name: str) -> torch.device:
    """Return the device of this name ("cpu", "cuda", "cuda:1", "mps"), if the machine has it."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionError(f"device is {name!r}; wanted auto, cpu, cuda, cuda:N or mps") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        present = ", ".join(kind for kind, here in there.items() if here)
        raise OptionError(
            f"device is {name!r}, but this machine, or this build of torch, has only: {present}; "
            "'flowseg doctor' says why"
        )
    return device


def layout_of(device: torch.device) -> torch.memory_format:
    """Return how images lie best in the memory of a device: channels last.

    Not on an Apple GPU: with that, torch's gradients of batch normalisation are wrong there
    (pytorch/pytorch#175189), and a training diverges.
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def may_copy_later(device: torch.device) -> bool:
    """Tell whether a copy to a device may go on while Python does; to an Apple GPU it may read memory that is gone."""
    return device.type == "cuda"  # pytorch/pytorch#189690


_first_user: int | None = None


def _is_forked() -> bool:
    """Tell whether torch ran in the process that this one was forked from: it would wait for that one's threads."""
    global _first_user
    if _first_user is None:
        _first_user = os.getpid()
    return _first_user != os.getpid()


@contextmanager
def within_limit() -> Iterator[None]:
    """Keep torch to the threads that a call may use (`threads.count`), where it would take more."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, 1 if _is_forked() else threads.count()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
        self._place = device_of(device)
        self.device = str(self._place)
        network = Network(architecture)
        network.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
        self.batch_pixels = _BATCH_PIXELS[self._place.type]
        self._type, self._layout = _TYPES[precision], layout_of(self._place)
        self._network = network.eval().to(self._place, self._type, memory_format=self._layout)  # type: ignore[call-overload]

    @torch.inference_mode()
    def run(self, tiles: Floats, style: Floats | None = None) -> Batch:
        """Run the network on tiles (N, C, H, W), each with its own style or all with the one given, (S,)."""
        given = None if style is None else torch.from_numpy(style[None]).to(self._place, self._type)
        with within_limit(), self._exact():
            result = self._network(self._moved(tiles), given)
        styles = (
            result.style.float().cpu().numpy() if style is None else np.broadcast_to(style, (len(tiles), len(style)))
        )
        return Batch(result.output.float().cpu().contiguous().numpy(), styles)

    @torch.inference_mode()
    def styles(self, tiles: Floats) -> Floats:
        """Return the mean deepest features (N, S) of tiles."""
        with within_limit(), self._exact():
            pooled: Floats = self._network.pooled(self._moved(tiles)).float().cpu().numpy()
        return pooled

    def _exact(self) -> AbstractContextManager[None]:
        """Keep a GPU from rounding float32 to TF32, which torch lets convolutions do by default."""
        if self.precision != "fp32" or self._place.type != "cuda":
            return nullcontext()
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)

    def _moved(self, tiles: Floats) -> torch.Tensor:
        later = may_copy_later(self._place)
        return torch.from_numpy(np.ascontiguousarray(tiles)).to(
            self._place, self._type, memory_format=self._layout, non_blocking=later
        )
