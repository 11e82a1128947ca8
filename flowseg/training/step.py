"""One step of training: batch in, weights changed, loss out."""

import copy
import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from flowseg.arrays import Floats
from flowseg.dataset import Batch
from flowseg.errors import OptionError, TrainingError
from flowseg.network import Network
from flowseg.training.options import TrainOptions

_LEAST_LR = 0.01  # of the largest, at the end of the cosine


class Losses(NamedTuple):
    """The loss of a batch and its two parts, as tensors of one number."""

    total: Tensor
    flows: Tensor
    probability: Tensor


def loss(output: Tensor, targets: Tensor, weights: Tensor | None = None) -> Losses:
    """Return Cellpose's loss: half the mean squared error of the flows, and the cross entropy of the probability.

    Parameters
    ----------
    output, targets
        (N, 3, H, W): flows five times a unit vector; a logit, and 0 or 1.
    weights
        (N, H, W) of the squared error of each pixel's flow.
    """
    squared = (output[:, :2] - targets[:, :2]).square()
    if weights is not None:
        squared = squared * weights[:, None]
    flows = squared.mean() / 2
    probability = functional.binary_cross_entropy_with_logits(output[:, 2], targets[:, 2])
    return Losses(flows + probability, flows, probability)


class Stepper:
    """A network, its optimiser, and the running mean of its weights.

    Parameters
    ----------
    network
        It is moved to the device and trained in place.
    options
        How.
    steps
        Of the whole training: the learning rate depends on it.
    pretrained
        Whether the network has learned before: the default learning rate is lower then.
    processes
        Over which gradients are averaged; see `flowseg.training.processes`.
    """

    def __init__(
        self, network: Network, options: TrainOptions, steps: int, pretrained: bool = False, processes: int = 1
    ) -> None:
        self.options, self.steps, self.done = options, steps, 0
        self.device = torch.device(device_name(options.device))
        self.half = _half_type(options.precision, self.device)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._frozen = freeze(self.network, options.freeze)
        self._lr = options.lr or (0.0005 if pretrained else 0.002)
        trained = [one for one in self.network.parameters() if one.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, lr=self._lr, weight_decay=options.weight_decay)
        self.mean = copy.deepcopy(self.network).requires_grad_(False) if options.ema else None
        self._forward = self._prepared(processes)

    def _prepared(self, processes: int) -> nn.Module:
        module: nn.Module = self.network
        if processes > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the option has a new name in newer versions of torch
                module = nn.parallel.DistributedDataParallel(module, broadcast_buffers=False)
        return torch.compile(module) if self.options.compile else module  # type: ignore[return-value]

    def step(self, batch: Batch) -> Losses:
        """Train on one batch; the losses are those before the step.

        Raises
        ------
        TrainingError
            The loss is not finite. Nothing was changed.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr
        self._train_mode()
        losses = self._losses(self._forward, batch)
        if not math.isfinite(losses.total.item()):
            raise TrainingError(f"the loss is {losses.total.item()} at step {self.done + 1}")
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        if self.options.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        self.optimiser.step()
        self.done += 1
        if self.mean is not None:
            update_mean(self.mean, self.network, min(self.options.ema, (1 + self.done) / (10 + self.done)))
        return Losses(*(part.detach() for part in losses))

    @torch.no_grad()
    def validate(self, batch: Batch) -> Losses:
        """Return the losses of the weights that would be kept; nothing is changed."""
        return self._losses(self.kept.eval(), batch)

    @property
    def kept(self) -> Network:
        """The network that is kept: the running mean, or the one trained."""
        kept: Network = self.network if self.mean is None else self.mean
        return kept

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        warm = self.options.warmup * self.steps
        if self.done < warm:
            return self._lr * (self.done + 1) / (warm + 1)
        part = (self.done - warm) / max(1.0, self.steps - warm)
        return self._lr * (_LEAST_LR + (1 - _LEAST_LR) * (1 + math.cos(math.pi * min(1.0, part))) / 2)

    def _losses(self, module: nn.Module, batch: Batch) -> Losses:
        images = self._moved(batch.images).to(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, self.half, enabled=self.half is not None):
            output = module(images).output
        weights = None if batch.weights is None else self._moved(batch.weights)
        return loss(output.float(), self._moved(batch.targets), weights)

    def _moved(self, array: Floats) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def _train_mode(self) -> None:
        self.network.train()
        for module in self._frozen:
            module.eval()  # their running means and variances stay too

    def state(self) -> dict[str, object]:
        """Return everything that the rest of the training depends on."""
        return {
            "done": self.done,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "mean": None if self.mean is None else self.mean.state_dict(),
        }

    def restore(self, state: dict[str, object]) -> None:
        """Go on from where `state` was taken."""
        self.done = int(state["done"])  # type: ignore[call-overload]
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])  # type: ignore[arg-type]
        if self.mean is not None:
            self.mean.load_state_dict(state["mean"])


@torch.no_grad()
def update_mean(mean: nn.Module, network: nn.Module, decay: float) -> None:
    """Move every number of a running mean toward the network's."""
    for old, new in zip(mean.state_dict().values(), network.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)


def freeze(network: Network, what: str) -> list[nn.Module]:
    """Keep parts of a network from learning; return them."""
    parts: dict[str, list[nn.Module]] = {
        "none": [],
        "encoder": [network.downsample],
        "all-but-output": [network.downsample, network.upsample],
    }
    for part in parts[what]:
        part.requires_grad_(False)
    return parts[what]


def device_name(asked: str) -> str:
    """Return the device to train on; "auto" is a GPU if there is one."""
    from flowseg.engines.torch_engine import device_of

    if asked != "auto":
        return str(device_of(asked))
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _half_type(precision: str, device: torch.device) -> torch.dtype | None:
    """Return bfloat16 where it is asked for, or faster."""
    if precision == "fp32":
        return None
    fast = {"cuda": _fast_on_cuda, "cpu": _fast_on_cpu}.get(device.type)
    if precision == "bf16" and fast is None:
        raise OptionError(f"precision is 'bf16', which {device.type} does not train in; wanted fp32")
    return torch.bfloat16 if precision == "bf16" or (fast is not None and fast()) else None


def _fast_on_cuda() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _fast_on_cpu() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported())
