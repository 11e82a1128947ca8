"""A step of training as a GPU's own recording: played back, it waits for no Python between its hundreds of kernels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from flowseg.training.ahead import Tensors

WARM = 3  # steps before one is recorded: kernels are chosen in them, and memory is found


@contextmanager
def aside() -> Iterator[None]:
    """Do what is to be recorded later: on a stream of its own, as recordings are, with the fastest kernels found."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    stream, usual = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(usual)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        usual.wait_stream(stream)
        torch.backends.cudnn.benchmark = before


class Recording:
    """What two functions do on a GPU, one after the other, with a batch of one shape.

    Nothing is done while it is recorded. Both have run a few times before, `aside`.

    Parameters
    ----------
    first
        Takes the tensors of a batch, returns a tensor.
    second
        Takes that tensor, on the GPU, where nobody has looked at it yet.
    batch
        Of the shape that is recorded, in any memory.
    device
        The GPU.
    """

    def __init__(
        self, first: Callable[[Tensors], Tensor], second: Callable[[Tensor], None], batch: Tensors, device: torch.device
    ) -> None:
        self._batch = tuple(None if part is None else part.to(device, copy=True) for part in batch)
        self._first, self._second = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._first, capture_error_mode="thread_local"):
            self._result = first(self._batch)
        with torch.cuda.graph(self._second, pool=self._first.pool(), capture_error_mode="thread_local"):
            second(self._result)
        self._reading = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._read = torch.empty(self._result.shape, dtype=self._result.dtype, pin_memory=True)

    def fits(self, batch: Tensors) -> bool:
        """Return whether a batch has the shape that was recorded."""
        shapes = [[None if part is None else part.shape for part in parts] for parts in (batch, self._batch)]
        return shapes[0] == shapes[1]

    def load(self, batch: Tensors) -> None:
        """Let the next `play` be with this batch, from any memory."""
        for kept, given in zip(self._batch, batch, strict=True):
            if kept is not None and given is not None:
                kept.copy_(given, non_blocking=True)

    def play(self) -> None:
        """Ask the GPU for both functions' work; it is not waited for."""
        self._first.replay()
        self._reading.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._reading):
            self._read.copy_(self._result, non_blocking=True)
        self._second.replay()

    def result(self) -> Tensor:
        """Return what the first function gave, as soon as it is known: the second may still run."""
        self._reading.synchronize()
        return self._read.clone()
