"""Engines give what the network gives, in float32 to rounding and in bfloat16 nearly."""

import importlib.util
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from flowseg import FlowsegError, engines
from flowseg.engines import Engine, torch_engine, winograd_engine
from flowseg.engines.torch_engine import TorchEngine
from flowseg.engines.winograd_engine import WinogradEngine
from flowseg.model_config import Architecture
from flowseg.network import Network
from tests.networks import layouts

ARCHITECTURES = [
    Architecture(widths=(8, 12, 16)),
    Architecture(),
    Architecture(widths=(8, 12), channels=1, residual=False, style=False),
    Architecture(widths=(8, 12), channels=3, concatenation=True, kernel=5),
]
NAMES = ["torch", "winograd"] + (["openvino"] if importlib.util.find_spec("openvino") else [])


def some_network(architecture: Architecture, seed: int = 0) -> Network:
    """Return a network whose normalisation layers have seen something."""
    torch.manual_seed(seed)
    network = Network(architecture).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
    return network


def start(name: str, network: Network, precision: str = "fp32") -> Engine:
    if name == "torch":
        return TorchEngine(network.architecture, network.state_dict(), precision)
    if name == "winograd":
        return WinogradEngine(network.architecture, network.state_dict())
    from flowseg.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(network.architecture, network.state_dict(), precision)


def some_tiles(channels: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, channels, *shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        (name, each)
        for name in NAMES
        for each in ARCHITECTURES
        if name != "winograd" or not (each.concatenation or each.kernel != 3)
    ],
)
def test_an_engine_gives_what_the_network_gives(name: str, architecture: Architecture) -> None:
    network = some_network(architecture)
    engine = start(name, network)
    for shape in ((32, 48), (64, 16)):
        tiles = some_tiles(architecture.channels, *shape)
        with torch.inference_mode():
            wanted = network(torch.from_numpy(tiles))
            pooled = network.pooled(torch.from_numpy(tiles))
        got = engine.run(tiles)
        np.testing.assert_allclose(got.maps, wanted.output.numpy(), atol=2e-5)
        np.testing.assert_allclose(got.styles, wanted.style.numpy(), atol=1e-5)
        np.testing.assert_allclose(engine.styles(tiles), pooled.numpy(), atol=1e-5)


def test_channels_lie_last_but_on_an_apple_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose gradients of normalisation torch gets wrong then; and copies to it are waited for."""
    for kind, layout, later in (
        ("cpu", torch.channels_last, False),
        ("cuda", torch.channels_last, True),
        ("mps", torch.contiguous_format, False),
    ):
        assert torch_engine.layout_of(torch.device(kind)) == layout
        assert torch_engine.may_copy_later(torch.device(kind)) == later
    for layout in (torch.channels_last, torch.contiguous_format):
        monkeypatch.setattr(torch_engine, "layout_of", lambda _, layout=layout: layout)
        engine = start("torch", some_network(ARCHITECTURES[0]))
        assert layouts(engine._network, lambda engine=engine: engine.run(some_tiles(2, 32, 48))) == {layout}


@pytest.mark.parametrize("name", NAMES)
def test_a_given_style_is_used_for_all_tiles(name: str) -> None:
    network = some_network(ARCHITECTURES[0])
    tiles = some_tiles(2, 32, 32)
    style = np.random.default_rng(1).normal(size=16).astype(np.float32)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(tiles), torch.from_numpy(style[None])).output.numpy()
    got = start(name, network).run(tiles, style)
    np.testing.assert_allclose(got.maps, wanted, atol=2e-5)
    assert (got.styles == style).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "winograd"])
def test_bfloat16_is_close(name: str) -> None:
    network = some_network(ARCHITECTURES[1])
    tiles = some_tiles(2, 64, 64)
    exact, rough = (start(name, network, precision).run(tiles).maps for precision in ("fp32", "bf16"))
    assert rough.dtype == np.float32
    assert np.abs(exact - rough).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("name", NAMES)
def test_several_threads_may_run_one_engine(name: str) -> None:
    engine, tiles = start(name, some_network(ARCHITECTURES[1])), some_tiles(2, 64, 64)
    style = np.ones(256, np.float32) / 16
    alone = engine.run(tiles).maps, engine.run(tiles, style).maps, engine.styles(tiles)
    with ThreadPoolExecutor(4) as threads:
        own = [threads.submit(engine.run, tiles) for _ in range(4)]
        given = [threads.submit(engine.run, tiles, style) for _ in range(4)]
        styles = [threads.submit(engine.styles, tiles) for _ in range(4)]
    for each in own:
        np.testing.assert_allclose(each.result().maps, alone[0], atol=1e-5)
    for each in given:
        np.testing.assert_allclose(each.result().maps, alone[1], atol=1e-5)
    for mean in styles:
        np.testing.assert_allclose(mean.result(), alone[2], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_can_be_sent_to_another_process(name: str) -> None:
    engine, tiles = start(name, some_network(ARCHITECTURES[0])), some_tiles(2, 32, 32)
    wanted = engine.run(tiles)
    again = pickle.loads(pickle.dumps(engine))
    assert (again.name, again.device, again.precision) == (engine.name, engine.device, engine.precision)
    np.testing.assert_allclose(again.run(tiles).maps, wanted.maps, atol=1e-5)


def test_the_choice_says_why() -> None:
    chosen = engines.choose("cpu")
    assert chosen.engine in NAMES
    assert chosen.device == "cpu"
    assert chosen.why
    assert engines.choose("cpu", "fp32").precision == "fp32"


@pytest.mark.parametrize("amx", [True, False])
@pytest.mark.parametrize("openvino", [True, False])
def test_bfloat16_is_for_processors_with_amx(monkeypatch: pytest.MonkeyPatch, amx: bool, openvino: bool) -> None:
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: {"amx-bf16": amx, "avx512bf16": True})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if openvino else None)
    chosen = engines.choose("cpu")
    assert chosen[:3] == (("openvino", "cpu", "bf16") if amx and openvino else ("winograd", "cpu", "fp32"))
    assert ('pip install "flowseg[cpu]"' in chosen.why) == (amx and not openvino)
    assert engines.choose("cpu", "fp32")[:3] == ("winograd", "cpu", "fp32")


def test_a_processor_is_one_however_it_is_named() -> None:
    """A device of torch is no text, and was taken for a GPU: torch then ran on the processor in bfloat16."""
    for name in (torch.device("cpu"), "cpu:0"):
        assert engines.choose(name) == engines.choose("cpu")  # type: ignore[arg-type]
    assert engines.choose(torch.device("cuda", 1)).device == "cuda:1"


def test_without_openvino_torch_does_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert engines.choose("cpu", "bf16").engine == "torch"
    for unusual in (Architecture(kernel=5), Architecture(concatenation=True)):
        assert engines.choose("cpu", "auto", unusual)[:3] == ("torch", "cpu", "fp32")


def test_networks_of_every_kind_are_started_in_float32() -> None:
    for architecture in ARCHITECTURES:
        network = some_network(architecture)
        tiles = some_tiles(architecture.channels, 32, 32)
        with torch.inference_mode():
            wanted = network(torch.from_numpy(tiles)).output.numpy()
        engine = engines.start(architecture, network.state_dict(), "cpu", "fp32")
        np.testing.assert_allclose(engine.run(tiles).maps, wanted, atol=2e-5)


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(FlowsegError, match="precision is 'int8'"):
        engines.choose("cpu", "int8")
    with pytest.raises(FlowsegError, match="no processor"):
        engines.choose("cpu", "fp16")
    if not torch.cuda.is_available():
        with pytest.raises(FlowsegError, match="device is 'cuda', but this machine"):
            engines.start(ARCHITECTURES[0], some_network(ARCHITECTURES[0]).state_dict(), "cuda")
    with pytest.raises(FlowsegError, match="gpu7"):
        engines.start(ARCHITECTURES[0], some_network(ARCHITECTURES[0]).state_dict(), "gpu7")


@pytest.mark.parametrize("side", [104, 224])
def test_what_winograd_gives_does_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    engine = start("winograd", some_network(Architecture()))
    tiles = some_tiles(2, side, side)
    monkeypatch.setenv("FLOWSEG_THREADS", "1")
    wanted = engine.run(tiles).maps
    for number in ("2", "3", "5", "16"):
        monkeypatch.setenv("FLOWSEG_THREADS", number)
        np.testing.assert_array_equal(engine.run(tiles).maps, wanted)


@pytest.mark.skipif("openvino" not in NAMES, reason="needs the extra cpu")
def test_openvino_reports_nothing_to_its_makers() -> None:
    script = (
        "import sys\nfrom flowseg.engines import openvino_engine\nopenvino_engine._core()\n"
        "assert 'openvino' in sys.modules and 'openvino_telemetry' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.skipif("openvino" not in NAMES, reason="needs the extra cpu")
def test_two_threads_may_be_the_first_to_run_openvino() -> None:
    script = """
import sys, threading
import numpy as np
from flowseg.checkpoint._shapes import shapes
from flowseg.engines.openvino_engine import OpenVinoEngine
from flowseg.model_config import Architecture
sys.setswitchinterval(1e-6)
shape = Architecture(widths=(4, 6), channels=1)
weights = {name: np.full(size, 0.1, np.float32) for name, size in shapes(shape).items()}
def work():
    OpenVinoEngine(shape, weights).run(np.zeros((1, 1, 16, 16), np.float32))
threads = [threading.Thread(target=work) for _ in range(4)]
for each in threads: each.start()
for each in threads: each.join()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.skipif("openvino" not in NAMES, reason="needs the extra cpu")
def test_ctrl_c_is_survived_where_another_thread_gave_up_what_this_one_ran() -> None:
    script = """
import signal, threading
import numpy as np
from flowseg.checkpoint._shapes import shapes
from flowseg.engines.openvino_engine import OpenVinoEngine
from flowseg.model_config import Architecture
shape = Architecture(widths=(4, 6), channels=1)
weights = {name: np.full(size, 0.1, np.float32) for name, size in shapes(shape).items()}
engines = [OpenVinoEngine(shape, weights)]
engines[0].run(np.zeros((1, 1, 16, 16), np.float32))
thread = threading.Thread(target=engines.clear)
thread.start()
thread.join()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("stopped")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, "stopped\n")


def test_torch_keeps_to_the_threads_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    network, used = some_network(ARCHITECTURES[0]), []
    monkeypatch.setattr(Network, "_check", lambda *_given: used.append(torch.get_num_threads()))
    monkeypatch.setattr(torch_engine.threads, "count", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        engine = start("torch", network)
        engine.run(some_tiles(2, 16, 16))
        engine.styles(some_tiles(2, 16, 16))
        after = torch.get_num_threads()
        torch.set_num_threads(1)  # as torchrun lets each process have
        engine.run(some_tiles(2, 16, 16))
    finally:
        torch.set_num_threads(before)
    assert (used, after) == ([2, 2, 1], 3)


def _sum_of_maps(engine: Engine) -> float:
    return float(np.abs(engine.run(np.ones((1, 2, 64, 64), np.float32)).maps).sum())


def _in_a_fork(engine: Engine) -> float:
    """Run in a forked child what it has from its parent."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(_sum_of_maps(engine)))
    child.start()
    try:
        return float(receiver.recv()) if receiver.poll(60) else np.nan
    finally:
        child.kill()
        child.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_forked_child_uses_the_model_of_its_parent(name: str) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        engine = start(name, some_network(Architecture(widths=(8, 12, 16))))
        wanted = _sum_of_maps(engine)
        with winograd_engine._running:  # as a thread of the parent does meanwhile
            assert _in_a_fork(engine) == pytest.approx(wanted)
    finally:
        torch.set_num_threads(before)
