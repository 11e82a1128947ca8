"""On a GPU a step is recorded and played back: the same numbers as step by step, and as on the processor."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from flowseg.dataset import Batch, Empty
from flowseg.errors import TrainingError
from flowseg.model_config import Architecture
from flowseg.training.options import TrainOptions
from flowseg.training.recorded import WARM
from flowseg.training.step import Stepper
from tests.networks import scrambled
from tests.training.test_step import batch

SHAPE = Architecture(channels=1, widths=(8, 16))
STEPS = WARM + 5

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture(autouse=True)
def _exact() -> None:
    torch.backends.cudnn.allow_tf32 = False  # where convolutions round, networks part within a few steps


def stepper(device: str = "cuda", recorded: bool = True, **settings: object) -> Stepper:
    torch.manual_seed(0)
    one = Stepper(scrambled(SHAPE), TrainOptions(device=device, precision="fp32", ema=0.9, **settings), steps=STEPS)
    if not recorded:
        one._recorder = None
    return one


def losses(one: Stepper, seeds: range = range(STEPS)) -> list[float]:
    ahead = one.ahead(batch(seed=seed, side=32) for seed in seeds)
    return [float(one.step(made, ahead).total) for made in ahead]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_recorded_steps_are_the_steps(device: str) -> None:
    wanted, one = stepper(device, recorded=False), stepper()
    np.testing.assert_allclose(losses(one), losses(wanted), rtol=1e-3)
    assert one._recorder is not None
    assert one._recorder._recording is not None
    unseen = batch(seed=STEPS, side=32)
    assert float(one.validate(unseen).total) == pytest.approx(float(wanted.validate(unseen).total), rel=1e-2)


def test_batches_of_another_shape_train_too() -> None:
    one = stepper()
    losses(one)
    before = one.network.state_dict()["output.2.weight"].clone()
    one.step(batch(count=2, side=32))
    assert not one.network.state_dict()["output.2.weight"].equal(before)
    before = one.network.state_dict()["output.2.weight"].clone()
    one.step(batch(side=32))
    assert not one.network.state_dict()["output.2.weight"].equal(before)


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    one = stepper()
    losses(one)
    before = {name: tensor.clone() for name, tensor in one.network.named_parameters()}
    wrong = batch(side=32)
    wrong.targets[0, 0, 3, 3] = np.nan
    with pytest.raises(TrainingError, match=f"the loss is nan at step {STEPS + 1}"):
        one.step(wrong)
    assert all(tensor.equal(before[name]) for name, tensor in one.network.named_parameters())
    assert np.isfinite(losses(one)).all()


@pytest.mark.parametrize(("first", "then"), [("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda")])
def test_a_training_goes_on_on_another_device(first: str, then: str) -> None:
    before, after = stepper(first), stepper(then)
    losses(before, range(5))
    kept = io.BytesIO()
    torch.save(before.state(), kept)
    kept.seek(0)
    losses(after)  # what it had recorded and learned is gone then
    after.restore(torch.load(kept, map_location="cpu", weights_only=True))
    rest = range(5, 5 + STEPS)
    np.testing.assert_allclose(losses(after, rest), losses(before, rest), rtol=5e-3)


def test_frozen_parts_stay() -> None:
    one = stepper(freeze="encoder")
    before = {name: tensor.clone() for name, tensor in one.network.downsample.state_dict().items()}
    losses(one)
    assert all(tensor.equal(before[name]) for name, tensor in one.network.downsample.state_dict().items())


def test_arrays_for_batches_are_pinned() -> None:
    class Given:
        def batches(self, numbers: list[list[int]], workers: int, empty: Empty, give_way: bool) -> Iterator[Batch]:
            assert not give_way
            for chosen in numbers:
                yield Batch(empty((len(chosen), 2, 16, 16)), empty((len(chosen), 3, 16, 16)), None)

    for given in stepper().batches(Given(), [[0, 1], [2, 3]]):
        assert torch.from_numpy(given.images).is_pinned()
        given.targets[:] = 1
        assert given.targets.sum() == 2 * 3 * 16 * 16
