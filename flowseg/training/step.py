"""One step of training: batch in, weights changed, loss out."""

import copy
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowseg import engines, threads
from flowseg.arrays import Floats
from flowseg.dataset import Batch, Crops
from flowseg.engines.torch_engine import device_of, layout_of, may_copy_later
from flowseg.errors import OptionError, TrainingError
from flowseg.network import Network, idle_biases
from flowseg.training import heap
from flowseg.training.ahead import Ahead, Tensors, tensors
from flowseg.training.options import TrainOptions
from flowseg.training.processes import shared_mean
from flowseg.training.recorded import Recorder

_LEAST_LR = 0.01  # of the largest, at the end of the cosine
_NO_MEMORY = ("DefaultCPUAllocator: ", "could not create a primitive", "MPS backend out of memory")


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
        (N, 3, H, W): flows `FLOW_SCALE` times a unit vector; a logit, and 0 or 1.
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
        self._processes = processes
        self.device = torch.device(device_name(options.device))
        self.half = _half_type(options.precision, self.device)
        self._layout = layout_of(self.device)
        self.network = network.to(self.device, memory_format=self._layout)  # type: ignore[call-overload]
        self._frozen = freeze(self.network, options.freeze)
        for bias in idle_biases(self.network):
            bias.requires_grad_(False)
        self._lr = options.lr or (0.0005 if pretrained else 0.002)
        trained = [one for one in self.network.parameters() if one.requires_grad]
        on_gpu = self.device.type == "cuda"
        # Both change with every step. On a GPU they are in its memory, where a recorded step finds them.
        self._rate: Any = torch.tensor(self._lr, device=self.device) if on_gpu else self._lr
        self._follow: Any = torch.tensor(1.0, device=self.device) if on_gpu else 1.0
        self._how: dict[str, Any] = {"fused": self.device.type in ("cpu", "cuda"), "capturable": on_gpu}
        self.optimiser = torch.optim.AdamW(trained, lr=self._rate, weight_decay=options.weight_decay, **self._how)
        self.mean = copy.deepcopy(self.network).requires_grad_(False) if options.ema else None
        self._forward = self._prepared()
        self._recorder = self._new_recorder() if on_gpu and processes == 1 else None

    def _prepared(self) -> nn.Module:
        module: nn.Module = self.network
        if self._processes > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the option has a new name in newer versions of torch
                module = nn.parallel.DistributedDataParallel(module, broadcast_buffers=False)
        if not self.options.compile:
            return module
        _require_compiler(self.device)
        return torch.compile(module)  # type: ignore[return-value]

    def _new_recorder(self) -> Recorder:
        return Recorder(self._plain, self._gradients, self._update_unseen, self._set_rates, self.device)

    def ahead(self, batches: Iterable[Batch]) -> Ahead:
        """Return the batches as `step` takes them: each is sent to the device while the one before is worked on."""
        return Ahead(batches, self.device)

    def batches(self, crops: Crops, numbers: Sequence[Sequence[int]]) -> Ahead:
        """Return batches of the crops of these numbers, made and sent as `ahead` says."""
        workers = self.options.workers or threads.count()
        beside = self.device.type == "cpu"  # where the network itself is
        return self.ahead(crops.batches(numbers, workers, self._empty, give_way=beside))

    def step(self, batch: Batch, ahead: Ahead | None = None) -> Losses:
        """Train on one batch, which may be that which ``ahead`` gave last; the losses are those before the step.

        Raises
        ------
        TrainingError
            The loss is not finite. No weight was changed.
        """
        there = tensors(batch) if ahead is None else ahead.there
        if self._recorder is None:
            losses = self._plain(there)
        else:
            losses = self._recorder.step(there, ahead, self.done)
            self._look(losses)
        self.done += 1
        return Losses(*losses)

    def _plain(self, batch: Tensors) -> Tensor:
        """Do a step, one thing after the other; return its losses, (3,)."""
        losses = shared_mean(self._gradients(batch), self._processes).cpu()
        self._look(losses)  # those of the whole batch: all processes stop, or none
        self._set_rates(self.done)
        self._update(self._follow)
        return losses

    def _look(self, losses: Tensor) -> None:
        if not math.isfinite(losses[0]):
            raise TrainingError(f"the loss is {losses[0].item()} at step {self.done + 1}")

    def _gradients(self, batch: Tensors) -> Tensor:
        """Return the losses, (3,), and leave their gradients."""
        self._train_mode()
        self.optimiser.zero_grad(set_to_none=True)
        losses = self._losses(self._forward, batch)
        losses.total.backward()  # type: ignore[no-untyped-call]
        return torch.stack(losses).detach()

    def _update(self, follow: float | Tensor) -> None:
        """Change the weights, and their running mean by this part of the way to them."""
        if self.options.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        self.optimiser.step()
        if self.mean is not None:
            update_mean(self.mean, self.network, follow)

    def _update_unseen(self, losses: Tensor) -> None:
        """Change the weights if the loss, which nobody has looked at yet, is finite."""
        wrong = 1 - losses[0].isfinite().float()
        self.optimiser.found_inf = wrong  # type: ignore[attr-defined]  # as torch's GradScaler tells it
        try:
            self._update(self._follow * (1 - wrong))
        finally:
            del self.optimiser.found_inf  # type: ignore[attr-defined]

    def _set_rates(self, done: int) -> None:
        """Set what changes from step to step, for the one after so many."""
        follow = 1 - min(self.options.ema, (2 + done) / (11 + done))
        if isinstance(self._rate, Tensor):
            self._rate.fill_(self._lr_after(done))
            self._follow.fill_(follow)
            return
        self._follow = follow
        for group in self.optimiser.param_groups:
            group["lr"] = self._lr_after(done)

    @torch.no_grad()
    def validate(self, batch: Batch) -> Losses:
        """Return the losses of the weights that would be kept; nothing is changed."""
        return self._losses(self.kept.eval(), tensors(batch))

    @property
    def kept(self) -> Network:
        """The network that is kept: the running mean, or the one trained."""
        kept: Network = self.network if self.mean is None else self.mean
        return kept

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self._lr_after(self.done)

    def _lr_after(self, done: int) -> float:
        warm = self.options.warmup * self.steps
        if done < warm:
            return self._lr * (done + 1) / (warm + 1)
        part = (done - warm) / max(1.0, self.steps - warm)
        return self._lr * (_LEAST_LR + (1 - _LEAST_LR) * (1 + math.cos(math.pi * min(1.0, part))) / 2)

    def _losses(self, module: nn.Module, batch: Tensors) -> Losses:
        images, targets, weights = (None if part is None else self._moved(part) for part in batch)
        assert images is not None
        assert targets is not None
        images = images.to(memory_format=self._layout)
        with torch.autocast(self.device.type, self.half, enabled=self.half is not None, cache_enabled=False):
            output = module(images).output
        return loss(output.float(), targets, weights)

    def _moved(self, part: Tensor) -> Tensor:
        return part.to(self.device, non_blocking=may_copy_later(self.device))

    def _empty(self, shape: tuple[int, ...]) -> Floats:
        """Return an array for a part of a batch, in memory that the device reads fast."""
        array: Floats = torch.empty(shape, dtype=torch.float32, pin_memory=self.device.type == "cuda").numpy()
        return array

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
        if self._recorder is not None:
            self._recorder = self._new_recorder()  # what was recorded is of other memory
        kept = cast(dict[str, Any], state["optimiser"])
        groups = [{**group, "lr": self._rate, **self._how} for group in kept["param_groups"]]
        self.optimiser.load_state_dict({**kept, "param_groups": groups})
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate  # not a copy of it
        if self.mean is not None:
            self.mean.load_state_dict(state["mean"])


@torch.no_grad()
def update_mean(mean: nn.Module, network: nn.Module, part: float | Tensor) -> None:
    """Move every number of a running mean by a part of the way to the network's."""
    pairs = list(zip(mean.state_dict().values(), network.state_dict().values(), strict=True))
    old, new = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    away = torch._foreach_sub(new, old)  # all at once: one by one, there are hundreds of small kernels
    torch._foreach_mul_(away, part)
    torch._foreach_add_(old, away)
    for count, now in pairs:
        if not count.is_floating_point():
            count.copy_(now)


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
    return str(device_of(engines.fastest_device() if asked == "auto" else asked))


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether a device has no memory left: of processors and Apple's GPUs, torch says so in words alone."""
    said = any(words in str(error) for words in _NO_MEMORY)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or said


def let_go_of_memory(device: torch.device) -> None:
    """Give back what is kept of a device's memory for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    else:
        heap.give_back()


def _require_compiler(device: torch.device) -> None:
    """Let torch compile next to nothing: where it cannot, it would say so, at length, at the first step."""
    try:
        torch.compile(torch.square)(torch.ones(2, device=device))
    except RuntimeError as error:
        raise OptionError(
            f"compile is True, and torch cannot compile here ({str(error).partition(chr(10))[0]}): leave it out, or "
            f"install what torch compiles with, {'a C++ compiler' if device.type == 'cpu' else 'such as Triton'}"
        ) from error


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
