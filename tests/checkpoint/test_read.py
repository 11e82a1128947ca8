import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flowseg import checkpoint
from flowseg.errors import ModelError
from flowseg.model_config import Architecture, ModelConfig
from tests.networks import TINY, scrambled

Weights = dict[str, torch.Tensor]


def weights_of(architecture: Architecture = TINY) -> Weights:
    return dict(scrambled(architecture).state_dict())


def saved(path: Path, content: object, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def same(first: Weights, second: Any) -> bool:
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def refused(path: Path, text: str) -> None:
    with pytest.raises(ModelError, match=text) as caught:
        checkpoint.read(path)
    assert str(path) in str(caught.value)


# ------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("modern", [True, False])
def test_reads_files_of_cellpose(tmp_path: Path, modern: bool) -> None:
    weights = weights_of() | {"diam_mean": torch.tensor([17.25]), "diam_labels": torch.tensor([21.5])}
    path = saved(tmp_path / "model", weights, _use_new_zipfile_serialization=modern)
    read = checkpoint.read(path)
    assert same(weights, read.weights)
    assert read.config == ModelConfig(architecture=TINY, diameter_mean=17.25, diameter_labels=21.5)
    assert read.source == "cellpose"
    assert read.diameter_known
    assert read.digest == hashlib.sha256(path.read_bytes()).hexdigest() == checkpoint.digest(path)


shapes = st.builds(
    Architecture,
    channels=st.integers(1, 4),
    widths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    outputs=st.integers(1, 4),
    kernel=st.sampled_from([1, 3]),
    residual=st.booleans(),
    style=st.just(True),
    concatenation=st.booleans(),
)


@given(shapes)
@settings(max_examples=15)
def test_the_shape_is_in_the_tensors(tmp_path_factory: pytest.TempPathFactory, shape: Architecture) -> None:
    path = saved(tmp_path_factory.mktemp("shape") / "model", weights_of(shape))
    assert checkpoint.read(path).config.architecture == shape


def test_the_network_runs_as_before(tmp_path: Path) -> None:
    network, images = scrambled(), torch.randn(1, 2, 8, 12)
    read = checkpoint.read(saved(tmp_path / "model", network.state_dict()))
    with torch.no_grad():
        assert torch.equal(read.network()(images).output, network(images).output)
    assert not read.network().training


def test_networks_are_copies(tmp_path: Path) -> None:
    read = checkpoint.read(saved(tmp_path / "model", weights_of()))
    first = read.network()
    with torch.no_grad():
        for tensor in first.state_dict().values():
            tensor.zero_()
    assert any(weight.any() for weight in read.network().parameters())
    assert all(weight.requires_grad for weight in first.parameters())


def test_files_of_cellpose_1_say_no_diameter(tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in weights_of().items() if not name.startswith("diam")}
    read = checkpoint.read(saved(tmp_path / "model", weights))
    assert not read.diameter_known
    assert read.config.diameter_mean == 30.0
    assert read.config.diameter_labels is None
    read.network()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_are_taken_off(tmp_path: Path, prefix: str) -> None:
    weights = weights_of()
    path = saved(tmp_path / "model", {prefix + name: tensor for name, tensor in weights.items()})
    assert same(weights, checkpoint.read(path).weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = {name: t.to(dtype) if t.is_floating_point() else t for name, t in weights_of().items()}
    read = checkpoint.read(saved(tmp_path / "model", weights))
    for name, tensor in read.weights.items():
        assert tensor.dtype == (torch.int64 if name.endswith("tracked") else torch.float32)
        assert torch.equal(tensor, weights[name].to(tensor.dtype))


def test_counters_of_batches_may_be_missing(tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in weights_of().items() if not name.endswith("num_batches_tracked")}
    checkpoint.read(saved(tmp_path / "model", weights)).network()


def test_a_name_of_cellpose_1_can_switch_style_off(tmp_path: Path) -> None:
    names = ["cellpose_residual_on_style_off_concatenation_off_x_2020", "my_style_off_model"]
    read = [checkpoint.read(saved(tmp_path / name, weights_of())) for name in names]
    assert [one.config.architecture.style for one in read] == [False, True]


def test_a_useless_training_diameter_is_not_known(tmp_path: Path) -> None:
    path = saved(tmp_path / "model", weights_of() | {"diam_labels": torch.tensor([float("nan")])})
    assert checkpoint.read(path).config.diameter_labels is None


def test_safetensors_without_a_config_read_like_cellpose(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(weights_of(), tmp_path / "model")
    read = checkpoint.read(tmp_path / "model")
    assert (read.source, read.config.architecture) == ("cellpose", TINY)


@pytest.mark.parametrize(("outputs", "hint"), [(1, "restoration"), (2, "restoration"), (4, "Omnipose")])
def test_networks_that_cannot_segment_say_so(tmp_path: Path, outputs: int, hint: str) -> None:
    read = checkpoint.read(saved(tmp_path / "model", weights_of(Architecture(widths=(2, 3), outputs=outputs))))
    with pytest.raises(ModelError, match=f"gives {outputs} maps?; wanted 3.*{hint}"):
        read.require_segmentation()
    checkpoint.read(saved(tmp_path / "right", weights_of())).require_segmentation()


# --------------------------------------------------------------------------- what is refused


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("modern", [True, False])
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, modern: bool) -> None:
    content = weights_of() | {"evil": Evil(tmp_path / "ran")}
    refused(saved(tmp_path / "model", content, _use_new_zipfile_serialization=modern), r"asks to run \w+\.system")
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    refused(tmp_path / "model", "a Python pickle, which could run code")
    assert not (tmp_path / "ran").exists()


def test_a_whole_network_is_refused(tmp_path: Path) -> None:
    refused(saved(tmp_path / "model", scrambled()), r"asks to run flowseg\.network\.Network.* state_dict instead")


def test_the_environment_cannot_allow_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    refused(saved(tmp_path / "model", {"evil": Evil(tmp_path / "ran")}), "asks to run")
    assert not (tmp_path / "ran").exists()


FOREIGN = [
    ("encoder.patch_embed.proj.weight", r"Cellpose 4 \(cpsam\).* use cyto3"),
    ("net.encoder.patch_embed1.proj.weight", r"transformer_cp3.* use cyto3"),
    ("mask_decoder.iou_token.weight", "Segment Anything model"),
]


@pytest.mark.parametrize(("name", "text"), FOREIGN)
def test_other_networks_are_refused_by_name(tmp_path: Path, name: str, text: str) -> None:
    refused(saved(tmp_path / "model", {name: torch.zeros(3), "diam_mean": torch.ones(1)}), text)


def test_other_networks_too_large_to_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 1000)
    large = torch.zeros(1000)
    refused(saved(tmp_path / "model", {"encoder.patch_embed.proj.weight": large}), "cpsam")
    refused(saved(tmp_path / "other", {"weight": large}), r"has \d+ bytes; wanted at most 1000")
    (tmp_path / "noise").write_bytes(bytes(2000))
    refused(tmp_path / "noise", "has 2000 bytes")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (torch.zeros(3), "holds a Tensor; wanted a state dict"),
        ([], "holds a list"),
        ({}, "holds a dict"),
        ({"model": {"weight": torch.zeros(3)}}, "'model' is a dict; wanted a state dict"),
        ({3: torch.zeros(3)}, "'3' is a Tensor"),
        ({"weight": torch.zeros(3)}, r"tensors \(weight\) are not those of a residual network"),
        ({"weight": torch.eye(3).to_sparse()}, "sparse, quantised or meta"),
        ({"weight": torch.zeros(3, device="meta")}, "sparse, quantised or meta"),
        ({"weight": torch.zeros(1).expand(10**12)}, "claim more bytes than the file has"),
    ],
)
def test_torch_files_that_are_no_state_dict(tmp_path: Path, content: object, text: str) -> None:
    refused(saved(tmp_path / "model", content), text)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"PK", "cut short"),
        (b"<!DOCTYPE html><html>404", "web page"),
        (b"\n<?xml version='1.0'?>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x93NUMPY\x01\x00", "read_size_model"),
        (b"\x12\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "MXNet"),
        (b"GIF89a", "no model file: it begins with b'GIF89a'"),
        (b"\x08\0\0\0\0\0\0\0{}      ", "tensors .* are not those"),
        (b"\x08\0\0\0\0\0\0\0{]      ", "safetensors file is damaged"),
        (b"\xff\0\0\0\0\0\0\0{}", "safetensors file is damaged"),
    ],
)
def test_other_files_are_named(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "model").write_bytes(data)
    refused(tmp_path / "model", text)


def test_what_is_no_file(tmp_path: Path) -> None:
    refused(tmp_path, "folder")
    refused(tmp_path / "nothing", "no such file")
    refused(tmp_path / ("x" * 300), "cannot be read|no such file")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "not an ordinary file")
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ModelError, match=str(path)):
            checkpoint.digest(path)


def repacked(
    source: Path, target: Path, change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return target


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    bomb = saved(tmp_path / "bomb", {"weight": torch.zeros(10**6)})
    packed = repacked(bomb, tmp_path / "packed", lambda _, data: data, zipfile.ZIP_DEFLATED)
    assert packed.stat().st_size < 20_000
    refused(packed, "unpacks to more than its size")


def test_records_shorter_than_their_tensor_are_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole", {"weight": torch.zeros(10**5), "padding": torch.zeros(10**6)})
    short = repacked(whole, tmp_path / "short", lambda name, data: data[:64] if name.endswith("data/0") else data)
    refused(short, "damaged|claim more bytes")


def test_other_archives_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model", "w") as archive:
        archive.writestr("cyto3/readme.txt", "hello")
    refused(tmp_path / "model", "zip archive, not a model")
    with zipfile.ZipFile(tmp_path / "script", "w") as archive:
        archive.writestr("x/data.pkl", b"")
        archive.writestr("x/code/__torch__.py", b"")
    refused(tmp_path / "script", "TorchScript program")


KERNEL = "downsample.down.res_down_1.conv.conv_2.2.weight"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({KERNEL: torch.zeros(4, 4, 3, 4)}, r"conv_2.2.weight has shape \(4, 4, 3, 4\); wanted \(4, 4, 3, 3\)"),
        ({KERNEL: torch.zeros(4, 4, 3, 3, dtype=torch.int32)}, "conv_2.2.weight has type int32"),
        ({KERNEL: torch.zeros(4, 4, 3, 3, dtype=torch.complex64)}, "conv_2.2.weight has type complex64"),
        ({KERNEL: torch.full((4, 4, 3, 3), torch.nan)}, "conv_2.2.weight holds NaN or infinity"),
        ({KERNEL: torch.full((4, 4, 3, 3), 1e300, dtype=torch.float64)}, "conv_2.2.weight holds NaN or infinity"),
        ({"output.0.running_var": -torch.ones(3)}, "output.0.running_var holds a negative variance"),
        ({"output.0.bias": None}, "1 tensor is missing: output.0.bias"),
        ({"output.3.bias": torch.zeros(3)}, "1 tensor belongs to another network: output.3.bias"),
        ({"diam_mean": torch.tensor([0.0])}, r"diam_mean is \[0.0\]; wanted a diameter"),
        ({"diam_mean": torch.tensor([torch.inf])}, r"diam_mean is \[inf\]"),
        ({"diam_mean": torch.zeros(2)}, r"diam_mean is \[0.0, 0.0\]"),
        ({"downsample.down.res_down_0.conv.conv_0.2.weight": torch.zeros(3, 2, 3, 3, 3)}, "3D convolutions"),
        ({"downsample.down.res_down_0.conv.conv_0.2.weight": torch.zeros(3)}, r"has shape \(3,\); wanted \(out, in"),
        ({"downsample.down.res_down_0.conv.conv_0.2.weight": torch.zeros(3, 2, 2, 2)}, "kernel is 2; wanted an odd"),
        ({"downsample.down.res_down_0.conv.conv_0.2.weight": torch.zeros(0, 2, 3, 3)}, "a width is 0"),
    ],
)
def test_tensors_that_are_wrong(tmp_path: Path, change: dict[str, torch.Tensor | None], text: str) -> None:
    weights = {name: tensor for name, tensor in (weights_of() | change).items() if tensor is not None}
    refused(saved(tmp_path / "model", weights), text)


def test_a_classifier_of_cellpose_1_is_refused(tmp_path: Path) -> None:
    refused(saved(tmp_path / "unet3_residual_off_style_off_concatenation_on_x", weights_of()), "classes, not flows")


# --------------------------------------------------------------------- flowseg's own, damaged


def own(path: Path, stated: object, weights: Weights | None = None) -> Path:
    from safetensors.torch import save_file

    text = stated if isinstance(stated, str) else json.dumps(stated)
    save_file(weights or weights_of(), path, metadata={"flowseg": text})
    return path


def test_configs_that_do_not_fit(tmp_path: Path) -> None:
    good = {"format": 1, **ModelConfig(architecture=TINY).to_dict()}
    assert checkpoint.read(own(tmp_path / "good", good)).source == "flowseg"
    refused(own(tmp_path / "a", good | {"format": 2}), "format 2; this flowseg reads 1")
    refused(own(tmp_path / "b", {}), "no format number")
    refused(own(tmp_path / "c", [1]), "no format number")
    refused(own(tmp_path / "d", "{not json"), "damaged")
    refused(own(tmp_path / "e", "[" * 100_000), "damaged")
    refused(own(tmp_path / "f", good | {"colour": 1}), "unknown field 'colour'")
    refused(own(tmp_path / "g", good | {"diameter_mean": float("nan")}), "diameter_mean is nan")
    refused(own(tmp_path / "h", {"format": 1}), "has shape .* wanted|missing")
    shape = good["architecture"] | {"widths": [4096] * 8}
    refused(own(tmp_path / "i", good | {"architecture": shape}), "tensors are missing")


@cache
def files_to_damage() -> dict[str, bytes]:
    weights = weights_of(Architecture(widths=(1, 1)))
    zipped, legacy = io.BytesIO(), io.BytesIO()
    torch.save(weights, zipped)
    torch.save(weights, legacy, _use_new_zipfile_serialization=False)
    from safetensors.torch import save

    header = {"flowseg": json.dumps({"format": 1, **ModelConfig(architecture=Architecture(widths=(1, 1))).to_dict()})}
    return {"zip": zipped.getvalue(), "legacy": legacy.getvalue(), "own": save(weights, header)}


@pytest.mark.filterwarnings("ignore")  # of torch, about what damage looks like
@pytest.mark.parametrize("kind", ["zip", "legacy", "own"])
@given(data=st.data())
@settings(max_examples=60)
def test_damage_is_an_error_or_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    content = bytearray(files_to_damage()[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damage") / "model"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        read = checkpoint.read(path)
    except ModelError:
        return
    assert all(torch.isfinite(tensor).all() for tensor in read.weights.values())


def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    for kind, content in files_to_damage().items():
        for part in range(1, 10):
            (tmp_path / kind).write_bytes(content[: len(content) * part // 10])
            refused(tmp_path / kind, "cut short")


def test_weights_that_changed_on_the_way_are_refused(tmp_path: Path) -> None:
    content = bytearray(files_to_damage()["zip"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        weights = max(archive.infolist(), key=lambda entry: entry.file_size)
        at = content.index(archive.read(weights))
    content[at + 2] ^= 1  # of the last bits of a number: finite, and nothing else would show it
    (tmp_path / "model").write_bytes(content)
    refused(tmp_path / "model", "checksum")


def test_a_file_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(weights_of(), tmp_path / "model")
    finally:
        torch.serialization.set_crc32_options(True)
    assert checkpoint.read(tmp_path / "model").weights


def test_a_huge_safetensors_header_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(struct.pack("<Q", 2**62) + b"{" + bytes(100))
    refused(tmp_path / "model", "no model file")


def test_a_model_file_that_was_unpacked_is_told(tmp_path: Path) -> None:
    saved(tmp_path / "model", {"a": torch.zeros(3)})
    zipfile.ZipFile(tmp_path / "model").extractall(tmp_path / "all")
    (unpacked,) = (tmp_path / "all").iterdir()
    for path in (unpacked, unpacked / "data.pkl"):
        with pytest.raises(ModelError, match=r"unpacked; wanted the file itself"):
            checkpoint.read(path)
