"""One step: the loss is Cellpose's, frozen parts stay, wrong numbers stop it, processes agree with one."""

import io
import math
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from flowseg.dataset import Batch
from flowseg.errors import OptionError, TrainingError
from flowseg.model_config import Architecture
from flowseg.network import Network
from flowseg.training import recorded, step
from flowseg.training.ahead import Tensors, tensors
from flowseg.training.options import TrainOptions
from flowseg.training.processes import SharedBatchNorm, shared_normalisation
from flowseg.training.recorded import WARM
from flowseg.training.step import Stepper, loss, update_mean
from tests.networks import layouts, scrambled

SMALL = Architecture(channels=1, widths=(4, 6))
ROOT = Path(__file__).parents[2]


def batch(count: int = 4, seed: int = 0, side: int = 16) -> Batch:
    rng = np.random.default_rng(seed)
    targets = rng.normal(0, 3, (count, 3, side, side)).astype(np.float32)
    targets[:, 2] = targets[:, 2] > 0
    return Batch(rng.random((count, 1, side, side), np.float32), targets, None)


def stepper(**settings: object) -> Stepper:
    torch.manual_seed(0)
    return Stepper(scrambled(SMALL), TrainOptions(device="cpu", precision="fp32", **settings), steps=100)


def test_compiling_where_torch_cannot_is_refused_before_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows, there is usually neither a C++ compiler nor Triton."""

    def compiles(module: object) -> Callable[..., Tensor]:
        def first_call(*_: object) -> Tensor:
            raise RuntimeError("Compiler: cl is not found.\n\nSet TORCHDYNAMO_VERBOSE=1")

        return first_call

    monkeypatch.setattr(torch, "compile", compiles)
    with pytest.raises(OptionError, match=r"compile here \(Compiler: cl is not found\.\): .* C\+\+ compiler"):
        stepper(compile=True)
    stepper()


def test_the_loss_is_half_the_squared_error_and_the_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    output, targets = rng.normal(0, 2, (2, 3, 5, 7)), rng.normal(0, 2, (2, 3, 5, 7))
    targets[:, 2] = targets[:, 2] > 0
    weights = rng.random((2, 5, 7))
    probability = 1 / (1 + np.exp(-output[:, 2]))
    entropy = -(targets[:, 2] * np.log(probability) + (1 - targets[:, 2]) * np.log(1 - probability)).mean()
    squared = (output[:, :2] - targets[:, :2]) ** 2
    plain = loss(torch.from_numpy(output), torch.from_numpy(targets))
    weighted = loss(torch.from_numpy(output), torch.from_numpy(targets), torch.from_numpy(weights))
    assert float(plain.total) == pytest.approx(squared.mean() / 2 + entropy)
    assert float(weighted.flows) == pytest.approx((squared * weights[:, None]).mean() / 2)
    assert float(weighted.probability) == pytest.approx(entropy)


def test_steps_lower_the_loss_and_the_running_mean_follows() -> None:
    one = stepper(lr=0.01, ema=0.5)
    first = float(one.step(batch()).total)
    for _ in range(60):
        last = float(one.step(batch()).total)
    assert last < 0.8 * first
    assert one.kept is one.mean
    assert float(one.validate(batch()).total) < first


def test_a_step_keeps_the_layout_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = [], []
    for layout in (torch.channels_last, torch.contiguous_format):
        monkeypatch.setattr(step, "layout_of", lambda _, layout=layout: layout)
        one = stepper(lr=0.01, ema=0.5)
        seen.append(layouts(one.network, lambda one=one: made.append(float(one.step(batch()).total))))
    assert torch.channels_last in seen[0]
    assert seen[1] == {torch.contiguous_format}
    assert made[0] == pytest.approx(made[1], rel=1e-5)


def test_the_running_mean_is_a_mean() -> None:
    mean, network = scrambled(SMALL, 1), scrambled(SMALL, 2)
    before = mean.state_dict()["output.2.weight"].clone()
    update_mean(mean, network, 0.25)
    wanted = 0.75 * before + 0.25 * network.state_dict()["output.2.weight"]
    torch.testing.assert_close(mean.state_dict()["output.2.weight"], wanted)


@pytest.mark.parametrize(
    ("what", "moving"), [("none", "downsample"), ("encoder", "upsample"), ("all-but-output", "output")]
)
def test_frozen_parts_stay(what: str, moving: str) -> None:
    one = stepper(freeze=what, lr=0.01)
    before = {name: tensor.clone() for name, tensor in one.network.state_dict().items()}
    one.step(batch())
    changed = {
        name.split(".")[0] for name, tensor in one.network.state_dict().items() if not tensor.equal(before[name])
    }
    order = ["downsample", "upsample", "output"]
    assert changed == set(order[order.index(moving) :])


def test_the_learning_rate_rises_and_falls() -> None:
    one = stepper(lr=1.0, warmup=0.1)
    rates = []
    for one.done in range(100):
        rates.append(one.lr)
    assert np.argmax(rates) == 10
    assert rates[0] == pytest.approx(1 / 11)
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[-1] == pytest.approx(0.01, abs=0.001)


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    one = stepper()
    before = {name: tensor.clone() for name, tensor in one.network.state_dict().items() if "running" not in name}
    wrong = batch()
    wrong.targets[0, 0, 3, 3] = np.nan
    with pytest.raises(TrainingError, match="the loss is nan at step 1"):
        one.step(wrong)
    assert all(one.network.state_dict()[name].equal(tensor) for name, tensor in before.items() if "num_" not in name)


@pytest.mark.parametrize("value", [1.0, np.nan, np.inf])
def test_an_update_before_the_loss_was_looked_at_changes_nothing_where_it_is_not_finite(value: float) -> None:
    one, same = stepper(ema=0.5, lr=0.01), stepper(ema=0.5, lr=0.01)
    for each in (one, same):
        each.step(batch())
        each._gradients(tensors(batch(seed=1)))
    before = {name: tensor.clone() for name, tensor in one.network.named_parameters()}
    mean = {name: tensor.clone() for name, tensor in one.mean.state_dict().items() if "num_" not in name}
    one._update_unseen(torch.tensor([value, 1.0, 1.0]))
    if np.isfinite(value):
        same._update(same._follow)
        for name, tensor in one.kept.state_dict().items():
            torch.testing.assert_close(tensor, same.kept.state_dict()[name])
        assert not all(tensor.equal(before[name]) for name, tensor in one.network.named_parameters())
    else:
        assert all(tensor.equal(before[name]) for name, tensor in one.network.named_parameters())
        assert all(one.mean.state_dict()[name].equal(tensor) for name, tensor in mean.items())
    wanted = 2 if np.isfinite(value) else 1
    assert {int(state["step"]) for state in one.optimiser.state.values()} == {wanted}
    one.step(batch(seed=2))  # the next one learns, whatever came before
    assert {int(state["step"]) for state in one.optimiser.state.values()} == {wanted + 1}


def test_batches_sent_ahead_are_the_batches() -> None:
    batches = [batch(seed=seed) for seed in range(3)]
    one, other = stepper(), stepper()
    ahead = one.ahead(iter(batches))
    for given, taken in zip(batches, ahead, strict=True):
        assert taken is given
        assert float(one.step(taken, ahead).total) == float(other.step(given).total)


class Played:
    """A recording without a GPU: what it is asked to do is done at once."""

    made: ClassVar[list["Played"]] = []

    def __init__(self, first: Callable, second: Callable, batch: Tensors, _device: object) -> None:
        self.first, self.second, self.count, self.loads = first, second, len(batch[0]), 0
        self.made.append(self)

    def fits(self, given: Tensors) -> bool:
        return len(given[0]) == self.count

    def load(self, given: Tensors) -> None:
        self.batch, self.loads = given, self.loads + 1

    def play(self) -> None:
        self.losses = self.first(self.batch)
        self.second(self.losses)

    def result(self) -> torch.Tensor:
        return self.losses


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[Played]:
    monkeypatch.setattr(recorded, "Recording", Played)
    monkeypatch.setattr(Played, "made", [])
    return Played.made


def recording(**settings: object) -> Stepper:
    one = stepper(**settings)
    one._recorder = one._new_recorder()
    return one


def test_steps_that_are_played_back_are_the_steps(played: list[Played]) -> None:
    batches = [batch(count=2 if seed == WARM + 3 else 4, seed=seed) for seed in range(WARM + 7)]
    one, other = (make(lr=0.02, ema=0.5, warmup=0.05) for make in (recording, stepper))
    ahead = one.ahead(iter(batches))
    for given, taken in zip(batches, ahead, strict=True):
        assert float(one.step(taken, ahead).total) == pytest.approx(float(other.step(given).total), rel=1e-5)
    assert one.done == WARM + 7
    assert [only.loads for only in played] == [6]  # all that fit, each once
    for name, tensor in one.kept.state_dict().items():
        torch.testing.assert_close(tensor, other.kept.state_dict()[name])


def test_a_step_played_back_with_a_loss_that_is_not_finite_changes_nothing(played: list[Played]) -> None:
    batches = [batch(seed=seed) for seed in range(WARM + 3)]
    batches[WARM + 1].targets[0, 0, 3, 3] = np.nan
    one, other = recording(lr=0.02), stepper(lr=0.02)
    ahead = one.ahead(iter(batches))
    for made in batches[: WARM + 1]:
        one.step(next(ahead), ahead)
        other.step(made)
    before = {name: tensor.clone() for name, tensor in one.network.named_parameters()}
    for failing in (lambda: one.step(next(ahead), ahead), lambda: other.step(batches[WARM + 1])):
        with pytest.raises(TrainingError, match=f"the loss is nan at step {WARM + 2}"):
            failing()
    assert all(tensor.equal(before[name]) for name, tensor in one.network.named_parameters())
    assert float(one.step(next(ahead), ahead).total) == pytest.approx(float(other.step(batches[-1]).total), rel=1e-5)
    assert len(played) == 1


def test_a_gpu_that_records_nothing_trains_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_given: object) -> None:
        raise RuntimeError("the driver is too old")

    monkeypatch.setattr(recorded, "Recording", refused)
    one, other = recording(lr=0.02), stepper(lr=0.02)
    for seed in range(WARM):
        one.step(batch(seed=seed))
        other.step(batch(seed=seed))
    with pytest.warns(UserWarning, match="the driver is too old"):
        one.step(batch(seed=WARM))
    other.step(batch(seed=WARM))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once
        assert float(one.step(batch(seed=WARM + 1)).total) == float(other.step(batch(seed=WARM + 1)).total)


def test_what_was_recorded_is_gone_after_restoring(played: list[Played]) -> None:
    one = recording()
    for seed in range(WARM + 1):
        one.step(batch(seed=seed))
    one.restore(one.state())
    for seed in range(WARM + 1):
        assert len(played) == 1
        one.step(batch(seed=seed))
    assert len(played) == 2


def test_what_ends_the_batches_is_told_at_its_turn() -> None:
    def made() -> Iterator[Batch]:
        yield batch()
        raise OSError("the disk is gone")

    ahead = stepper().ahead(made())
    first = ahead.send()
    assert first is not None
    assert next(ahead).images is not None
    assert ahead.there is first
    assert ahead.send() is None
    assert ahead.there is first
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)
    assert list(ahead) == []


def test_a_state_restores_everything() -> None:
    first = stepper(ema=0.9)
    for seed in range(3):
        first.step(batch(seed=seed))
    second = stepper(ema=0.9)
    kept = io.BytesIO()
    torch.save(first.state(), kept)
    kept.seek(0)
    second.restore(torch.load(kept, weights_only=True))
    for seed in range(3, 6):
        assert float(first.step(batch(seed=seed)).total) == float(second.step(batch(seed=seed)).total)
    for name, tensor in first.kept.state_dict().items():
        assert tensor.equal(second.kept.state_dict()[name]), name


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("epochs", 0, "a whole number of at least 1"),
        ("batch_size", 0, "a whole number of at least 1"),
        ("batch_size", True, "a whole number of at least 1"),
        ("reports", 2.5, "a whole number of at least 1"),
        ("validation_images", "all", "a whole number of at least 1"),
        ("crops", 0, "a whole number of at least 1"),
        ("workers", 0, "a whole number of at least 1"),
        ("patience", -1, "a whole number of at least 0"),
        ("seed", 2**31, "a whole number from 0 to 2147483647"),
        ("lr", 0, "a number from 1e-12 to 10"),
        ("lr", "fast", "a number from 1e-12 to 10"),
        ("weight_decay", math.nan, "a number of at least 0"),
        ("clip", -1.0, "a number of at least 0"),
        ("save_seconds", math.inf, "a number of at least 0"),  # which config.json could not hold
        ("ema", 1.0, "a number from 0 to less than 1"),
        ("warmup", -0.1, "a number from 0 to less than 1"),
        ("freeze", "half", "one of none, encoder, all-but-output"),
        ("precision", "fp8", "one of auto, fp32, bf16"),
        ("compile", 1, "true or false"),
    ],
)
def test_options_are_checked(name: str, value: object, wanted: str) -> None:
    with pytest.raises(OptionError, match=rf"^{name} is {re.escape(repr(value))}; wanted {wanted}$"):
        TrainOptions(**{name: value})  # type: ignore[arg-type]


def test_steps_are_batches_of_all_epochs() -> None:
    assert TrainOptions(epochs=3, batch_size=4).steps(10) == 8
    assert TrainOptions(crops=9, batch_size=4).steps(10) == 3


def test_shared_normalisation_replaces_every_layer() -> None:
    network = Network(SMALL)
    shared_normalisation(network)
    kinds = {type(module) for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)}
    assert kinds == {SharedBatchNorm}


PROCESS = """
import sys, torch
from flowseg.dataset import Batch
from flowseg.training import recorded, step
from flowseg.training.ahead import Tensors, tensors
from flowseg.training.options import TrainOptions
from flowseg.training.processes import joined, shared_normalisation
from flowseg.training.step import Stepper
from tests.networks import scrambled
from tests.training.test_step import SMALL, batch

with joined("cpu") as (processes, device):
    network = scrambled(SMALL)
    shared_normalisation(network)
    stepper = Stepper(network, TrainOptions(device=device, precision="fp32", clip=0), 100, processes=processes.count)
    part = processes.share(range(8))
    whole = batch(8)
    loss = stepper.step(Batch(*(None if one is None else one[part.start:part.stop] for one in whole)))
    total = float(loss.total)
    assert processes.told_by_first(processes.rank) == 0
    if processes.first:
        gradients = {name: one.grad for name, one in network.named_parameters()}
        torch.save({"loss": total, "gradients": gradients, "weights": network.state_dict()}, sys.argv[1])
"""


def test_two_processes_are_one_with_the_double_batch(tmp_path: Path) -> None:
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29577"]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    told = subprocess.run([*command, script, tmp_path / "out.pt"], check=True, env=settings, capture_output=True)
    assert b"Warning" not in told.stderr
    two = torch.load(tmp_path / "out.pt", weights_only=True)
    one = stepper(clip=0)
    total = float(one.step(batch(8)).total)
    assert two["loss"] == pytest.approx(total, rel=1e-5)
    for name, parameter in one.network.named_parameters():
        torch.testing.assert_close(two["gradients"][name], parameter.grad, rtol=1e-3, atol=1e-5, msg=name)
    for name, tensor in one.network.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(two["weights"][name], tensor, rtol=1e-4, atol=1e-6, msg=name)
