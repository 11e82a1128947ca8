import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import torch

import flowseg
from flowseg import checkpoint
from flowseg.errors import ModelError
from flowseg.model_config import Architecture, ModelConfig, Thresholds
from tests.networks import TINY, scrambled

CONFIG = ModelConfig(
    architecture=TINY,
    name="tiny",
    diameter_mean=17.5,
    diameter_labels=12.25,
    channel_names=("nucleus", "other"),
    normalisation=(0.5, 99.5),
    cellprob_threshold=-1.0,
    flow_threshold=0.6,
    min_size=7,
    group_thresholds={"cort": Thresholds(-0.5, 0.8, 30), "shsy5y π": Thresholds(min_size=5)},
    training_data="twelve images of nothing: π",
)
SMALL = Architecture(channels=1)


def weights_of(architecture: Architecture = TINY) -> dict[str, torch.Tensor]:
    return dict(scrambled(architecture).state_dict())


def test_flowseg_files_come_back_whole(tmp_path: Path) -> None:
    weights = weights_of()
    digest = checkpoint.write_flowseg(tmp_path / "model", CONFIG, weights)
    read = checkpoint.read(tmp_path / "model")
    assert read.config.flowseg_version == flowseg.__version__
    assert read.config.to_dict() == CONFIG.to_dict() | {"flowseg_version": flowseg.__version__}
    assert read.digest == digest
    assert read.source == "flowseg"
    for name, tensor in read.weights.items():
        if not name.startswith("diam"):
            assert torch.equal(tensor, weights[name]), name
    assert read.weights["diam_mean"].tolist() == [17.5]
    assert read.weights["diam_labels"].tolist() == [12.25]


def test_the_same_model_makes_the_same_file(tmp_path: Path) -> None:
    digests = {checkpoint.write_flowseg(tmp_path / str(n), CONFIG, weights_of()) for n in range(3)}
    assert len(digests) == 1


def test_half_precision_halves_the_file_and_reads_as_float32(tmp_path: Path) -> None:
    shape = Architecture(widths=(16, 32))
    weights, config = weights_of(shape), ModelConfig(architecture=shape)
    checkpoint.write_flowseg(tmp_path / "full", config, weights)
    checkpoint.write_flowseg(tmp_path / "half", config, weights, half=True)
    sizes = [(tmp_path / name).stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.65 * sizes[1]
    read = checkpoint.read(tmp_path / "half")
    for name, tensor in read.weights.items():
        assert tensor.dtype == weights[name].dtype
        torch.testing.assert_close(tensor, weights[name], rtol=1e-3, atol=1e-6)


def test_a_style_off_network_keeps_that_in_our_file(tmp_path: Path) -> None:
    shape = Architecture(widths=(3, 4), style=False)
    checkpoint.write_flowseg(tmp_path / "model", ModelConfig(architecture=shape), weights_of(shape))
    assert not checkpoint.read(tmp_path / "model").config.architecture.style


def test_cellpose_files_come_back_with_both_diameters(tmp_path: Path) -> None:
    weights = weights_of(SMALL)
    config = ModelConfig(architecture=SMALL, diameter_mean=17.5, diameter_labels=12.25)
    digest = checkpoint.write_cellpose(tmp_path / "model", config, weights)
    read = checkpoint.read(tmp_path / "model")
    assert (read.config, read.digest) == (config, digest)
    content = torch.load(tmp_path / "model", weights_only=True)
    assert list(content) == list(weights)
    assert content["diam_mean"].tolist() == [17.5]


def test_without_style_cellpose_gets_weights_that_do_the_same(tmp_path: Path) -> None:
    shape = Architecture(style=False)
    network = scrambled(shape)
    checkpoint.write_cellpose(tmp_path / "model", ModelConfig(architecture=shape), network.state_dict())
    read = checkpoint.read(tmp_path / "model")
    assert read.config.architecture.style
    images = torch.randn(1, 2, 16, 16)
    with torch.no_grad():
        assert torch.allclose(read.network()(images).output, network(images).output, atol=1e-5)


@pytest.mark.parametrize(
    "shape",
    [TINY, Architecture(outputs=4), Architecture(kernel=5), Architecture(residual=False, concatenation=True)],
)
def test_what_cellpose_cannot_run_is_not_written(tmp_path: Path, shape: Architecture) -> None:
    with pytest.raises(ModelError, match="Cellpose 3 cannot run"):
        checkpoint.write_cellpose(tmp_path / "model", ModelConfig(architecture=shape), weights_of(shape))
    assert not list(tmp_path.iterdir())


def test_wrapped_weights_are_unwrapped(tmp_path: Path) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in weights_of().items()}
    checkpoint.write_flowseg(tmp_path / "model", CONFIG, wrapped)
    assert "output.2.bias" in checkpoint.read(tmp_path / "model").weights


def test_writing_leaves_the_weights_alone(tmp_path: Path) -> None:
    weights = weights_of(SMALL)
    before = {name: tensor.clone() for name, tensor in weights.items()}
    config = ModelConfig(architecture=SMALL, diameter_mean=11.0)
    checkpoint.write_flowseg(tmp_path / "a", config, weights, half=True)
    checkpoint.write_cellpose(tmp_path / "b", config, weights)
    assert list(before) == list(weights)
    assert all(torch.equal(before[name], weights[name]) for name in before)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"output.2.bias": torch.full((3,), torch.inf)}, "output.2.bias holds NaN or infinity"),
        ({"output.2.bias": torch.zeros(2)}, r"output.2.bias has shape \(2,\); wanted \(3,\)"),
        ({"output.2.bias": None}, "missing: output.2.bias"),
        ({"output.2.other": torch.zeros(1)}, "another network: output.2.other"),
    ],
)
def test_wrong_weights_are_not_written(
    tmp_path: Path, change: dict[str, torch.Tensor | None], text: str, half: bool
) -> None:
    weights = {name: tensor for name, tensor in (weights_of() | change).items() if tensor is not None}
    with pytest.raises(ModelError, match=text):
        checkpoint.write_flowseg(tmp_path / "model", CONFIG, weights, half=half)
    assert not list(tmp_path.iterdir())


def test_weights_too_large_for_half_are_not_written(tmp_path: Path) -> None:
    weights = weights_of() | {"output.2.weight": torch.full((3, 3, 1, 1), 1e6)}
    with pytest.raises(ModelError, match=r"output\.2\.weight"):
        checkpoint.write_flowseg(tmp_path / "model", CONFIG, weights, half=True)
    checkpoint.write_flowseg(tmp_path / "model", CONFIG, weights)


# ------------------------------------------------------------------------------ whole or not at all


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"old")
    monkeypatch.setattr(step, full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write_flowseg(path, CONFIG, weights_of())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_and_can_be_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"old")
    before = os.umask(0o022)
    try:
        checkpoint.write_flowseg(path, CONFIG, weights_of())
    finally:
        os.umask(before)
    assert checkpoint.read(path).config.name == "tiny"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="folder"):
        checkpoint.write_flowseg(tmp_path, CONFIG, weights_of())


def test_a_folder_that_is_not_there_is_the_disks_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.write_flowseg(tmp_path / "nowhere" / "model", CONFIG, weights_of())


# -------------------------------------------------------------------------------------- the peer


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")  # of Cellpose
def test_cellpose_opens_our_file_and_finds_the_same_masks(tmp_path: Path) -> None:
    models = pytest.importorskip("cellpose.models")
    import numpy as np

    peer = models.CPnet([2, 32, 64, 128, 256], 3, 3, diam_mean=20.0)
    peer.load_state_dict(scrambled(Architecture(), seed=3).state_dict())
    peer.diam_mean.data[:], peer.diam_labels.data[:] = 20.0, 15.0
    with torch.no_grad():
        peer.output[2].weight *= 0.1
    peer.save_model(str(tmp_path / "theirs"))
    read = checkpoint.read(tmp_path / "theirs")
    checkpoint.write_flowseg(tmp_path / "own", read.config, read.weights)
    own = checkpoint.read(tmp_path / "own")
    checkpoint.write_cellpose(tmp_path / "ours", own.config, own.weights)

    coarse = np.random.default_rng(0).random((8, 10, 2)).astype(np.float32)
    image = coarse.repeat(12, axis=0).repeat(12, axis=1)
    found = []
    for name in ("theirs", "ours"):
        model = models.CellposeModel(pretrained_model=str(tmp_path / name), gpu=False)
        assert (model.diam_mean, model.diam_labels) == (20.0, 15.0)
        threshold = 0.0
        for _ in range(2):  # the second pass cuts at the median, so that there are masks
            masks, flows, style = model.eval(
                image, channels=[1, 2], cellprob_threshold=threshold, flow_threshold=0, min_size=5
            )
            threshold = float(np.median(flows[2]))
        found.append((masks, flows[1], flows[2], style))
    assert found[0][0].max() > 3
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_array_equal(theirs, ours)


@pytest.mark.peer
@pytest.mark.parametrize("channels", [1, 3])
def test_cellpose_opens_other_numbers_of_channels(tmp_path: Path, channels: int) -> None:
    models = pytest.importorskip("cellpose.models")
    network = scrambled(Architecture(channels=channels))
    config = ModelConfig(architecture=network.architecture)
    checkpoint.write_cellpose(tmp_path / "model", config, network.state_dict())
    model = models.CellposeModel(pretrained_model=str(tmp_path / "model"), nchan=channels, gpu=False)
    images = torch.randn(1, channels, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.net.eval()(images)[0], network(images).output, atol=1e-3, rtol=1e-4)


@pytest.mark.peer
def test_cellpose_gives_the_output_of_a_network_without_style(tmp_path: Path) -> None:
    models = pytest.importorskip("cellpose.models")
    network = scrambled(Architecture(style=False))
    config = ModelConfig(architecture=network.architecture)
    checkpoint.write_cellpose(tmp_path / "model", config, network.state_dict())
    model = models.CellposeModel(pretrained_model=str(tmp_path / "model"), gpu=False)
    images = torch.randn(1, 2, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.net.eval()(images)[0], network(images).output, atol=1e-3, rtol=1e-4)
