"""Plain torch files are read without torch, and are what torch reads; whatever is unusual is left to torch."""

import io
import itertools
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flowseg import checkpoint
from flowseg.checkpoint import _torch_zip
from flowseg.checkpoint._shapes import shapes
from flowseg.model_config import Architecture, ModelConfig
from flowseg.network import Network
from tests.networks import scrambled

TYPES = [torch.float32, torch.float16, torch.float64, torch.int64]


def saved(content: object, **how: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    return buffer.getvalue()


@settings(max_examples=60)
@given(st.data())
def test_tensors_are_those_of_torch(data: st.DataObject) -> None:
    """Views, transposed and shared storages among them."""
    base = torch.arange(60).to(data.draw(st.sampled_from(TYPES)))
    views = [
        base,
        base.reshape(3, 4, 5),
        base.reshape(4, 15).t(),
        base[7:40:3],
        base.reshape(6, 10)[1:4, 2:9],
        base[:0],
    ]
    chosen = data.draw(st.lists(st.sampled_from(range(len(views))), min_size=1, max_size=4))
    content = {f"t{place}": views[number] for place, number in enumerate(chosen)}
    read = _torch_zip.read(saved(content))
    if any(view.numel() == 0 for view in content.values()):
        assert read is None
        return
    assert read is not None
    for name, tensor in content.items():
        assert read[name].dtype == tensor.numpy().dtype
        assert (read[name] == tensor.numpy()).all()
        assert read[name].shape == tuple(tensor.shape)


@pytest.mark.parametrize(
    "content",
    [
        {"a": torch.zeros(2, dtype=torch.bfloat16)},
        {"a": torch.zeros(2, dtype=torch.complex64)},
        {"a": torch.zeros(2).to_sparse()},
        {"a": 1.0},
        {"a": {"b": torch.zeros(2)}},
        [torch.zeros(2)],
        {},
        {3: torch.zeros(2)},
    ],
)
def test_what_is_not_plain_is_left_to_torch(content: object) -> None:
    assert _torch_zip.read(saved(content)) is None
    assert _torch_zip.read(saved(content, _use_new_zipfile_serialization=False)) is None


def test_a_file_that_runs_code_is_never_built(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("ran",)

    assert _torch_zip.read(saved({"a": Evil()})) is None


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_damaged_files_are_left_to_torch_or_read(seed: int, changes: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(saved({"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(())}))
    for _ in range(changes):
        data[rng.integers(len(data))] = rng.integers(256)
    read = _torch_zip.read(bytes(data))
    assert read is None or all(isinstance(value, np.ndarray) for value in read.values())


BEYOND = [(b"K\x06", b"K\x07"), (b"K\x02K\x03", b"K\x02K\x09"), (b"K\x03K\x01", b"K\xffK\x01")]


@pytest.mark.parametrize(("old", "new"), BEYOND)
def test_tensors_beyond_their_storage_are_not_made(old: bytes, new: bytes) -> None:
    source = zipfile.ZipFile(io.BytesIO(saved({"a": torch.arange(6.0).reshape(2, 3)})))
    buffer, changed = io.BytesIO(), False
    with zipfile.ZipFile(buffer, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                changed = old in content
                content = content.replace(old, new, 1)
            target.writestr(entry, content)
    assert changed
    assert _torch_zip.read(buffer.getvalue()) is None


def test_shapes_are_those_of_the_network() -> None:
    flags = (True, False)
    for residual, style, concatenation, widths, kernel in itertools.product(
        flags, flags, flags, [(4,), (3, 4, 5)], [1, 3]
    ):
        shape = Architecture(3, widths, 4, kernel, residual, style, concatenation)
        wanted = {name: tuple(tensor.shape) for name, tensor in Network(shape).state_dict().items()}
        assert list(shapes(shape).items()) == list(wanted.items())


def test_segmenting_on_a_processor_needs_no_torch(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    shape = Architecture(widths=(3, 4))
    network = scrambled(shape)
    torch.save(network.state_dict(), tmp_path / "cellpose_like")
    checkpoint.write_flowseg(tmp_path / "own", ModelConfig(architecture=shape), network.state_dict())
    script = (
        "import sys, numpy, flowseg, flowseg.engines as e\n"
        "e._may_have_gpu = lambda: False\n"
        "for name in sys.argv[1:]:\n"
        "    flowseg.load_model(name).segment(numpy.eye(40), diameter=20)\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    names = [str(tmp_path / "cellpose_like"), str(tmp_path / "own")]
    subprocess.run([sys.executable, "-c", script, *names], check=True)
