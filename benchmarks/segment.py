"""Time `flowseg segment` beside cellpose 3.1.1.2: same weights, same images, in one run; adds a table to RESULTS.md.

    python benchmarks/segment.py --model path/to/cellpose_model --images path/to/dsb2018/images [--device cuda]

The model is one that Cellpose opens. Ratios are of medians, after a warm-up. On a GPU the networks are timed without
transfers as well.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pages import machine, on_what, put
from skimage.io import imread, imsave

from flowseg import __version__, checkpoint, engines, metrics
from flowseg.segment import Model, load_model

DIAMETER = 30.0
FLOPS = 618e9  # of the network, a megapixel


class Row(NamedTuple):
    """One line of the table."""

    what: str
    ours: float
    peer: float
    unit: str
    agreement: str = "-"

    def text(self) -> str:
        both = f"{self.ours:,.3f} {self.unit} | {self.peer:,.3f} {self.unit}"
        return f"| {self.what} | {both} | {self.peer / self.ours:.1f}x | {self.agreement} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True, help="folder of images (PNG) of 256 x 256 pixels")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for a table of its own")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak", nargs=2, metavar=("WHO", "IMAGE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.peak:
        print(json.dumps(peak(options.model, options.device, *options.peak)))
        return
    rows = []
    for row in measured(options.model, small_images(options.images), options.device, options.repeats):
        print(row.text(), flush=True)
        rows.append(row)
    put(page(rows, options.device))


def measured(model: str, images: list[npt.NDArray[np.uint8]], device: str, repeats: int) -> Iterator[Row]:
    peer = open_peer(model, device)
    precise = load_model(model, device=device, precision="fp32")
    usual = load_model(model, device=device)
    yield from network_rows(model, peer, device, repeats)
    if device != "cpu":
        yield throughput_row(model, peer, device)
    reduced = load_model(model, device=device, precision="bf16")
    other, name = (reduced, "bf16") if usual.description["precision"] == "fp32" else (precise, "float32")
    for side in (1024, 2048):
        image = mosaic(images, side)
        theirs = peer_masks(peer, image)
        slow = float(np.median([seconds(lambda image=image: peer_masks(peer, image)) for _ in range(repeats)]))
        for what, loaded, how in (
            ("float32, same tiles", precise, {"tile": 224}),
            ("bf16, same tiles", reduced, {"tile": 224}),
            ("defaults", usual, {}),
            (f"defaults but {name}", other, {}),
        ):
            yield image_row(f"{side}² image, {what}", loaded, image, theirs, slow, repeats, how)
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.png"
        imsave(large, mosaic(images, 2048), check_contrast=False)
        ours, theirs_peak = (peak_elsewhere(model, device, who, large) for who in ("flowseg", "cellpose"))
        yield Row("peak memory, 2048² image, defaults", ours, theirs_peak, "GB")
        yield folder_row(model, images, device, Path(folder))


def network_rows(model: str, peer: object, device: str, repeats: int) -> Iterator[Row]:
    from cellpose.core import _forward

    file = checkpoint.read(model)
    tiles = np.random.default_rng(0).normal(size=(8, 2, 224, 224)).astype(np.float32)
    for precision in ("fp32", "bf16"):
        engine = engines.start(file.config.architecture, file.weights, device, precision)
        times = timed(lambda run=engine.run: run(tiles), lambda: _forward(peer.net, tiles), repeats)
        exact = _forward(peer.net, tiles)[0]
        error = np.abs(engine.run(tiles).maps - exact).max() / np.abs(exact).max()
        yield Row(f"network alone, {precision}, 8 tiles of 224²", *times, "s", f"error {error:.1e}")


def throughput_row(model: str, peer: object, device: str) -> Row:
    """Time both networks on tiles that lie on the GPU already."""
    import torch

    network = checkpoint.read(model).network().eval().to(device, torch.bfloat16, memory_format=torch.channels_last)
    tiles = torch.zeros((8, 2, 1024, 1024), device=device)
    ours = tiles.to(torch.bfloat16, memory_format=torch.channels_last)
    mine, theirs = (
        on_gpu_seconds(call) / (tiles[:, 0].numel() / 1e6) for call in (lambda: network(ours), lambda: peer.net(tiles))
    )
    return Row(
        "networks on the GPU, bf16 and float32, a megapixel", mine, theirs, "s", f"{FLOPS / mine / 1e12:.0f} TFLOP/s"
    )


def on_gpu_seconds(call: Callable[[], object]) -> float:
    import torch

    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.inference_mode():
        for _ in range(3):
            call()
        begin.record()
        for _ in range(5):
            call()
        end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) / 1e3 / 5


def image_row(
    what: str,
    model: Model,
    image: npt.NDArray[np.uint8],
    theirs: npt.NDArray[np.int32],
    peer: float,
    repeats: int,
    how: dict[str, int],
) -> Row:
    found = model.segment(image, diameter=DIAMETER, **how).labels
    times = [seconds(lambda: model.segment(image, diameter=DIAMETER, **how)) for _ in range(repeats)]
    agreement = metrics.average_precision(theirs, found, 0.9).ap[0]
    return Row(what, float(np.median(times)), peer, "s", f"AP at 0.9: {agreement:.4f}")


def folder_row(model: str, images: list[npt.NDArray[np.uint8]], device: str, folder: Path) -> Row:
    """Time whole processes over 200 images of 256 x 256."""
    inputs = folder / "inputs"
    inputs.mkdir()
    for number in range(200):
        imsave(inputs / f"{number:03}.png", images[number % len(images)], check_contrast=False)
    started = time.perf_counter()
    command = [sys.executable, "-m", "flowseg", "segment", str(inputs), "-o", str(folder / "out"), "--model", model]
    subprocess.run([*command, "--diameter", str(DIAMETER), "--device", device], check=True, capture_output=True)
    ours = time.perf_counter() - started
    started = time.perf_counter()
    command = [sys.executable, "-m", "cellpose", "--dir", str(inputs), "--pretrained_model", model, "--diameter"]
    command += [str(DIAMETER), "--chan", "0", "--save_tif", "--no_npy", *([] if device == "cpu" else ["--use_gpu"])]
    subprocess.run(command, check=True, capture_output=True)
    return Row("folder of 200 images of 256², processes from start to end", ours, time.perf_counter() - started, "s")


def open_peer(model: str, device: str) -> object:
    import torch
    from cellpose.models import CellposeModel

    return CellposeModel(gpu=device != "cpu", pretrained_model=model, device=torch.device(device))


def peer_masks(peer: object, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    return np.asarray(peer.eval(image, channels=[0, 0], diameter=DIAMETER)[0], np.int32)


def timed(ours: Callable[[], object], peer: Callable[[], object], repeats: int) -> tuple[float, float]:
    ours()
    mine, theirs = [], []
    for _ in range(repeats):
        mine.append(seconds(ours))
        theirs.append(seconds(peer))
    return float(np.median(mine)), float(np.median(theirs))


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def peak_elsewhere(model: str, device: str, who: str, image: Path) -> float:
    command = [
        sys.executable,
        __file__,
        "--model",
        model,
        "--images",
        ".",
        "--device",
        device,
        "--peak",
        who,
        str(image),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def peak(model: str, device: str, who: str, path: str) -> float:
    """Segment one image and return the peak memory of this process in GB."""
    image = imread(path)
    if who == "flowseg":
        load_model(model, device=device).segment(image, diameter=DIAMETER)
    else:
        peer_masks(open_peer(model, device), image)
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def small_images(folder: Path) -> list[npt.NDArray[np.uint8]]:
    images = [imread(path) for path in sorted(folder.glob("*.png"))]
    return [image for image in images if image.shape == (256, 256)]


def mosaic(images: list[npt.NDArray[np.uint8]], side: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    rows = [np.hstack([images[rng.integers(len(images))] for _ in range(side // 256)]) for _ in range(side // 256)]
    return np.vstack(rows)


def page(rows: list[Row], device: str) -> str:
    amx = "with" if engines.has_amx() else "without"
    how = f"Winograd's convolutions in float32, OpenVINO in bfloat16 ({amx} AMX)" if device == "cpu" else "torch"
    table = "\n".join(row.text() for row in rows)
    return f"""## Segmentation{on_what(device)}

`benchmarks/segment.py`, flowseg {__version__} with {how} beside cellpose 3.1.1.2, {datetime.date.today()},
{machine(device)}. Agreement is with Cellpose's own result. Images are mosaics of
unrelated pictures: a style of each tile's own, as Cellpose has it, differs there from one style for the whole image,
which the defaults use so that no seams show.

| what | flowseg | cellpose | ratio | agreement |
|---|---|---|---|---|
{table}
"""


if __name__ == "__main__":
    main()
