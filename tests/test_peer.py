"""Side by side with cellpose 3.1.1.2, in the environment that the ``bench`` extra makes: ``pytest -m peer``."""

from pathlib import Path

import numpy as np
import pytest

from flowseg import checkpoint, dynamics, flows, labels, load_model, metrics
from flowseg.model_config import Architecture, ModelConfig
from tests.networks import scrambled
from tests.shapes import logits, solid_cells

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore"),  # the peer's own
]
pytest.importorskip("cellpose")

CELLS = [(512, 14), (512, 25), (640, 40), (768, 70), (1024, 100), (1024, 150)]


def peer_masks(unit_flows: np.ndarray, cellprob: np.ndarray, flow_threshold: float = 0.4) -> np.ndarray:
    import torch
    from cellpose.dynamics import compute_masks

    device = torch.device("cpu")
    found = compute_masks(5 * unit_flows, cellprob, flow_threshold=flow_threshold, min_size=15, device=device)
    return found.astype(np.int32)


@pytest.mark.parametrize(("side", "diameter"), CELLS)
def test_flows_are_the_peers(side: int, diameter: int) -> None:
    from cellpose.dynamics import masks_to_flows_cpu

    image = solid_cells(side, diameter, seed=diameter, gap=0)
    np.testing.assert_allclose(flows.masks_to_flows(image), masks_to_flows_cpu(image.astype(int))[0], atol=1e-5)


@pytest.mark.parametrize(("side", "diameter"), CELLS)
@pytest.mark.parametrize(("noise", "least"), [(0.0, 0.999), (0.3, 0.98)])
def test_instances_are_the_peers(side: int, diameter: int, noise: float, least: float) -> None:
    image = solid_cells(side, diameter, seed=diameter)
    rng = np.random.default_rng(diameter)
    field = flows.masks_to_flows(image) + rng.normal(0, noise, (2, side, side)).astype(np.float32)
    cellprob = logits(image, 3) + rng.normal(0, noise / 0.3, image.shape).astype(np.float32)
    for flow_threshold in (0.4, 0.0):
        found = dynamics.flows_to_masks(field, cellprob, flow_threshold=flow_threshold)
        peers = peer_masks(field, cellprob, flow_threshold)
        assert metrics.average_precision(peers, found, 0.95).ap[0] >= least


def test_cleaning_is_the_peers() -> None:
    from cellpose.utils import fill_holes_and_remove_small_masks

    rng = np.random.default_rng(0)
    image = labels.relabel(np.where(rng.random((300, 300)) < 0.1, 0, solid_cells(300, 20, seed=1, gap=0)))
    ours, theirs = labels.clean(image, 40), fill_holes_and_remove_small_masks(image.copy(), 40)
    assert metrics.average_precision(theirs.astype(int), ours, 1.0).ap[0] == 1


def test_the_median_diameter_is_the_peers() -> None:
    from cellpose.utils import diameters

    image = solid_cells(300, 20, seed=1)
    assert labels.median_diameter(image) == pytest.approx(diameters(image)[0])


def test_outlines_are_the_peers() -> None:
    from cellpose.utils import outlines_list

    image = solid_cells(400, 20, seed=1)
    ours, theirs = labels.outlines(image), outlines_list(image, multiprocessing=False)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.points == other[:, ::-1]).all()


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_the_peers(seed: int) -> None:
    from cellpose.metrics import average_precision

    rng = np.random.default_rng(seed)
    truth, pred = (labels.relabel(np.kron(rng.integers(0, 40, (30, 30)), np.ones((2, 2), int))) for _ in range(2))
    if seed % 2:
        pred = np.roll(truth, 1, axis=0)
    thresholds = [0.1, 0.3, 0.5, 0.75, 0.9]
    ours = metrics.average_precision(truth, pred, thresholds)
    theirs = average_precision(truth, pred, threshold=thresholds)
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        assert (mine == other).all()
    np.testing.assert_allclose(ours.ap, theirs[0], atol=1e-7)


@pytest.mark.parametrize(
    ("shape", "diameter"), [((100, 150), 30), ((300, 260), 20), ((130, 91), 47), ((90, 80, 3), 30)]
)
def test_predictions_are_the_peers(tmp_path: Path, shape: tuple[int, ...], diameter: int) -> None:
    import torch
    from cellpose.models import CellposeModel

    path = str(tmp_path / "model")
    checkpoint.write_cellpose(path, ModelConfig(), scrambled(Architecture()).state_dict())
    peer = CellposeModel(gpu=False, pretrained_model=path, device=torch.device("cpu"))
    image = np.random.default_rng(0).integers(0, 1000, shape).astype(np.uint16)
    grey = image.mean(axis=2).astype(np.float32) if image.ndim == 3 else image
    _, (_, their_flows, their_cellprob), _ = peer.eval(grey, channels=[0, 0], diameter=diameter, compute_masks=False)
    ours = load_model(path, device="cpu", precision="fp32").segment(image, diameter=diameter, tile=224)
    size = max(1.0, float(np.abs(their_flows).max()))
    np.testing.assert_allclose(5 * ours.flows, their_flows, atol=2e-4 * size)
    np.testing.assert_allclose(ours.cellprob, their_cellprob, atol=2e-4 * size)


@pytest.mark.parametrize("shape", [(100, 150), (90, 130, 2), (90, 130, 3)])
def test_predictions_of_a_network_of_three_channels_are_the_peers(tmp_path: Path, shape: tuple[int, ...]) -> None:
    import torch
    from cellpose.models import CellposeModel

    path = str(tmp_path / "model")
    architecture = Architecture(channels=3)
    checkpoint.write_cellpose(path, ModelConfig(architecture=architecture), scrambled(architecture).state_dict())
    peer = CellposeModel(gpu=False, pretrained_model=path, nchan=3, device=torch.device("cpu"))
    image = np.random.default_rng(0).integers(0, 1000, shape).astype(np.uint16)
    padded = np.zeros((*shape[:2], 3), np.uint16)  # the peer fails on fewer channels than three
    channels = image.reshape(*shape[:2], -1)
    padded[..., : channels.shape[-1]] = channels
    _, (_, their_flows, their_cellprob), _ = peer.eval(padded, channels=None, diameter=25, compute_masks=False)
    model = load_model(path, device="cpu", precision="fp32")
    ours = model.segment(image, diameter=25, tile=224, axes=None if len(shape) == 2 else "YXC")
    size = max(1.0, float(np.abs(their_flows).max()))
    np.testing.assert_allclose(5 * ours.flows, their_flows, atol=2e-4 * size)
    np.testing.assert_allclose(ours.cellprob, their_cellprob, atol=2e-4 * size)


@pytest.mark.parametrize("shape", [(100, 150), (300, 260), (500, 240)])
def test_the_diameter_from_a_size_model_is_the_peers(tmp_path: Path, shape: tuple[int, int]) -> None:
    import torch
    from cellpose.models import CellposeModel, SizeModel

    rng, path = np.random.default_rng(1), str(tmp_path / "model")
    checkpoint.write_cellpose(path, ModelConfig(), scrambled(Architecture()).state_dict())
    values = {"A": rng.normal(0, 1, 256), "smean": rng.normal(0, 0.02, 256), "ymean": 0.2, "diam_mean": 30.0}
    np.save(f"{path}_size.npy", values, allow_pickle=True)
    peer = CellposeModel(gpu=False, pretrained_model=path, device=torch.device("cpu"))
    image = rng.integers(0, 1000, shape).astype(np.uint16)
    _, theirs = SizeModel(peer, pretrained_size=f"{path}_size.npy").eval(image, channels=[0, 0])

    model = load_model(path, device="cpu", precision="fp32")
    run, diameters = model._run, []
    model._run = lambda *given: diameters.append(given[1]) or run(*given)
    model.segment(image, tile=224)
    assert diameters[0] == pytest.approx(theirs, rel=1e-3)
    assert diameters[0] != 30
