"""The network written a second time, slowly, in numpy: weights by name in, maps out. An oracle for tiny networks."""

import numpy as np
import numpy.typing as npt

from flowseg.model_config import Architecture

Array = npt.NDArray[np.float64]


class Reference:
    def __init__(self, architecture: Architecture, weights: dict[str, Array]) -> None:
        self.shape = architecture
        self.weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        self.used: set[str] = set()

    def take(self, name: str) -> Array:
        self.used.add(name)
        return self.weights[name]

    def normalised(self, x: Array, name: str) -> Array:
        scale = self.take(f"{name}.weight") / np.sqrt(self.take(f"{name}.running_var") + 1e-5)
        offset = self.take(f"{name}.bias") - self.take(f"{name}.running_mean") * scale
        return x * scale[:, None, None] + offset[:, None, None]

    def convolved(self, x: Array, name: str) -> Array:
        kernel, bias = self.take(f"{name}.weight"), self.take(f"{name}.bias")
        pad = kernel.shape[-1] // 2
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        height, width = x.shape[1:]
        total = np.zeros((kernel.shape[0], height, width)) + bias[:, None, None]
        for dy in range(kernel.shape[-1]):
            for dx in range(kernel.shape[-1]):
                window = padded[:, dy : dy + height, dx : dx + width]
                total += np.einsum("oi,ihw->ohw", kernel[:, :, dy, dx], window)
        return total

    def unit(self, x: Array, name: str) -> Array:
        return self.convolved(np.maximum(self.normalised(x, f"{name}.0"), 0), f"{name}.2")

    def styled(self, x: Array, style: Array, name: str) -> Array:
        shift = self.take(f"{name}.full.weight") @ style + self.take(f"{name}.full.bias")
        return self.unit(x + shift[:, None, None], f"{name}.conv")

    def around(self, x: Array, name: str) -> Array:
        return self.convolved(self.normalised(x, f"{name}.proj.0"), f"{name}.proj.1")

    def down(self, x: Array, level: int) -> Array:
        if not self.shape.residual:
            name = f"downsample.down.conv_down_{level}.conv"
            return self.unit(self.unit(x, f"{name}.conv_0"), f"{name}.conv_1")
        name = f"downsample.down.res_down_{level}"
        half = self.around(x, name) + self.unit(self.unit(x, f"{name}.conv.conv_0"), f"{name}.conv.conv_1")
        return half + self.unit(self.unit(half, f"{name}.conv.conv_2"), f"{name}.conv.conv_3")

    def up(self, x: Array, skip: Array, style: Array, level: int) -> Array:
        name = f"upsample.up.{'res' if self.shape.residual else 'conv'}_up_{level}"
        first = self.unit(x, f"{name}.conv.conv_0")
        joined = np.concatenate([skip, first]) if self.shape.concatenation else first + skip
        inner = self.styled(joined, style, f"{name}.conv.conv_1")
        if not self.shape.residual:
            return inner
        half = self.around(x, name) + inner
        inner = self.styled(half, style, f"{name}.conv.conv_2")
        return half + self.styled(inner, style, f"{name}.conv.conv_3")

    def run(self, image: Array, style: Array | None = None) -> tuple[Array, Array]:
        """(C, H, W) -> (outputs, H, W) and the measured style."""
        features = [self.down(np.asarray(image, np.float64), 0)]
        for level in range(1, len(self.shape.widths)):
            channels, height, width = features[-1].shape
            blocks = features[-1].reshape(channels, height // 2, 2, width // 2, 2)
            features.append(self.down(blocks.max(axis=(2, 4)), level))
        mean = features[-1].mean(axis=(1, 2))
        measured = mean / np.linalg.norm(mean)
        used = (measured if style is None else style) * self.shape.style
        x = features[-1]
        for level in reversed(range(len(features))):
            x = self.up(x, features[level], used, level)
            if level:
                x = x.repeat(2, axis=1).repeat(2, axis=2)
        return self.unit(x, "output"), measured
