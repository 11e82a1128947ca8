"""Batches as tensors, on their way to a GPU: each travels while the one before is worked on."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from flowseg.dataset import Batch

Tensors = tuple[Tensor | None, ...]


def tensors(batch: Batch) -> Tensors:
    """Return a batch's parts as tensors, where they are."""
    return tuple(None if part is None else torch.from_numpy(np.ascontiguousarray(part)) for part in batch)


def sent(batches: Iterable[Batch], device: torch.device) -> Iterator[tuple[Batch, Tensors]]:
    """Yield batches, and their tensors: those in a GPU's memory when what is asked of it next begins."""
    if device.type != "cuda":
        for batch in batches:
            yield batch, tensors(batch)
        return
    road = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    usual = torch.cuda.current_stream(device)
    before = None
    for batch in batches:
        with torch.cuda.stream(road):
            there = tuple(None if part is None else part.to(device, non_blocking=True) for part in tensors(batch))
            arrived = road.record_event()
        for part in there:
            if part is not None:
                part.record_stream(usual)  # its memory is not used again before the step with it is done
        if before is not None:
            usual.wait_event(before[-1])
            yield before[:2]
        before = batch, there, arrived
    if before is not None:
        usual.wait_event(before[-1])
        yield before[:2]
