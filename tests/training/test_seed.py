"""What is random in a training comes from its seed alone, and nobody else's numbers change."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from flowseg import checkpoint
from flowseg.dataset import CropOptions
from flowseg.model_config import Architecture, ModelConfig
from flowseg.network import Network, drawn
from flowseg.training import Asked, NewModel, TrainOptions, run
from tests.training.data import items

OPTIONS = TrainOptions(
    crops=8, batch_size=4, reports=1, device="cpu", precision="fp32", crop=CropOptions(size=32), workers=2
)


@dataclass(frozen=True)
class Disturbed(NewModel):
    """A network that is made while another thread draws numbers from torch's own generator."""

    def config(self) -> ModelConfig:
        torch.rand(7)
        return super().config()


def trained(out: Path, new: NewModel, seed: int = 3) -> dict[str, torch.Tensor]:
    asked = Asked(new=new, diameter=16.0)
    return dict(checkpoint.read(run(items(out, 2), out / "run", replace(OPTIONS, seed=seed), asked).model).weights)


@pytest.mark.parametrize("shape", [Architecture(widths=(4, 6, 8)), Architecture(1, (4, 6), residual=False)])
def test_weights_are_those_that_torch_draws(shape: Architecture) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = Network(shape)
    made = drawn(shape, torch.Generator().manual_seed(5))
    assert made.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in made.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[name]), name
    assert all(one.requires_grad and one.is_leaf for one in made.parameters())


def test_a_seed_gives_the_same_weights_whatever_others_draw(tmp_path: Path) -> None:
    names = ("grey", (4, 6))
    alone, beside = trained(tmp_path / "a", NewModel(*names)), trained(tmp_path / "b", Disturbed(*names))
    other = trained(tmp_path / "c", NewModel(*names), seed=4)
    for name, tensor in alone.items():
        torch.testing.assert_close(tensor, beside[name], rtol=1e-5, atol=1e-6, msg=name)
    assert not torch.allclose(alone["output.2.weight"], other["output.2.weight"])


def test_the_numbers_of_others_stay_as_they_were(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        expected = torch.rand(5)
        torch.manual_seed(11)
        trained(tmp_path / "a", NewModel("grey", (4, 6)))
        assert torch.initial_seed() == 11
        assert torch.equal(torch.rand(5), expected)
