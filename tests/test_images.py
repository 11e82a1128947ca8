from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from flowseg import arrays, images
from flowseg.errors import InputError, OptionError
from flowseg.sources import image_files


def numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape)


def test_grey_and_colour_are_clear() -> None:
    assert images.from_array(numbered(5, 6)).pixels.shape == (1, 5, 6)
    colour = images.from_array(numbered(5, 6, 3))
    assert colour.color
    np.testing.assert_array_equal(colour.pixels[1], numbered(5, 6, 3)[..., 1])
    transparent = images.from_array(numbered(5, 6, 4))
    assert transparent.color
    np.testing.assert_array_equal(transparent.pixels, numbered(5, 6, 4)[..., :3].transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 4)])
def test_small_images_keep_their_shape(shape: tuple[int, int]) -> None:
    assert images.from_array(numbered(*shape)).shape == shape


@pytest.mark.parametrize("shape", [(1, 5, 6), (5, 6, 1), (1, 1, 5, 6), (1, 1, 1, 5, 6)])
def test_axes_of_one_are_dropped(shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(images.from_array(numbered(*shape)).pixels[0], numbered(5, 6))


@pytest.mark.parametrize(
    "shape",
    [(3, 5, 6), (5, 6, 2), (5, 6, 5), (2, 3, 5, 6), (1, 5, 3), (3, 5, 3), (2, 2, 2, 5, 6), (3, 1, 5, 6), (2, 1, 1, 5)],
)
def test_what_is_not_clear_is_asked_for(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"has shape \(.*which could be .*--axes") as caught:
        images.from_array(numbered(*shape))
    # The first answer that the message offers is one that works, but for the choice of a plane.
    offered = str(caught.value).rpartition("--axes ")[2].rstrip(")")
    plane = {letter: 0 for letter in offered if letter in "TZ"}
    assert images.from_array(numbered(*shape), offered, plane=plane).pixels.ndim == 3


@given(st.permutations("ZCYX"), st.integers(0, 2))
def test_any_order_of_axes(order: list[str], z: int) -> None:
    array = numbered(3, 4, 5, 6)
    shuffled = array.transpose(["ZCYX".index(letter) for letter in order])
    image = images.from_array(shuffled, "".join(order), plane={"Z": z})
    np.testing.assert_array_equal(image.pixels, array[z])


def test_axes_of_length_one_may_be_left_out() -> None:
    image = images.from_array(numbered(1, 3, 1, 5, 6), "cyx")
    np.testing.assert_array_equal(image.pixels, numbered(3, 5, 6))


@pytest.mark.parametrize("axes", [("C", "Y", "X"), 5, "CX", "CCYX", "QYX", "", "C Y X", "3"])
def test_axes_that_cannot_be(axes: str) -> None:
    with pytest.raises((OptionError, InputError), match="axes"):
        images.from_array(numbered(3, 5, 6), axes)


def test_axes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="do not fit"):
        images.from_array(numbered(3, 5, 6), "ZCYX")
    with pytest.raises(InputError, match="colour samples"):
        images.from_array(numbered(5, 6, 7), "YXS")


def test_several_planes_are_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match=r"9 slices .*--plane Z=4.*--axes CYX"):
        images.from_array(numbered(9, 5, 6), "ZYX")
    with pytest.raises(InputError, match="4 times"):
        images.from_array(numbered(4, 2, 5, 6), "TCYX")
    taken = images.from_array(numbered(4, 2, 5, 6), "TCYX", plane="t=3")
    np.testing.assert_array_equal(taken.pixels, numbered(4, 2, 5, 6)[3])


def test_a_plane_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"9 slices; plane Z=9 is not one of 0\.\.8"):
        images.from_array(numbered(9, 5, 6), "ZYX", plane="Z=9")
    with pytest.raises(InputError, match="1 slice;"):
        images.from_array(numbered(5, 6), plane="Z=1")
    assert images.from_array(numbered(5, 6), plane="Z=0").shape == (5, 6)
    with pytest.raises(InputError, match=r"could be CYX \(9 channels\) or ZYX"):
        images.plane_index("QYX", (9, 5, 6), "Z=3")


@pytest.mark.parametrize("text", ["", "Z", "Z=", "Z=-1", "Y=1", "Z=1,Z=2", "Z=1;T=0"])
def test_planes_that_cannot_be(text: str) -> None:
    with pytest.raises(OptionError, match="plane"):
        images.parse_plane(text)


@pytest.mark.parametrize("plane", [3, ["Z=1"], {"Z": "a"}, {"Z": None}, {"Z": 1.5}, {"Z": True}, {0: 1}, {"Q": 1}])
def test_what_is_no_plane_is_no_damage(tmp_path: Path, plane: object) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbered(4, 20, 30), metadata={"axes": "ZYX"}, photometric="minisblack")
    with pytest.raises(OptionError, match="plane"):
        images.from_array(numbered(4, 5, 6), "ZYX", plane=plane)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="plane"):
        image_files.read(tmp_path / "a.tif", plane=plane)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(2, 1, 5, 6), (1, 2, 5, 6), (1, 2, 1, 1, 5, 6)])
def test_axes_of_one_are_not_asked_about(shape: tuple[int, ...]) -> None:
    message = r"could be CYX \(2 channels\) or ZYX \(2 slices\) or TYX \(2 times\); say which"
    with pytest.raises(InputError, match=message):
        images.from_array(numbered(*shape))
    assert images.from_array(numbered(*shape), "CYX").pixels.shape == (2, 5, 6)


def test_channels_of_colour_images() -> None:
    with pytest.raises(InputError, match="2 channels of colour"):
        images.from_array(numbered(2, 5, 6, 3), "CYXS")
    taken = images.from_array(numbered(2, 5, 6, 3), "CYXS", plane={"C": 1})
    np.testing.assert_array_equal(taken.pixels, numbered(2, 5, 6, 3)[1].transpose(2, 0, 1))
    assert taken.color


def test_names_go_with_as_many_channels() -> None:
    assert images.from_array(numbered(2, 5, 6), "CYX", channel_names=["a", "b"]).channel_names == ("a", "b")
    assert images.from_array(numbered(2, 5, 6), "CYX", channel_names=["a"]).channel_names == ()


@pytest.mark.parametrize(
    "bad", [np.zeros((5, 6), complex), np.array([["a"]]), np.zeros((0, 6)), np.zeros(5), 3.0, None]
)
def test_what_is_no_image(bad: object) -> None:
    with pytest.raises(InputError, match="the image has"):
        images.from_array(bad)


def test_byte_order_becomes_native() -> None:
    image = images.from_array(numbered(5, 6).astype(">i4"))
    assert image.pixels.dtype.isnative
    np.testing.assert_array_equal(image.pixels[0], numbered(5, 6))


def slow_resize(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation at pixel centres, one output pixel at a time, in float64."""
    out = np.zeros(shape)
    for y in range(shape[0]):
        for x in range(shape[1]):
            v = min(max((y + 0.5) * plane.shape[0] / shape[0] - 0.5, 0), plane.shape[0] - 1)
            u = min(max((x + 0.5) * plane.shape[1] / shape[1] - 0.5, 0), plane.shape[1] - 1)
            top, left = int(v), int(u)
            corners = plane[top : top + 2, left : left + 2].astype(float)
            weights = np.outer([1 - (v - top), v - top], [1 - (u - left), u - left])
            out[y, x] = (corners * weights[: corners.shape[0], : corners.shape[1]]).sum()
    return out


sides = st.integers(1, 9)


@given(st.tuples(sides, sides), st.tuples(sides, sides), st.integers(0, 99))
def test_resize_is_bilinear(shape: tuple[int, int], wanted: tuple[int, int], seed: int) -> None:
    planes = np.random.default_rng(seed).normal(0, 3, (2, *shape)).astype(np.float32)
    result = images.resize(planes, wanted)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [slow_resize(plane, wanted) for plane in planes], atol=1e-5)


def test_resize_is_the_same_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = np.random.default_rng(0).normal(0, 1, (300, 400)).astype(np.float32)
    monkeypatch.setenv("FLOWSEG_THREADS", "1")
    alone = images.resize(plane, (900, 801))
    monkeypatch.setenv("FLOWSEG_THREADS", "3")
    np.testing.assert_array_equal(images.resize(plane, (900, 801)), alone)


def test_resizing_to_the_same_size_changes_nothing() -> None:
    plane = np.random.default_rng(1).random((7, 9)).astype(np.float32)
    np.testing.assert_array_equal(images.resize(plane, (7, 9)), plane)


def test_resize_takes_any_layout_and_keeps_it() -> None:
    plane = np.random.default_rng(2).random((6, 8))
    view = np.repeat(plane, 2, axis=1)[::-1, ::2]
    view.setflags(write=False)
    np.testing.assert_array_equal(images.resize(view, (3, 5)), images.resize(np.ascontiguousarray(view), (3, 5)))


@pytest.mark.parametrize("wanted", [(0, 5), (5,), (-1, 4)])
def test_sizes_that_cannot_be(wanted: tuple[int, ...]) -> None:
    with pytest.raises(OptionError):
        images.resize(np.zeros((3, 3)), wanted)


def test_resize_refuses_what_is_no_plane() -> None:
    with pytest.raises(InputError):
        images.resize(np.zeros(3), (2, 2))
    with pytest.raises(InputError):
        images.resize(np.zeros((0, 3)), (2, 2))


def test_tensors_are_arrays() -> None:
    import torch

    wanted = np.arange(30, dtype=np.float32).reshape(5, 6)
    tensor = torch.from_numpy(wanted.copy())
    for kind in (tensor, tensor.clone().requires_grad_(), tensor.bfloat16(), wanted.tolist()):
        np.testing.assert_array_equal(images.from_array(kind).pixels[0], wanted)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("cells.tif", r"is 'cells.tif', a name; wanted an array: flowseg.read_image\(path\) opens an image"),
        (Path("cells.tif"), "is 'cells.tif', a name; wanted an array"),
        ([[1, 2], [3]], "is a list that makes no array"),
        (None, "has type object"),
        (np.array([[1, "a"]], object), "has type object"),
    ],
)
def test_what_is_no_array_is_said_plainly(given: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        images.from_array(given)


@pytest.mark.parametrize("mode", ["P", "PA", "LA", "CMYK", "YCbCr", "LAB", "HSV"])
def test_pictures_whose_numbers_are_not_what_they_look_like_are_refused(mode: str) -> None:
    """An array of a palette looks grey, one of four inks like red, green, blue and transparency."""
    with pytest.raises(InputError, match=rf"is a picture of mode {mode}; wanted grey or RGB: picture.convert"):
        images.from_array(PIL.Image.new(mode, (9, 8)))


def test_pictures_of_pillow_are_arrays() -> None:
    grey = PIL.Image.fromarray(np.arange(72, dtype=np.uint8).reshape(8, 9))
    np.testing.assert_array_equal(images.from_array(grey).pixels[0], np.asarray(grey))
    assert images.from_array(grey.convert("RGB")).color


def test_masked_arrays_are_refused_for_what_is_masked_would_count() -> None:
    pixels = np.ma.masked_greater(np.arange(12.0).reshape(3, 4), 5)
    with pytest.raises(InputError, match="the image is a masked array"):
        images.from_array(pixels)
    with pytest.raises(InputError, match="labels is a masked array"):
        arrays.as_labels(pixels)
    assert images.from_array(pixels.filled(0)).pixels.max() == 5
    assert images.from_array(np.ma.array(np.ones((3, 4)))).pixels.all()  # of which nothing is masked


def test_an_image_is_told_in_a_line() -> None:
    image = images.from_array(np.zeros((6, 5, 3), np.uint8), path=Path("a.png"))
    assert repr(image) == "Image(3 channels, 6 x 5 pixels, uint8, a.png)"
