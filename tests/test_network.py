import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from flowseg.errors import InputError
from flowseg.model_config import Architecture
from flowseg.network import (
    EnlargingConvolution,
    NarrowConvolution,
    Network,
    Normalisation,
    StyledConvolution,
    idle_biases,
    twice_as_large,
    unit_style,
)
from tests.networks import TINY, scrambled
from tests.reference_network import Reference

flags = st.booleans()
architectures = st.builds(
    Architecture,
    channels=st.integers(1, 3),
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    outputs=st.integers(1, 4),
    kernel=st.sampled_from([1, 3, 5]),
    residual=flags,
    style=flags,
    concatenation=flags,
)


def images_for(shape: Architecture, rows: int = 2, columns: int = 3, count: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, shape.channels, rows * shape.stride, columns * shape.stride, generator=generator)


@given(architectures, st.integers(1, 4), st.integers(1, 4), st.integers(0, 9))
@settings(max_examples=25)
def test_equals_the_reference_for_every_option(shape: Architecture, rows: int, columns: int, seed: int) -> None:
    network = scrambled(shape, seed).double()
    images = images_for(shape, rows, columns, count=1, seed=seed).double()
    with torch.no_grad():
        result = network(images)
    reference = Reference(shape, {name: tensor.numpy() for name, tensor in network.state_dict().items()})
    output, style = reference.run(images[0].numpy())
    np.testing.assert_allclose(result.output[0].numpy(), output, rtol=1e-7, atol=1e-7 * np.abs(output).max())
    np.testing.assert_allclose(result.style[0].numpy(), style, atol=1e-7)
    unused = set(network.state_dict()) - reference.used
    assert all(name.startswith("diam_") or name.endswith("num_batches_tracked") for name in unused)


def test_the_default_network_has_the_shape_of_cellposes() -> None:
    names = Network().state_dict()
    assert sum(weight.numel() for weight in Network().parameters()) == 6_600_843
    assert len(names) == 313
    assert names["downsample.down.res_down_0.conv.conv_0.2.weight"].shape == (32, 2, 3, 3)
    assert names["upsample.up.res_up_3.conv.conv_1.full.weight"].shape == (256, 256)
    assert names["output.2.weight"].shape == (3, 32, 1, 1)
    assert list(names)[:2] == ["diam_mean", "diam_labels"]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_compiled_network_enlarges_as_another(layout: torch.memory_format) -> None:
    compiled = torch.compile(twice_as_large, backend="aot_eager")
    given = torch.randn(2, 3, 4, 5).to(memory_format=layout)
    ones = [given.clone().requires_grad_() for _ in range(2)]
    made, wanted = compiled(ones[0]), twice_as_large(ones[1])
    towards = torch.randn_like(wanted)
    for large in (made, wanted):
        large.backward(towards)
    assert made.equal(wanted)
    torch.testing.assert_close(ones[0].grad, ones[1].grad)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_enlarging_inside_the_convolution_learns_as_enlarging_before_it(kernel: int) -> None:
    torch.manual_seed(0)
    inside = EnlargingConvolution(3, 4, kernel, padding=kernel // 2).double()
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    large = functional.interpolate(x, scale_factor=2.0, mode="nearest")
    before = functional.conv2d(large, inside.weight, inside.bias, padding=kernel // 2)
    torch.testing.assert_close(inside(x), before)
    ascent, changed = torch.randn_like(before), (x, inside.weight, inside.bias)
    for got, wanted in zip(*(torch.autograd.grad(y, changed, ascent) for y in (inside(x), before)), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(("channels", "width", "kernel"), [(2, 32, 3), (2, 32, 1), (32, 3, 1), (9, 5, 3)])
def test_convolving_beside_zeros_learns_as_convolving(channels: int, width: int, kernel: int) -> None:
    torch.manual_seed(0)
    narrow = NarrowConvolution(channels, width, kernel, padding=kernel // 2).double()
    x = torch.randn(2, channels, 5, 7, dtype=torch.float64, requires_grad=True)
    both = narrow(x), narrow.widened(x)
    torch.testing.assert_close(*both)
    ascent, changed = torch.randn_like(both[0]), (x, narrow.weight, narrow.bias)
    for wanted, got in zip(*(torch.autograd.grad(y, changed, ascent) for y in both), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("training", [True, False])
def test_few_channels_that_come_last_are_normalised_as_any(channels: int, training: bool) -> None:
    torch.manual_seed(0)
    one = Normalisation(channels).train(training)
    nn.init.normal_(one.weight)
    other = copy.deepcopy(one)
    x = torch.randn(3, channels, 5, 7).requires_grad_()
    last = x.contiguous(memory_format=torch.channels_last)
    both = one(last), other(x)
    assert both[0].is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(*both)
    ascent = torch.randn_like(both[0])
    for got, wanted in zip(
        torch.autograd.grad(both[0], (x, one.weight, one.bias), ascent),
        torch.autograd.grad(both[1], (x, other.weight, other.bias), ascent),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(one.state_dict(), other.state_dict())


@pytest.mark.parametrize("styles", [1, 3])
def test_the_gradient_of_a_shift_is_the_same_summed_row_by_row(styles: int) -> None:
    torch.manual_seed(0)
    layer = StyledConvolution(4, 4, 6, 3).double().train()
    x = torch.randn(3, 4, 5, 7, dtype=torch.float64, requires_grad=True)
    last = x.contiguous(memory_format=torch.channels_last)
    style = torch.randn(styles, 6, dtype=torch.float64)
    both = layer(last, style), layer.conv(x + layer.full(style)[:, :, None, None])
    torch.testing.assert_close(*both)
    ascent, changed = torch.randn_like(both[0]), (x, layer.full.weight, layer.full.bias)
    for got, wanted in zip(*(torch.autograd.grad(y, changed, ascent) for y in both), strict=True):
        torch.testing.assert_close(got, wanted)


def test_layers_of_few_channels_are_those_that_a_gpu_widens() -> None:
    kinds = {name: type(module) for name, module in Network().named_modules()}
    narrow = [name for name, kind in kinds.items() if kind is NarrowConvolution]
    first = "downsample.down.res_down_0"
    assert narrow == [f"{first}.conv.conv_0.2", f"{first}.proj.1", "output.2"]


def test_float32_stays_close_to_float64() -> None:
    images = images_for(TINY)
    with torch.no_grad():
        single, double = scrambled()(images).output, scrambled().double()(images.double()).output
    assert (single - double).abs().max() < 1e-5 * double.abs().max()


@pytest.mark.parametrize("count", [1, 2])
def test_a_given_style_replaces_the_images_own(count: int) -> None:
    network, images = scrambled(), images_for(TINY)
    style = unit_style(torch.arange(count * 5.0).reshape(count, 5) + 1)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        result = network(images, style)
        own = network(images)
    for index in range(2):
        output, _ = Reference(TINY, weights).run(images[index].numpy(), style[min(index, count - 1)].numpy())
        np.testing.assert_allclose(result.output[index].numpy(), output, atol=1e-5 * np.abs(output).max())
    assert torch.equal(result.style, own.style)
    assert not torch.allclose(result.output, own.output)


def test_giving_an_image_its_own_style_changes_nothing() -> None:
    network, images = scrambled(), images_for(TINY)
    with torch.no_grad():
        first = network(images)
        second = network(images, first.style)
    assert torch.equal(first.output, second.output)


def test_pooled_features_make_the_style() -> None:
    network, images = scrambled(), images_for(TINY)
    with torch.no_grad():
        assert torch.allclose(unit_style(network.pooled(images)), network(images).style, atol=1e-6)
    assert torch.equal(unit_style(torch.zeros(1, 4)), torch.zeros(1, 4))


def test_style_off_ignores_a_given_style() -> None:
    shape = Architecture(widths=(3, 4), style=False)
    network, images = scrambled(shape), images_for(shape)
    with torch.no_grad():
        assert torch.equal(network(images).output, network(images, torch.ones(1, 4)).output)


def test_images_of_a_batch_do_not_meet() -> None:
    network, images = scrambled(), images_for(TINY, count=3)
    with torch.no_grad():
        together = network(images).output
        apart = torch.cat([network(image[None]).output for image in images])
    assert (together - apart).abs().max() < 1e-5 * together.abs().max()


def test_channels_last_gives_the_same() -> None:
    network, images = scrambled(), images_for(TINY)
    with torch.no_grad():
        usual = network(images).output
        turned = network.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last)).output
    assert turned.is_contiguous(memory_format=torch.channels_last)
    assert (usual - turned).abs().max() < 1e-5 * usual.abs().max()


@pytest.mark.filterwarnings("ignore:.*jit.trace.* is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*jit.trace.* is not supported:DeprecationWarning")
def test_a_traced_network_takes_other_sizes_and_batches() -> None:
    network, images = scrambled(), images_for(TINY)
    with torch.no_grad():
        traced = torch.jit.trace(network, images)  # warnings, and so control flow on data, are errors here
        other = images_for(TINY, rows=5, columns=2, count=3)
        output, style = traced(other)
        wanted = network(other)
    assert torch.allclose(output, wanted.output, atol=1e-5)
    assert torch.allclose(style, wanted.style, atol=1e-5)


def test_an_exported_network_gives_the_same() -> None:
    network, images = scrambled(), images_for(TINY)
    with torch.no_grad():
        program = torch.export.export(network, (images, torch.ones(1, 5)))
        assert torch.allclose(
            program.module()(images, torch.ones(1, 5)).output, network(images, torch.ones(1, 5)).output
        )


def test_gradients_reach_every_weight() -> None:
    network = scrambled().train()
    network(images_for(TINY)).output.square().mean().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


def test_running_leaves_images_and_weights_alone() -> None:
    network, images = scrambled(), images_for(TINY)
    before, weights = images.clone(), {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        network(images)
    assert torch.equal(images, before)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("height", "width"), [(8, 7), (9, 8), (6, 4), (1, 1), (0, 8)])
def test_sizes_that_do_not_halve_evenly_are_refused(height: int, width: int) -> None:
    with pytest.raises(InputError, match=rf"{height} x {width} pixels; wanted sides that are multiples of 4"):
        scrambled()(torch.zeros(1, 2, height, width))


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (torch.zeros(2, 8, 8), r"\(2, 8, 8\); wanted \(images, 2, height, width\)"),
        (torch.zeros(1, 3, 8, 8), r"\(1, 3, 8, 8\); wanted \(images, 2"),
        (torch.zeros(1, 2, 8, 8, dtype=torch.uint8), "uint8; wanted floating point"),
    ],
)
def test_other_images_are_refused(images: torch.Tensor, text: str) -> None:
    with pytest.raises(InputError, match=text):
        scrambled()(images)


@pytest.mark.parametrize("shape", [(5,), (2, 4), (3, 5)])
def test_other_styles_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"style has shape .* wanted \(2, 5\) or \(1, 5\)"):
        scrambled()(torch.zeros(2, 2, 8, 8), torch.zeros(shape))


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(64, 64), (8, 8), (24, 40), (120, 72), (224, 224)])
def test_equals_cellpose(seed: int, size: tuple[int, int]) -> None:
    resnet = pytest.importorskip("cellpose.resnet_torch")
    network = scrambled(Architecture(), seed)
    peer = resnet.CPnet([2, 32, 64, 128, 256], 3, 3).eval()
    peer.load_state_dict(network.state_dict(), strict=True)
    images = torch.randn(2, 2, *size, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        output, style, _ = peer(images)
        result = network(images)
    scale = max(1.0, float(output.abs().max()))
    assert (result.output - output).abs().max() <= 1e-4 * scale
    assert (result.style - style).abs().max() <= 1e-4


@pytest.mark.peer
def test_names_and_shapes_are_those_of_cellpose() -> None:
    resnet = pytest.importorskip("cellpose.resnet_torch")
    ours = Network().state_dict()
    peer = resnet.CPnet([2, 32, 64, 128, 256], 3, 3).state_dict()
    assert list(ours) == list(peer)
    assert all(ours[name].shape == peer[name].shape for name in peer)


@pytest.mark.peer
@pytest.mark.parametrize("size", [(12, 16), (7, 8), (1, 1), (4, 4), (9, 9)])
def test_sizes_that_we_refuse_fail_in_cellpose_too(size: tuple[int, int]) -> None:
    resnet = pytest.importorskip("cellpose.resnet_torch")
    with pytest.raises(RuntimeError):
        resnet.CPnet([2, 4, 4, 4, 4], 3, 3).eval()(torch.zeros(1, 2, *size))
    with pytest.raises(InputError):
        Network(Architecture(widths=(4, 4, 4, 4)))(torch.zeros(1, 2, *size))


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("concatenation", [True, False])
def test_nothing_depends_on_idle_biases_in_training(residual: bool, concatenation: bool) -> None:
    shape = Architecture(channels=1, widths=(4, 6, 8), residual=residual, concatenation=concatenation)
    network = scrambled(shape).double().train()
    images = torch.rand(3, 1, 24, 16, dtype=torch.float64)
    before = network(images).output
    before.square().sum().backward()
    idle = idle_biases(network)
    for bias in idle:
        assert bias.grad.abs().max() < 1e-10
        bias.data.normal_(0, 3)
    torch.testing.assert_close(network(images).output, before)
    assert len(idle) == (2 if residual else 1) * 2 * 3
