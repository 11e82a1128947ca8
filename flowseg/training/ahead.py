"""Batches as tensors, sent to a GPU ahead of the steps that learn from them."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from flowseg.dataset import Batch

Tensors = tuple[Tensor | None, ...]


def tensors(batch: Batch) -> Tensors:
    """Return a batch's parts as tensors, where they are."""
    return tuple(None if part is None else torch.from_numpy(np.ascontiguousarray(part)) for part in batch)


class Ahead(Iterator[Batch]):
    """Batches in their order; the next can be sent while the device works on the one before.

    Parameters
    ----------
    batches
        As they are made.
    device
        On a GPU, batches travel beside what it does, and what is asked of it afterwards waits for them.

    Attributes
    ----------
    there
        The tensors of the batch that was given last: on a GPU, or as they were made.
    """

    def __init__(self, batches: Iterable[Batch], device: torch.device) -> None:
        self.there: Tensors = ()
        self._batches, self._device = iter(batches), device
        self._road = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._coming: tuple[Batch, Tensors] | Exception | None = None

    def __next__(self) -> Batch:
        """Return the next batch."""
        self.send()
        coming, self._coming = self._coming, None
        if isinstance(coming, Exception):
            raise coming
        assert coming is not None
        batch, self.there = coming
        return batch

    def send(self) -> Tensors | None:
        """Send the next batch, unless that was done; return its tensors. None: there is none, which `next` tells."""
        if self._coming is None:
            try:
                batch = next(self._batches)
            except Exception as error:  # the end, too: raised when this batch is asked for
                self._coming = error
            else:
                self._coming = batch, self._sent(tensors(batch))
        return None if isinstance(self._coming, Exception) else self._coming[1]

    def _sent(self, batch: Tensors) -> Tensors:
        """Copy a batch on a stream of its own. It is let go of when a step with it is done, so its memory is free."""
        if self._road is None:
            return batch
        try:
            with torch.cuda.stream(self._road):
                there = tuple(None if part is None else part.to(self._device, non_blocking=True) for part in batch)
        except torch.OutOfMemoryError:
            return batch  # the step with it finds room, or says what would fit
        torch.cuda.current_stream(self._device).wait_stream(self._road)
        return there
