"""A step of training as a GPU's own recording: played back, it waits for no Python between its hundreds of kernels."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from flowseg.training.ahead import Ahead, Tensors

WARM = 3  # steps before one is recorded: kernels are chosen in them, and memory is found


class Recording:
    """What two functions do on a GPU, one after the other, with a batch of one shape.

    Nothing is done while it is recorded. Both have run a few times before, on a stream of their own.

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
        self._device = device  # which need not be the one that torch takes where none is named
        self._first, self._second = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        stream, self._reading = (torch.cuda.Stream(device) for _ in range(2))  # type: ignore[no-untyped-call]
        how: Any = {"stream": stream, "capture_error_mode": "thread_local"}
        with torch.cuda.graph(self._first, **how):
            self._result = first(self._batch)
        with torch.cuda.graph(self._second, pool=self._first.pool(), **how):
            second(self._result)
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
        self._reading.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._reading):
            self._read.copy_(self._result, non_blocking=True)
        self._second.replay()

    def result(self) -> Tensor:
        """Return what the first function gave, as soon as it is known: the second may still run."""
        self._reading.synchronize()
        return self._read.clone()


class Recorder:
    """Steps on a GPU: the first are done as elsewhere, then one is recorded, and all of its shape are played back.

    Parameters
    ----------
    plain
        Does a step with a batch, and returns its losses: for the first few, and for batches of another shape.
    first, second
        A step in two parts, as `Recording` takes them.
    set_rates
        Sets what changes from step to step, in the GPU's memory, when so many are done.
    device
        The GPU.
    """

    def __init__(
        self,
        plain: Callable[[Tensors], Tensor],
        first: Callable[[Tensors], Tensor],
        second: Callable[[Tensor], None],
        set_rates: Callable[[int], None],
        device: torch.device,
    ) -> None:
        self._plain, self._first, self._second, self._set_rates = plain, first, second, set_rates
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._recording: Recording | None = None
        self._until = WARM  # steps until one is recorded
        self._ready: tuple[Tensors, int] | None = None  # what the recording is loaded with, and for which step

    def step(self, batch: Tensors, ahead: Ahead | None, done: int) -> Tensor:
        """Do a step, when so many are done; where its loss is not finite, it changes nothing."""
        if self._until == 0:
            self._record(batch)
        self._until -= 1
        if self._recording is not None and self._recording.fits(batch):
            return self._played(self._recording, batch, ahead, done)
        with self._aside():
            return self._plain(batch)

    def _record(self, batch: Tensors) -> None:
        try:
            with self._aside():
                self._recording = Recording(self._first, self._second, batch, self._device)
        except RuntimeError as error:  # an old driver, or no memory beside that of the steps before
            warnings.warn(f"this GPU does not record steps, which takes longer: {error}", stacklevel=2)

    def _played(self, recording: Recording, batch: Tensors, ahead: Ahead | None, done: int) -> Tensor:
        """Play a step back; while it runs, get everything ready for the next, so that the GPU need not wait for it."""
        if self._ready is None or self._ready[0] is not batch or self._ready[1] != done:
            self._get_ready(recording, batch, done)
        recording.play()
        self._ready = None
        coming = None if ahead is None else ahead.send()
        if coming is not None and recording.fits(coming):
            self._get_ready(recording, coming, done + 1)
        return recording.result()

    def _get_ready(self, recording: Recording, batch: Tensors, done: int) -> None:
        self._set_rates(done)
        recording.load(batch)
        self._ready = batch, done

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Do what may be recorded later: on a stream of its own, as recordings are, with the fastest kernels found."""
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            if self._stream is not None:
                torch.cuda.current_stream(self._device).wait_stream(self._stream)
            torch.backends.cudnn.benchmark = before
