"""The names and shapes of a network's tensors, known without torch: reading a model to run elsewhere needs no more."""

from collections.abc import Iterator

from flowseg.model_config import Architecture

Shape = tuple[int, ...]
Named = Iterator[tuple[str, Shape]]


def shapes(architecture: Architecture) -> dict[str, Shape]:
    """Return the shape of each entry of the state dict of `flowseg.network.Network`, in its order."""
    return dict(_network(architecture))


def is_counter(name: str) -> bool:
    """Tell the whole numbers, which count batches, from the weights."""
    return name.endswith("num_batches_tracked")


def _network(shape: Architecture) -> Named:
    widths, kernel = shape.widths, shape.kernel
    yield "diam_mean", (1,)
    yield "diam_labels", (1,)
    kind = "res" if shape.residual else "conv"
    for level, (ins, width) in enumerate(zip((shape.channels, *widths[:-1]), widths, strict=True)):
        name = f"downsample.down.{kind}_down_{level}"
        for turn in range(4 if shape.residual else 2):
            yield from _convolution(f"{name}.conv.conv_{turn}", ins if turn == 0 else width, width, kernel)
        if shape.residual:
            yield from _projection(f"{name}.proj", ins, width)
    for level, (ins, width) in enumerate(zip((*widths[1:], widths[-1]), widths, strict=True)):
        yield from _up(f"upsample.up.{kind}_up_{level}", ins, width, shape)
    yield from _convolution("output", widths[0], shape.outputs, 1)


def _up(name: str, ins: int, width: int, shape: Architecture) -> Named:
    joined = 2 * width if shape.concatenation else width
    yield from _convolution(f"{name}.conv.conv_0", ins, width, shape.kernel)
    for turn in range(1, 4 if shape.residual else 2):
        given = joined if turn == 1 else width
        yield from _convolution(f"{name}.conv.conv_{turn}.conv", given, width, shape.kernel)
        yield f"{name}.conv.conv_{turn}.full.weight", (given, shape.widths[-1])
        yield f"{name}.conv.conv_{turn}.full.bias", (given,)
    if shape.residual:
        yield from _projection(f"{name}.proj", ins, width)


def _convolution(name: str, ins: int, outs: int, kernel: int) -> Named:
    yield from _normalisation(f"{name}.0", ins)
    yield f"{name}.2.weight", (outs, ins, kernel, kernel)
    yield f"{name}.2.bias", (outs,)


def _projection(name: str, ins: int, outs: int) -> Named:
    yield from _normalisation(f"{name}.0", ins)
    yield f"{name}.1.weight", (outs, ins, 1, 1)
    yield f"{name}.1.bias", (outs,)


def _normalisation(name: str, channels: int) -> Named:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)
    yield f"{name}.num_batches_tracked", ()
