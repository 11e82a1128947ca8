"""Run a network on the processor in float32, with a quarter of the usual multiplications and without torch.

Convolutions are Winograd's, see `flowseg.kernels.winograd`. Normalising, the cut at zero, the shift by the style and
enlarging happen while pixels are gathered for a convolution, and sums while its result is written, so nothing but the
results of convolutions is ever in memory.
"""

import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from flowseg import threads
from flowseg.arrays import Floats
from flowseg.engines import Batch
from flowseg.engines._weights import Named, Weights
from flowseg.kernels import pixelwise, winograd
from flowseg.model_config import Architecture

_PRODUCT = 2**19  # multiplications of one product of matrices: those of this size are fastest, and made by one thread
_FAST_MEMORY = 2**20  # bytes that a thread has at hand: more, and products leave BLAS's kernels for small matrices, too
_TILES = 4, 64  # made together, at least and at most
_TURNS = 4  # pieces of work for each thread
_running = threading.Lock()  # the number of threads of BLAS is the process's


def _forget_who_runs() -> None:
    """Start anew in a forked child: the thread that ran a network meanwhile, and would end, is not there."""
    global _running
    _running = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_who_runs)


class WinogradEngine:
    """See `flowseg.engines.Engine`. Convolutions have kernels of 3 x 3, and features of the way down are added.

    Several threads may call it: one runs at a time, on all processors.
    """

    name = "winograd"
    device = "cpu"
    precision = "fp32"
    batch_pixels = 2**18  # more at once takes memory and brings little

    def __init__(self, architecture: Architecture, weights: Weights) -> None:
        self._architecture, self._weights = architecture, weights
        self._network = _Network(architecture, weights)

    def __reduce__(self) -> tuple[type["WinogradEngine"], tuple[Architecture, Weights]]:
        return WinogradEngine, (self._architecture, self._weights)

    def run(self, tiles: Floats, style: Floats | None = None) -> Batch:
        """Run the network on tiles (N, C, H, W), each with its own style or all with the one given, (S,)."""
        with _alone():
            features = self._network.encode(tiles)
            styles = _unit(_pooled(features)) if style is None else np.broadcast_to(style, (len(tiles), len(style)))
            return Batch(self._network.decode(features, styles), styles)

    def styles(self, tiles: Floats) -> Floats:
        """Return the mean deepest features (N, S) of tiles."""
        with _alone():
            return _pooled(self._network.encode(tiles))


@contextmanager
def _alone() -> Iterator[None]:
    """Let no other network run, and BLAS use no threads of its own: ours share the work out."""
    with _running, _blas().limit(limits=1, user_api="blas"):
        yield


@cache
def _blas() -> ThreadpoolController:
    import scipy.linalg.cython_blas  # noqa: F401 - numba takes products from it, once it is there

    return ThreadpoolController()  # of all libraries that the process has now


def _pooled(features: list[Floats]) -> Floats:
    return np.asarray(features[-1].mean(axis=(1, 2), dtype=np.float64), np.float32)


def _unit(styles: Floats) -> Floats:
    return np.asarray(styles / np.maximum(np.linalg.norm(styles, axis=1, keepdims=True), 1e-12), np.float32)


class _Room:
    """Arrays by name, of which the memory is used again and again: to get it anew costs a fifth of the time."""

    def __init__(self) -> None:
        self._kept: dict[str, Floats] = {}

    def __call__(self, name: str, *shape: int) -> Floats:
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or kept.size < size:
            kept = self._kept[name] = np.empty(size, np.float32)
        return kept[:size].reshape(shape)


class _Convolution:
    """Normalise, cut at zero, convolve; where a style shifts the channels, ``full`` names what says by how much."""

    def __init__(self, weights: Named, name: str, full: str = "") -> None:
        self._scale, self._shift = weights.normalisation(f"{name}.0")
        self._weights = winograd.transformed(weights[f"{name}.2.weight"])
        self._bias = weights[f"{name}.2.bias"]
        self._full = (weights[f"{full}.weight"].T.copy(), weights[f"{full}.bias"]) if full else None

    def __call__(
        self, x: Floats, result: Floats, styles: Floats | None = None, *, grow: int = 1, add: bool = False
    ) -> None:
        """Convolve x made ``grow`` times as large into an array, or add it to what is there."""
        shift = np.broadcast_to(self._shift, (len(x), len(self._shift)))
        if self._full is not None and styles is not None:
            shift = shift + self._scale * (styles @ self._full[0] + self._full[1])
        shift = np.ascontiguousarray(shift, np.float32)
        tiles = len(x) * winograd.tiles(*result.shape[1:3])
        some = _at_once(tiles, self._weights)

        def work(start: int, stop: int) -> None:
            winograd.convolve(x, self._scale, shift, grow, self._weights, self._bias, add, result, start, stop, some)

        _share_out(work, tiles, some)


class _Projection:
    """Normalise and change the number of channels."""

    def __init__(self, weights: Named, name: str) -> None:
        scale, shift = weights.normalisation(f"{name}.0")
        matrix = weights[f"{name}.1.weight"][:, :, 0, 0].T
        self._weights = np.ascontiguousarray(scale[:, None] * matrix)
        self._bias = shift @ matrix + weights[f"{name}.1.bias"]

    def __call__(self, x: Floats, result: Floats, *, grow: int = 1) -> None:
        most = _rows_of_a_product(self._weights)

        def work(start: int, stop: int) -> None:
            pixelwise.project(x, self._weights, self._bias, grow, result, start, stop, most)

        _share_out(work, len(x) * x.shape[1])


class _Output:
    """The last layer: maps of pixels."""

    def __init__(self, weights: Named) -> None:
        self._scale, self._shift = weights.normalisation("output.0")
        self._weights = np.ascontiguousarray(weights["output.2.weight"][:, :, 0, 0].T)
        self._bias = weights["output.2.bias"]

    def __call__(self, x: Floats) -> Floats:
        maps = np.empty((len(x), len(self._bias), *x.shape[1:3]), np.float32)

        def work(start: int, stop: int) -> None:
            pixelwise.finish(x, self._scale, self._shift, self._weights, self._bias, maps, start, stop)

        _share_out(work, len(x) * x.shape[1])
        return maps


class _Block:
    """One level of the way down or up: two convolutions, or in a residual network four with ways around them."""

    def __init__(self, weights: Named, name: str, residual: bool, styled: bool) -> None:
        names = [f"{name}.conv.conv_{number}" for number in range(4 if residual else 2)]
        shifted = [
            (f"{each}.conv", f"{each}.full") if styled and number else (each,) for number, each in enumerate(names)
        ]
        self._convolutions = [_Convolution(weights, *each) for each in shifted]
        self._around = _Projection(weights, f"{name}.proj") if residual else None

    def __call__(
        self,
        x: Floats,
        inner: Floats,
        result: Floats,
        styles: Floats | None = None,
        *,
        grow: int = 1,
        add: bool = False,
    ) -> None:
        """Run the level on x, made ``grow`` times as large; ``inner`` is written over, or added to first."""
        first, second, *others = self._convolutions
        first(x, inner, grow=grow, add=add)
        if self._around is None:
            second(inner, result, styles)
            return
        third, fourth = others
        self._around(x, result, grow=grow)
        second(inner, result, styles, add=True)
        third(result, inner, styles)
        fourth(inner, result, styles, add=True)


class _Network:
    """The network of `flowseg.network`; names are those of its state dict."""

    def __init__(self, architecture: Architecture, weights: Weights) -> None:
        named = Named(weights)
        residual, levels = architecture.residual, range(len(architecture.widths))
        kind = "res" if residual else "conv"
        self._widths, self._styled = architecture.widths, architecture.style
        self._down = [_Block(named, f"downsample.down.{kind}_down_{level}", residual, False) for level in levels]
        self._up = [_Block(named, f"upsample.up.{kind}_up_{level}", residual, True) for level in levels]
        self._output = _Output(named)
        self._room = _Room()

    def encode(self, tiles: Floats) -> list[Floats]:
        """Return the features of each level, full resolution first."""
        count, channels, height, width = tiles.shape
        x = self._room("tiles", count, height, width, channels)
        x[...] = tiles.transpose(0, 2, 3, 1)
        features: list[Floats] = []
        for level, block in enumerate(self._down):
            if level > 0:
                x = _halved(x, self._room(f"halved {level}", count, x.shape[1] // 2, x.shape[2] // 2, x.shape[3]))
            shape = *x.shape[:3], self._widths[level]
            inner, result = self._room(f"inner {level}", *shape), self._room(f"down {level}", *shape)
            block(x, inner, result)
            features.append(x := result)
        return features

    def decode(self, features: list[Floats], styles: Floats) -> Floats:
        """Climb back to full resolution; features are written over."""
        if not self._styled:
            styles = np.zeros_like(styles)
        deepest = len(features) - 1
        x = features[-1].copy()
        for level in range(deepest, -1, -1):
            skip = features[level]
            result = self._room(f"up {level}", *skip.shape)
            self._up[level](x, skip, result, styles, grow=1 if level == deepest else 2, add=True)
            x = result
        return self._output(x)


def _halved(x: Floats, result: Floats) -> Floats:
    _share_out(lambda start, stop: pixelwise.halve(x, result, start, stop), len(x) * result.shape[1])
    return result


def _rows_of_a_product(matrix: Floats) -> int:
    """Return how many rows times a matrix are one product of the best size."""
    return max(4, min(128, _PRODUCT // matrix.size))


def _at_once(tiles: int, weights: Floats) -> int:
    """Return how many tiles are made together: as many as there is fast memory for, in an even number of parts."""
    least, most = _TILES
    most = max(least, min(most, _FAST_MEMORY // winograd.bytes_of_a_tile(weights)))
    parts = 2 * math.ceil(tiles / (2 * most))
    return math.ceil(tiles / parts)


def _share_out(work: Callable[[int, int], object], items: int, together: int = 1) -> None:
    """Share out items over threads, but never those that are made together: products are the same for any number."""
    pieces = threads.count() * _TURNS
    threads.over_ranges(work, threads.blocks(items, together * max(1, items // (together * pieces))))
