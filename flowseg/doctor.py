"""What this machine and this installation can do, and what would help."""

import importlib.metadata
import importlib.util
import os
import platform
import sys
import time
from pathlib import Path
from typing import NamedTuple

from flowseg import __version__, threads
from flowseg.words import many

# package: (the extra that brings it, what it is for)
_OPTIONAL = {
    "openvino": ("cpu", "a faster network on processors with AMX"),
    "imagecodecs": ("io", "compressed TIFF of every kind"),
    "pyarrow": ("parquet", "measurements as Parquet"),
}


_REDUCED = "{} changes hardly any mask and is a good deal faster; --precision fp32 computes in float32"


class Finding(NamedTuple):
    """One thing looked at: what, what was found, whether it is as it should be, and what to do if not."""

    what: str
    found: str
    ok: bool
    advice: str = ""


def examine() -> list[Finding]:
    """Look at the installation, the processor, the accelerators, the kernel cache and the extras."""
    return [
        Finding("flowseg", f"{__version__}, Python {platform.python_version()} at {sys.prefix}", True),
        Finding("machine", f"{platform.system()} {platform.machine()}, {_threads()} in use", True),
        _torch(),
        _accelerator(),
        _engine(),
        _kernel_cache(),
        *(_extra(package, *what) for package, what in _OPTIONAL.items()),
    ]


def warm_kernels() -> Finding:
    """Compile every kernel, by using each once, so that later processes load it from disk."""
    import numpy as np

    from flowseg import boundaries, dynamics, flows, labels, metrics, overlaps, rle, segment
    from flowseg.instances import Instances

    started = time.perf_counter()
    image = np.kron([[0, 1], [2, 0]], np.ones((12, 12), int))
    image[0, 0] = 1  # a stray piece, so that this path is compiled too
    dynamics.flows_to_masks(flows.masks_to_flows(image), np.where(image > 0, 5.0, -5.0))
    image[3, 15] = 0
    labels.clean(image)
    labels.outlines(labels.largest_piece(image))
    instances = Instances.from_labels(image)
    boundaries.trace(instances)
    metrics.match(instances, overlaps.resolve_overlaps(instances).labels)
    metrics.average_precision(image, image)
    rle.decode_labels(rle.encode_labels(image, order="column").values(), image.shape, order="column")
    rle.coco_to_instances(rle.labels_to_coco(image).values())
    segment.load_model(device="cpu", precision="fp32").segment(image * 100, diameter=12)
    return Finding("kernels", f"ready after {time.perf_counter() - started:.1f} s", True)


def _threads() -> str:
    return many(threads.count(), "thread")


def _torch() -> Finding:
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    return Finding("torch", f"{torch.__version__}, processor instructions up to {capability}", True)


def _accelerator() -> Finding:
    import torch

    from flowseg import engines

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Finding("accelerator", f"{name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free", True)
    if torch.backends.mps.is_available():
        return Finding("accelerator", "Apple GPU (mps)", True)
    if torch.version.cuda is None and engines.has_nvidia_driver():
        advice = "install torch for CUDA, as pytorch.org/get-started says; the usual one for Windows is without"
        return Finding("accelerator", "an NVIDIA GPU that this torch is not built for", False, advice)
    return Finding("accelerator", "none: the processor does the work", True)


def _engine() -> Finding:
    from flowseg import engines

    chosen = engines.choose()
    best = chosen.engine != "torch" or chosen.device != "cpu"
    return Finding(
        "network runs on",
        f"{chosen.engine}, {chosen.device}, {chosen.precision}" + (f": {chosen.why}" if best else ""),
        best,
        chosen.why if not best else "" if chosen.precision == "fp32" else _REDUCED.format(chosen.precision),
    )


def compiles_first() -> bool:
    """Whether no kernel was compiled and kept on disk before, so that the first image waits for that."""
    path = _kernel_folder()
    return path is not None and (not path or next(Path(path).glob("*.nbc"), None) is None)


def _kernel_folder() -> str | None:
    """Return where compiled kernels are kept; "": nowhere; None: nothing is compiled."""
    from flowseg.kernels import regions

    stats = getattr(regions.measure_rows, "stats", None)
    return None if stats is None else str(stats.cache_path or "")


def _kernel_cache() -> Finding:
    path = _kernel_folder()
    if path:
        return Finding("kernel cache", path, True)
    advice = "set NUMBA_CACHE_DIR to a folder that you may write, or every process compiles for half a minute"
    return Finding("kernel cache", f"no folder to write to (home: {os.path.expanduser('~')})", False, advice)


def _extra(package: str, extra: str, purpose: str) -> Finding:
    if importlib.util.find_spec(package) is not None:
        return Finding(package, importlib.metadata.version(package), True)
    return Finding(package, f"not installed ({purpose})", False, f'pip install "flowseg[{extra}]"')
