"""The residual style U-Net of Cellpose 1 to 3, read from top to bottom.

An image goes down four levels; the mean of the deepest features is the image's *style*, a unit vector; the features
come back up, each level meeting those of its own size from the way down, and the style shifting every channel.
Parameter names are those of Cellpose's state dicts, so a checkpoint of Cellpose loads with every tensor used.

Shapes below are for an image batch (N, C, H, W) and the usual widths (32, 64, 128, 256); s is the level's scale 2^n.
"""

import math
from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowseg.errors import InputError
from flowseg.model_config import Architecture, ModelConfig

_DIAMETER = ModelConfig().diameter_mean  # pixels
# Channels: what fast kernels of GPUs come in. All layers of the published networks but the first and the last do too.
_ROUND = 8


class NetworkOutput(NamedTuple):
    """What the network gives for a batch of images.

    Attributes
    ----------
    output
        (N, 3, H, W): flow along y and along x, `FLOW_SCALE` times a unit vector, and the logit of cell probability.
    style
        (N, 256): style of each image, a unit vector; measured on these images, whatever style the decoder was given.
    """

    output: Tensor
    style: Tensor


class EnlargingConvolution(nn.Conv2d):
    """Convolve what it is given made twice as large: (N, channels, h, w) -> (N, width, 2h, 2w).

    The large one is never made. Four equal pixels meet sums of the kernel's weights: a kernel of one more a side,
    two pixels a step, does the same with 4 products in place of 9.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve what x would be."""
        kernel = self.weight.transpose(0, 1).flip((2, 3))
        four = [functional.pad(kernel, (left, 1 - left, top, 1 - top)) for top in (0, 1) for left in (0, 1)]
        padding = self.kernel_size[0] // 2  # of the large one, as of the small
        return functional.conv_transpose2d(x, torch.stack(four).sum(0), self.bias, stride=2, padding=padding)


class NarrowConvolution(nn.Conv2d):
    """Convolve from or to few channels; on a GPU, a network learns beside channels of zeros."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, channels, H, W)."""
        return self.widened(x) if self.training and x.is_cuda else super().forward(x)

    def widened(self, x: Tensor) -> Tensor:
        """Convolve as `forward`, with numbers of channels that GPUs are fast in."""
        ins, outs = -self.in_channels % _ROUND, -self.out_channels % _ROUND
        bias = None if self.bias is None else functional.pad(self.bias, (0, outs))
        kernel = functional.pad(self.weight, (0, 0, 0, 0, 0, ins, 0, outs))
        wide = functional.conv2d(functional.pad(x, (0, 0, 0, 0, 0, ins)), kernel, bias, padding=self.padding)
        return wide[:, : self.out_channels]


def twice_as_large(x: Tensor) -> Tensor:
    """Repeat every pixel: (N, channels, h, w) -> (N, channels, 2h, 2w), of the same type."""
    if x.requires_grad and torch.compiler.is_compiling():
        # Its gradient is a sum of four; that of `interpolate`, compiled, adds to memory pixel by pixel.
        channels_last = x.permute(0, 2, 3, 1)
        count, height, width, channels = channels_last.shape
        large = channels_last[:, :, None, :, None].expand(count, height, 2, width, 2, channels)
        return large.reshape(count, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
    with torch.autocast(x.device.type, enabled=False):  # which makes this float32 on a GPU, and all that follows
        return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Normalisation(nn.BatchNorm2d):
    """Cellpose's batch normalisation, which does not count its batches: nothing reads that, and it is a kernel each."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-5, momentum=0.05)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        if x.device.type == "cpu" and 1 < self.num_features < _ROUND and _is_channels_last(x):
            # A processor's threads would count neighbouring numbers, and wait for one another: ten times slower.
            return self._normalised(x.contiguous()).contiguous(memory_format=torch.channels_last)
        return self._normalised(x)

    def _normalised(self, x: Tensor) -> Tensor:
        kept = self.running_mean, self.running_var, self.weight, self.bias
        return functional.batch_norm(x, *kept, self.training, self.momentum or 0.0, self.eps)


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def convolution(channels: int, width: int, kernel: int, enlarge: bool = False) -> nn.Sequential:
    """Normalise, cut at zero, convolve: (N, channels, h, w) -> (N, width, h, w), or twice as large."""
    kind = EnlargingConvolution if enlarge else _kind(channels, width)
    return nn.Sequential(
        Normalisation(channels),
        nn.ReLU(inplace=True),
        kind(channels, width, kernel, padding=kernel // 2),
    )


def _kind(channels: int, width: int) -> type[nn.Conv2d]:
    return NarrowConvolution if channels % _ROUND or width % _ROUND else nn.Conv2d


def projection(channels: int, width: int) -> nn.Sequential:
    """Change the number of channels on the way around a block: (N, channels, h, w) -> (N, width, h, w)."""
    return nn.Sequential(Normalisation(channels), _kind(channels, width)(channels, width, 1))


def named(prefix: str, modules: list[nn.Module]) -> nn.Sequential:
    """Hold modules under the names prefix_0, prefix_1, ..., as Cellpose's state dicts have them."""
    return nn.Sequential(OrderedDict((f"{prefix}_{number}", module) for number, module in enumerate(modules)))


class Down(nn.Module):
    """One level of the way down: (N, channels, H/s, W/s) -> (N, width, H/s, W/s)."""

    def __init__(self, channels: int, width: int, kernel: int, residual: bool) -> None:
        super().__init__()
        count = 4 if residual else 2
        inputs = [channels] + [width] * (count - 1)
        self.conv = named("conv", [convolution(ins, width, kernel) for ins in inputs])
        self.proj = projection(channels, width) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        """Run the block; shapes as above."""
        inner = self.conv[1](self.conv[0](x))
        if self.proj is None:
            return inner  # type: ignore[no-any-return]
        x = self.proj(x) + inner
        return x + self.conv[3](self.conv[2](x))  # type: ignore[no-any-return]


class StyledConvolution(nn.Module):
    """A convolution whose input channels are first shifted by what the style says."""

    def __init__(self, channels: int, width: int, style: int, kernel: int) -> None:
        super().__init__()
        self.conv = convolution(channels, width, kernel)
        self.full = nn.Linear(style, channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Shift and convolve; style is (N or 1, 256)."""
        shift = self.full(style)  # (N or 1, channels)
        by_row = self.training and x.device.type == "cpu" and _is_channels_last(x)
        x = _shifted_by_row(x, shift) if by_row else x + shift[:, :, None, None]
        return self.conv(x)  # type: ignore[no-any-return]


def _shifted_by_row(x: Tensor, shift: Tensor) -> Tensor:
    """Add to images as to rows of pixels: the gradient of the shift is a sum of rows then, which threads share well."""
    count, channels, height, width = x.shape
    rows = shift[:, None].expand(count, height, channels).reshape(count * height, 1, channels)
    moved = x.permute(0, 2, 3, 1).reshape(count * height, width, channels) + rows
    return moved.reshape(count, height, width, channels).permute(0, 3, 1, 2)


class Up(nn.Module):
    """One level of the way up, to the size of its skip (N, width, H/s, W/s).

    The deepest level keeps the size of what it is given, (N, channels, H/s, W/s); the others make it twice as large:
    (N, channels, H/2s, W/2s). Normalising and the projection see the same numbers before as after, so they come first.
    """

    def __init__(self, channels: int, width: int, shape: Architecture, enlarge: bool) -> None:
        super().__init__()
        self.enlarge = enlarge
        style, kernel = shape.widths[-1], shape.kernel
        self.concatenation = shape.concatenation
        joined = 2 * width if shape.concatenation else width
        blocks: list[nn.Module] = [convolution(channels, width, kernel, enlarge)]
        blocks.append(StyledConvolution(joined, width, style, kernel))
        if shape.residual:
            blocks += [StyledConvolution(width, width, style, kernel) for _ in range(2)]
        self.conv = named("conv", blocks)
        self.proj = projection(channels, width) if shape.residual else None

    def forward(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        """Join, shift and convolve; style is (N or 1, 256)."""
        inner = self.conv[0](x)
        inner = torch.cat((skip, inner), dim=1) if self.concatenation else inner + skip
        inner = self.conv[1](inner, style)
        if self.proj is None:
            return inner  # type: ignore[no-any-return]
        around = self.proj(x)
        x = (twice_as_large(around) if self.enlarge else around) + inner
        return x + self.conv[3](self.conv[2](x, style), style)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """The way down: (N, C, H, W) -> [(N, 32, H, W), (N, 64, H/2, W/2), (N, 128, H/4, W/4), (N, 256, H/8, W/8)]."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        inputs = (shape.channels, *shape.widths[:-1])
        levels: list[nn.Module] = [
            Down(ins, width, shape.kernel, shape.residual) for ins, width in zip(inputs, shape.widths, strict=True)
        ]
        self.down = named("res_down" if shape.residual else "conv_down", levels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of every level, full resolution first."""
        features: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else functional.max_pool2d(x, 2))
            features.append(x)
        return features


class Decoder(nn.Module):
    """The way up: the encoder's features and a style (N or 1, 256) -> (N, 32, H, W)."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        inputs = (*shape.widths[1:], shape.widths[-1])  # the deepest level is fed its own features
        deepest = len(inputs) - 1
        levels: list[nn.Module] = [
            Up(ins, width, shape, enlarge=level < deepest)
            for level, (ins, width) in enumerate(zip(inputs, shape.widths, strict=True))
        ]
        self.up = named("res_up" if shape.residual else "conv_up", levels)

    def forward(self, features: list[Tensor], style: Tensor) -> Tensor:
        """Climb from the deepest features to full resolution."""
        x = self.up[-1](features[-1], features[-1], style)
        for level in range(len(self.up) - 2, -1, -1):
            x = self.up[level](x, features[level], style)
        return x  # type: ignore[no-any-return]


def unit_style(pooled: Tensor) -> Tensor:
    """Scale mean features (N, 256) to unit length: the style vector. All zeros stay zeros."""
    return functional.normalize(pooled, dim=1)


class Network(nn.Module):
    """The residual style U-Net.

    Sides of the image are multiples of ``architecture.stride`` (8 for four levels). Others raise `InputError`;
    Cellpose's network fails there too, so callers pad (Cellpose pads to multiples of 16).

    Parameters
    ----------
    architecture
        Widths, channels and options; the default is that of every model published with Cellpose 1 to 3.

    Examples
    --------
    >>> network = Network(Architecture(widths=(4, 8))).eval()
    >>> with torch.no_grad():
    ...     result = network(torch.zeros(1, 2, 16, 24))
    >>> tuple(result.output.shape), tuple(result.style.shape)
    ((1, 3, 16, 24), (1, 8))
    """

    diam_mean: Tensor
    diam_labels: Tensor

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        self.architecture = shape = architecture or Architecture()
        self.downsample = Encoder(shape)
        self.upsample = Decoder(shape)
        self.output = convolution(shape.widths[0], shape.outputs, 1)
        # Not used by the network: Cellpose keeps these two diameters (pixels) among the weights.
        self.register_buffer("diam_mean", torch.full((1,), _DIAMETER))
        self.register_buffer("diam_labels", torch.full((1,), _DIAMETER))

    def forward(self, images: Tensor, style: Tensor | None = None) -> NetworkOutput:
        """Run the network.

        Parameters
        ----------
        images
            (N, C, H, W) floats, normalised; H and W multiples of ``architecture.stride``.
        style
            (N, 256) or (1, 256): the style that the decoder is given, such as one of the whole image for all of its
            tiles. None: each image's own.
        """
        self._check(images, style)
        features = self.downsample(images)
        measured = unit_style(features[-1].mean(dim=(2, 3)))  # (N, 256)
        used = measured if style is None else style
        if not self.architecture.style:
            used = torch.zeros_like(measured)
        x = self.upsample(features, used)  # (N, 32, H, W)
        return NetworkOutput(self.output(x), measured)  # (N, 3, H, W), (N, 256)

    def pooled(self, images: Tensor) -> Tensor:
        """Return the mean of the deepest features of each image, (N, 256): its style before it is made a unit vector.

        Means of tiles of equal size average to the mean of the whole; `unit_style` of that is the whole image's style.
        """
        self._check(images, None)
        features: list[Tensor] = self.downsample(images)
        return features[-1].mean(dim=(2, 3))

    def _check(self, images: Tensor, style: Tensor | None) -> None:
        if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[attr-defined,no-untyped-call]
            return  # a converter follows operations, not checks
        self._check_images(images)
        if style is not None:
            width = self.architecture.widths[-1]
            if style.ndim != 2 or style.shape[0] not in (1, len(images)) or style.shape[1] != width:
                raise InputError(
                    f"style has shape {tuple(style.shape)}; wanted ({len(images)}, {width}) or (1, {width})"
                )

    def _check_images(self, images: Tensor) -> None:
        channels, stride = self.architecture.channels, self.architecture.stride
        if images.ndim != 4 or images.shape[1] != channels:
            raise InputError(f"images have shape {tuple(images.shape)}; wanted (images, {channels}, height, width)")
        if not images.is_floating_point():
            raise InputError(f"images have type {images.dtype}; wanted floating point, normalised")
        height, width = images.shape[2:]
        if height % stride or width % stride or not height or not width:
            raise InputError(f"images are {height} x {width} pixels; wanted sides that are multiples of {stride}: pad")


def idle_biases(network: Network) -> list[nn.Parameter]:
    """Return biases that the normalisation after them takes away again while a network learns: nothing depends on them.

    Their gradients are 0 but for rounding, and cost a pass over all pixels each.
    """
    blocks = [*network.downsample.down, *network.upsample.up]
    first = [block.conv[0] for block in blocks]
    third = [block.conv[2] for block in blocks if len(block.conv) > 2]
    layers = [getattr(one, "conv", one)[-1] for one in (*first, *third)]
    return [layer.bias for layer in layers]


def drawn(architecture: Architecture, rng: torch.Generator) -> Network:
    """Make a network whose weights come from a generator, as torch draws them from its own, which all threads share.

    Examples
    --------
    >>> one, other = (drawn(Architecture(widths=(4, 8)), torch.Generator().manual_seed(1)) for _ in range(2))
    >>> bool((one.output[2].weight == other.output[2].weight).all())
    True
    """
    with torch.device("meta"):  # shapes alone: nothing is drawn
        network = Network(architecture)
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=rng)
            most = 1 / math.sqrt(module.weight[0].numel())
            nn.init.uniform_(module.bias, -most, most, generator=rng)  # type: ignore[arg-type]
    for diameter in network.buffers(recurse=False):
        diameter.fill_(_DIAMETER)
    return network
