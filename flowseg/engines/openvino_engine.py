"""Run a network on the processor through OpenVINO: the graph is built straight from the weights, without torch."""

import os
import sys
import threading
from typing import Any

import numpy as np

from flowseg import threads
from flowseg.arrays import Floats
from flowseg.engines import Batch
from flowseg.engines._weights import Named, Weights
from flowseg.errors import MissingExtra
from flowseg.model_config import Architecture

Node = Any  # openvino's nodes are untyped

_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}

_loading = threading.Lock()
_cores: dict[int, Any] = {}  # the one of each process: a forked one cannot use its parent's


def _openvino() -> Any:
    """Return OpenVINO, loaded without the part that reports its use to its makers over the network."""
    reporter = "openvino_telemetry"
    with _loading:
        silent = reporter not in sys.modules
        if silent:
            sys.modules[reporter] = None  # type: ignore[assignment]  # so it cannot be imported
        try:
            import openvino
        except ImportError:
            raise MissingExtra("openvino", extra="cpu") from None
        finally:
            if silent:
                sys.modules.pop(reporter, None)
        openvino.Type.f32.to_dtype()  # the first call is a dead-lock where two threads make it
    return openvino


def _core() -> Any:
    """Return OpenVINO's runtime, which stays until the process ends.

    It gives the thread that first uses it a stack for signals, and takes it away when it is given up, from whichever
    thread: the first one would die of the next signal, Ctrl-C say.
    """
    openvino = _openvino()
    with _loading:
        if os.getpid() not in _cores:
            _cores[os.getpid()] = openvino.Core()
        return _cores[os.getpid()]


class OpenVinoEngine:
    """See `flowseg.engines.Engine`.

    Several threads may call it: one runs at a time, on all processors. A pickled copy compiles anew.
    """

    name = "openvino"
    device = "cpu"
    batch_pixels = 2**17  # more at once takes memory and brings nothing

    def __init__(self, architecture: Architecture, weights: Weights, precision: str = "fp32") -> None:
        self.precision = precision
        self._architecture, self._weights = architecture, weights
        self._core = _core()
        self._graph = _Graph(architecture, weights)
        self._compiled: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["OpenVinoEngine"], tuple[Architecture, Weights, str]]:
        return OpenVinoEngine, (self._architecture, self._weights, self.precision)

    def run(self, tiles: Floats, style: Floats | None = None) -> Batch:
        """Run the network on tiles (N, C, H, W), each with its own style or all with the one given, (S,)."""
        if style is None:
            maps, styles = self._infer("own", tiles)
            return Batch(maps, styles)
        (maps,) = self._infer("given", tiles, np.ascontiguousarray(style[None], np.float32))
        return Batch(maps, np.broadcast_to(style, (len(tiles), len(style))))

    def styles(self, tiles: Floats) -> Floats:
        """Return the mean deepest features (N, S) of tiles."""
        (pooled,) = self._infer("pooled", tiles)
        return pooled

    def _infer(self, which: str, *inputs: Floats) -> list[Floats]:
        with self._lock:  # a request that runs takes no second one
            results = self._request(which).infer(list(map(np.ascontiguousarray, inputs)), share_inputs=True)
        return [np.asarray(value, np.float32) for value in results.values()]

    def _request(self, which: str) -> Any:
        if which not in self._compiled:
            settings = {
                "INFERENCE_PRECISION_HINT": _PRECISIONS[self.precision],
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": threads.count(),
            }
            compiled = self._core.compile_model(self._graph.model(which), "CPU", settings)
            self._compiled[which] = compiled.create_infer_request()
        return self._compiled[which]


class _Graph:
    """The network of `flowseg.network` written in OpenVINO's operations; names are those of its state dict."""

    def __init__(self, architecture: Architecture, weights: Weights) -> None:
        _openvino()
        import openvino.opset13 as ops

        self.ops = ops
        self.shape = architecture
        self.weights = Named(weights)

    def model(self, which: str) -> Any:
        """Return the model that gives maps with each tile's ``own`` style, with a ``given`` one, or styles alone."""
        openvino = _openvino()
        image = self.ops.parameter([-1, self.shape.channels, -1, -1], np.float32, name="image")
        features = self._encode(image)
        pooled = self.ops.reduce_mean(features[-1], np.array([2, 3]), keep_dims=False)
        if which == "pooled":
            return openvino.Model([pooled], [image], which)
        if which == "given":
            style = self.ops.parameter([1, self.shape.widths[-1]], np.float32, name="style")
            return openvino.Model([self._decode(features, style)], [image, style], which)
        style = self.ops.normalize_l2(pooled, np.array([1]), eps=1e-24, eps_mode="max")
        return openvino.Model([self._decode(features, style), style], [image], which)

    def _encode(self, x: Node) -> list[Node]:
        features: list[Node] = []
        for level in range(len(self.shape.widths)):
            if level > 0:
                x = self.ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2], "floor").output(0)
            x = self._down(x, f"downsample.down.{'res' if self.shape.residual else 'conv'}_down_{level}")
            features.append(x)
        return features

    def _down(self, x: Node, name: str) -> Node:
        inner = self._convolution(self._convolution(x, f"{name}.conv.conv_0"), f"{name}.conv.conv_1")
        if not self.shape.residual:
            return inner
        x = self.ops.add(self._projection(x, f"{name}.proj"), inner)
        inner = self._convolution(self._convolution(x, f"{name}.conv.conv_2"), f"{name}.conv.conv_3")
        return self.ops.add(x, inner)

    def _decode(self, features: list[Node], style: Node) -> Node:
        if not self.shape.style:
            style = self.ops.multiply(style, np.float32(0))
        x, deepest = features[-1], len(features) - 1
        for level in reversed(range(len(features))):
            name = f"upsample.up.{'res' if self.shape.residual else 'conv'}_up_{level}"
            x = self._up(x, features[level], style, name, enlarge=level < deepest)
        return self._convolution(x, "output")

    def _up(self, x: Node, skip: Node, style: Node, name: str, enlarge: bool) -> Node:
        inner = self._convolution(x, f"{name}.conv.conv_0", enlarge)
        inner = self.ops.concat([skip, inner], 1) if self.shape.concatenation else self.ops.add(inner, skip)
        inner = self._styled(inner, style, f"{name}.conv.conv_1")
        if not self.shape.residual:
            return inner
        around = self._projection(x, f"{name}.proj")
        x = self.ops.add(self._twice_as_large(around) if enlarge else around, inner)
        inner = self._styled(x, style, f"{name}.conv.conv_2")
        return self.ops.add(x, self._styled(inner, style, f"{name}.conv.conv_3"))

    def _styled(self, x: Node, style: Node, name: str) -> Node:
        shift = self.ops.matmul(style, self.weights[f"{name}.full.weight"], False, True)
        shift = self.ops.add(shift, self.weights[f"{name}.full.bias"][None])
        shift = self.ops.unsqueeze(self.ops.unsqueeze(shift, np.array(2)), np.array(3))
        return self._convolution(self.ops.add(x, shift), f"{name}.conv")

    def _convolution(self, x: Node, name: str, enlarge: bool = False) -> Node:
        x = self.ops.relu(self._normalise(x, f"{name}.0"))
        return self._convolve_enlarged(x, f"{name}.2") if enlarge else self._convolve(x, f"{name}.2")

    def _projection(self, x: Node, name: str) -> Node:
        return self._convolve(self._normalise(x, f"{name}.0"), f"{name}.1")

    def _normalise(self, x: Node, name: str) -> Node:
        factor, shift = (part.reshape(1, -1, 1, 1) for part in self.weights.normalisation(name))
        return self.ops.add(self.ops.multiply(x, factor), shift)

    def _convolve(self, x: Node, name: str) -> Node:
        weight = self.weights[f"{name}.weight"]
        pad = [side // 2 for side in weight.shape[2:]]
        return self._with_bias(self.ops.convolution(x, weight, [1, 1], pad, pad, [1, 1]), name)

    def _convolve_enlarged(self, x: Node, name: str) -> Node:
        """Convolve x made twice as large, without making it: see `flowseg.network.EnlargingConvolution`."""
        weight = self.weights[f"{name}.weight"].transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        spread = sum(
            np.pad(weight, ((0, 0), (0, 0), (down, 1 - down), (along, 1 - along)))
            for down in (0, 1)
            for along in (0, 1)
        )
        pad = [side // 2 for side in weight.shape[2:]]
        return self._with_bias(self.ops.convolution_backprop_data(x, spread, [2, 2], None, pad, pad), name)

    def _with_bias(self, x: Node, name: str) -> Node:
        return self.ops.add(x, self.weights[f"{name}.bias"].reshape(1, -1, 1, 1))

    def _twice_as_large(self, x: Node) -> Node:
        scales, axes = np.array([2, 2], np.float32), np.array([2, 3])
        return self.ops.interpolate(
            x, scales, "nearest", "scales", axes=axes, coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )
