"""Several processes that train one network, as ``torchrun`` starts them: on several GPUs, or several machines.

Each makes its part of every batch; gradients, and the means and variances of normalisation, are those of the whole.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from flowseg import engines
from flowseg.errors import OptionError
from flowseg.network import Normalisation

# The first process reads and validates while the others wait; torchrun ends them if it fails.
_PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    def share(self, numbers: range) -> range:
        """Return the crops of a batch that this process makes."""
        if len(numbers) % self.count:
            raise OptionError(
                f"batch_size is {len(numbers)}; wanted a multiple of the number of processes, {self.count}"
            )
        each = len(numbers) // self.count
        return numbers[self.rank * each : (self.rank + 1) * each]

    def told_by_first(self, value: Any) -> Any:
        """Return the value that the first process has; the others wait for it."""
        if self.count == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gathered(self, value: Any) -> list[Any]:
        """Return the values of all processes, in their order."""
        if self.count == 1:
            return [value]
        values = [value] * self.count
        distributed.all_gather_object(values, value)  # not a tensor: GPUs exchange none of a processor's memory
        return values


@contextmanager
def joined(device: str) -> Iterator[tuple[Processes, str]]:
    """Join the other processes, if ``torchrun`` started this one; give also the device of this one."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(), device
        return
    gpu = (engines.fastest_device() if device == "auto" else device).startswith("cuda")
    own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if gpu else "cpu"
    if gpu:
        torch.cuda.set_device(own)
    has_nccl = distributed.is_nccl_available()  # not on Windows
    distributed.init_process_group("nccl" if gpu and has_nccl else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(distributed.get_rank(), count), own
        distributed.barrier()  # or another process may still be at its last message
    finally:
        distributed.destroy_process_group()


def shared_mean(value: Tensor, processes: int) -> Tensor:
    """Return the mean of a tensor over so many processes."""
    if processes == 1:
        return value
    total = value.clone()
    distributed.all_reduce(total)
    return total / processes


def shared_normalisation(network: nn.Module) -> None:
    """Let every batch normalisation use the mean and variance of the whole batch, over all processes; in place."""
    for module in network.modules():
        if type(module) is Normalisation:
            module.__class__ = SharedBatchNorm


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes, through which gradients flow back."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


class SharedBatchNorm(Normalisation):
    """A batch normalisation over the parts of a batch that all processes have, on any device."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        if not self.training:
            return super().forward(x)
        wide = x.float()
        sums = torch.stack([wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3))])
        count = wide.numel() / x.shape[1] * distributed.get_world_size()
        mean, square = _Sum.apply(sums) / count  # type: ignore[no-untyped-call]
        variance = (square - mean.square()).clamp_min(0)
        self._follow(mean.detach(), variance.detach() * count / max(1.0, count - 1))
        factor = torch.rsqrt(variance + self.eps) * self.weight
        shifted: Tensor = x * factor[:, None, None] + (self.bias - mean * factor)[:, None, None]
        return shifted.to(x.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        self.running_mean.lerp_(mean, self.momentum or 0.0)
        self.running_var.lerp_(variance, self.momentum or 0.0)
