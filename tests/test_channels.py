import io

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage

from flowseg import channels, images
from flowseg.channels import ChannelChoice
from flowseg.errors import InputError, OptionError
from tests.shapes import solid_cells

RNG = np.random.default_rng(0)
GREY = images.from_array(RNG.integers(0, 255, (5, 6), np.uint8))
RGB = images.from_array(RNG.integers(0, 255, (5, 6, 3), np.uint8))
PAIR = images.from_array(RNG.integers(0, 9999, (2, 5, 6), np.uint16), "CYX", channel_names=["DAPI", "GFP"])
FOUR = images.from_array(RNG.random((4, 5, 6)), "CYX")
WAVES = images.from_array(RNG.random((3, 5, 6)), "CYX", channel_names=["405", "488", "1"])


def test_grey_is_taken_with_nothing_beside() -> None:
    chosen = channels.parse(None).take(GREY)
    np.testing.assert_array_equal(chosen.planes, [GREY.pixels[0], np.zeros((5, 6))])
    assert chosen.planes.dtype == np.uint8
    assert chosen.text == "cytoplasm <- grey, nucleus <- nothing"


def test_colour_is_averaged() -> None:
    chosen = channels.parse(None).take(RGB)
    np.testing.assert_allclose(chosen.planes[0], RGB.pixels.astype(float).mean(axis=0), rtol=1e-6)
    assert not chosen.planes[1].any()
    assert (chosen.first, chosen.second) == (None, None)
    assert chosen.text == "cytoplasm <- mean of red, green and blue, nucleus <- nothing"


@pytest.mark.parametrize("image", [PAIR, FOUR, WAVES])
def test_several_channels_are_asked_about(image: images.Image) -> None:
    with pytest.raises(InputError, match="choose the one to segment"):
        channels.parse(None).take(image)


@pytest.mark.parametrize(
    ("given", "image", "first", "second"),
    [
        ("1,0", PAIR, 1, 0),
        ((1, 0), PAIR, 1, 0),
        ([np.int64(1)], PAIR, 1, None),
        (1, PAIR, 1, None),
        ("gfp, dapi", PAIR, 1, 0),
        (("GFP", None), PAIR, 1, None),
        ("GFP,none", PAIR, 1, None),
        ("grey", FOUR, None, None),
        ("grey,3", FOUR, None, 3),
        ("grey", GREY, 0, None),
        ("0", GREY, 0, None),
        ("green,b", RGB, 1, 2),
        ("488,405", WAVES, 1, 0),
        ((2, 1), WAVES, 2, 1),
        ("0", WAVES, 0, None),
    ],
)
def test_choices(given: object, image: images.Image, first: int | None, second: int | None) -> None:
    chosen = channels.parse(given).take(image)
    assert (chosen.first, chosen.second) == (first, second)
    top = image.pixels.mean(axis=0) if first is None else image.pixels[first]
    np.testing.assert_allclose(chosen.planes[0], top, rtol=1e-6)
    np.testing.assert_array_equal(chosen.planes[1], 0 if second is None else image.pixels[second])


def test_the_choice_is_said_back() -> None:
    text = channels.parse("gfp,dapi").take(PAIR).text
    assert text == "cytoplasm <- channel 1 'GFP', nucleus <- channel 0 'DAPI'"
    assert channels.parse("2").take(FOUR, ("nuclei", "unused")).text == "nuclei <- channel 2, unused <- nothing"
    assert channels.parse("2").take(FOUR, ("nuclei", "none")).text == "nuclei <- channel 2"
    assert channels.parse("2,1").take(FOUR, ("nuclei", "none")).text == "nuclei <- channel 2, none <- channel 1"
    assert channels.parse("g").take(RGB).text == "cytoplasm <- channel 1 'green', nucleus <- nothing"


@pytest.mark.parametrize(
    ("given", "image", "message"),
    [
        ("2", PAIR, "no channel 2"),
        ("0,5", PAIR, "no channel 5"),
        ("RFP", PAIR, "no channel 'RFP'; it has 0 'DAPI', 1 'GFP'"),
        ("1", WAVES, "name of channel 2 and the number of another"),
        ("red", FOUR, "no channel 'red'; it has 0, 1, 2, 3, without names"),
        ("1", GREY, "channels count from 0 and its only one, 0, is taken without a choice"),
    ],
)
def test_channels_that_are_not_there(given: str, image: images.Image, message: str) -> None:
    with pytest.raises(InputError, match=message):
        channels.parse(given).take(image)


@pytest.mark.parametrize(("names", "count"), [(channels.COLORS, 3), ((), 1)])
def test_a_second_channel_that_a_network_does_not_take_has_to_be_there_and_is_told(
    names: tuple[str, ...], count: int
) -> None:
    with pytest.raises(InputError, match="no channel 2"):
        channels.for_network(PAIR, channels.parse("1,2"), names, count)
    chosen = channels.for_network(PAIR, channels.parse("1,0"), names, count)
    assert chosen.text == "channel 1 'GFP'; the model has no use for channel 0 'DAPI'"
    np.testing.assert_array_equal(chosen.planes, [PAIR.pixels[1]] * count)
    assert chosen.second is None


def test_a_name_twice_is_asked_about() -> None:
    twice = images.from_array(np.zeros((2, 5, 6)), "CYX", channel_names=["a", "A"])
    with pytest.raises(InputError, match="2 times"):
        channels.parse("a").take(twice)


@pytest.mark.parametrize("given", [(), (-1,), (None, 1), (1.5,), (True,), "1,grey", ",1", "1,2,grey", "", " ,"])
def test_choices_that_cannot_be(given: object) -> None:
    with pytest.raises(OptionError):
        channels.parse(given)


def test_a_network_of_more_channels_takes_them_in_order() -> None:
    taken = channels.for_network(RGB, channels.parse(None), (), 3)
    np.testing.assert_array_equal(taken.planes, RGB.pixels)
    assert taken.text == "input 0 <- channel 0 'red', input 1 <- channel 1 'green', input 2 <- channel 2 'blue'"
    chosen = channels.for_network(FOUR, channels.parse("3,none,0"), ("a", "b", "c"), 3)
    np.testing.assert_array_equal(chosen.planes, [FOUR.pixels[3], np.zeros((5, 6)), FOUR.pixels[0]])
    assert chosen.text == "a <- channel 3, b <- nothing, c <- channel 0"


@pytest.mark.parametrize(
    ("image", "given"), [(GREY, None), (GREY, "grey"), (PAIR, "gfp"), (RGB, "grey"), (PAIR, "1,0")]
)
def test_inputs_without_a_channel_are_zeros_as_with_cellpose(image: images.Image, given: str | None) -> None:
    taken = channels.for_network(image, channels.parse(given), (), 4)
    assert taken.planes.shape == (4, 5, 6)
    assert taken.planes[0].any()
    assert not taken.planes[2:].any()
    assert taken.text.endswith("input 3 <- nothing")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("colour", [0, 1, 2])
def test_an_image_in_one_colour_is_grey_to_a_network_for_colours(dtype: type, colour: int) -> None:
    pixels = np.zeros((40, 50, 3), dtype)
    pixels[..., colour] = RNG.integers(0, 255, (40, 50))
    pixels[:2, :2] = 255  # such as a scale bar
    taken = channels.for_network(images.from_array(pixels), channels.parse(None), channels.COLORS, 3)
    np.testing.assert_array_equal(taken.planes, [pixels[..., colour]] * 3)
    name = channels.COLORS[colour]
    assert taken.text == f"channel {colour} '{name}'; the other colours have no contrast"


@pytest.mark.parametrize("image", [images.from_array(np.ones((5, 6))), images.from_array(np.ones((5, 6, 3), np.uint8))])
def test_the_grey_of_cellpose_is_not_taken_for_one_channel_twice(image: images.Image) -> None:
    with pytest.raises(InputError, match=r"chosen twice.*--channels grey"):
        channels.for_network(image, channels.parse([0, 0]), ("cytoplasm", "nucleus"), 2)
    assert channels.for_network(image, channels.parse([0, 0, 0]), (), 3).planes.all()


def test_few_cells_in_one_colour_are_grey_too() -> None:
    pixels = np.zeros((40, 50, 3), np.uint8)
    pixels[:4, :4, 2] = 200
    taken = channels.for_network(images.from_array(pixels), channels.parse(None), channels.COLORS, 3)
    assert taken.first == 2


@pytest.mark.parametrize(("colour", "quality"), [(0, 75), (1, 75), (2, 75), (2, 30)])
def test_what_jpeg_leaves_in_empty_colours_is_no_colour(colour: int, quality: int) -> None:
    pixels = np.zeros((160, 200, 3), np.uint8)
    pixels[..., colour] = ndimage.gaussian_filter(180.0 * (solid_cells(200, 20, seed=1)[:160] > 0), 1.5)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    image = images.from_array(np.asarray(PIL.Image.open(file)))
    assert np.delete(image.pixels, colour, 0).max() > 5
    assert channels.for_network(image, channels.parse(None), channels.COLORS, 3).first == colour


def test_a_faint_second_colour_is_a_colour() -> None:
    pixels = np.zeros((40, 50, 3), np.uint8)
    pixels[..., 2], pixels[..., 1] = RNG.integers(0, 255, (40, 50)), RNG.integers(0, 50, (40, 50))
    taken = channels.for_network(images.from_array(pixels), channels.parse(None), channels.COLORS, 3)
    assert taken.text == "red, green and blue"


def test_two_colours_and_none_stay_as_they_are() -> None:
    for there in ([], [0, 2]):
        pixels = np.zeros((40, 50, 3), np.uint8)
        pixels[..., there] = RNG.integers(0, 255, (40, 50, len(there)))
        taken = channels.for_network(images.from_array(pixels), channels.parse(None), channels.COLORS, 3)
        np.testing.assert_array_equal(taken.planes, pixels.transpose(2, 0, 1))
        assert taken.text == "red, green and blue"


def test_a_network_for_colours_takes_three_channels_of_any_image() -> None:
    taken = channels.for_network(FOUR, channels.parse((2, 1, 0)), channels.COLORS, 3)
    np.testing.assert_array_equal(taken.planes, FOUR.pixels[[2, 1, 0]])
    assert taken.text == "red <- channel 2, green <- channel 1, blue <- channel 0"


@pytest.mark.parametrize(
    ("image", "given", "names", "count", "message"),
    [
        (FOUR, None, (), 3, "4 channels of the image .* for a network of 3; choose .*--channels 0,1,2"),
        (RGB, "0,1,2,0", channels.COLORS, 3, "4 channels"),
        (RGB, "0,1,2", (), 2, "3 channels are chosen, 0, 1, 2; the network takes one, or two: to segment, and nuclei"),
        (RGB, "0,1,2", ("nuclei",), 1, "the network takes one$"),
        (RGB, "0,1,7", (), 3, "no channel 7"),
    ],
)
def test_more_channels_than_there_are_inputs(
    image: images.Image, given: str | None, names: tuple[str, ...], count: int, message: str
) -> None:
    with pytest.raises((InputError, OptionError), match=message):
        channels.for_network(image, channels.parse(given), names, count)


def test_cellpose_counts_from_one() -> None:
    assert channels.from_cellpose_channels([2, 3]) == ChannelChoice(1, 2)
    assert channels.from_cellpose_channels([1, 0]) == ChannelChoice(0, None)
    assert channels.from_cellpose_channels([0, 0]) == ChannelChoice("grey")
    assert channels.from_cellpose_channels([0, 2]) == ChannelChoice("grey")
    for wrong in ([1], [1, -1], [1, 2, 3]):
        with pytest.raises(OptionError):
            channels.from_cellpose_channels(wrong)


def test_the_image_is_not_changed() -> None:
    before = PAIR.pixels.copy()
    chosen = channels.parse("1,0").take(PAIR)
    chosen.planes[:] = 0
    np.testing.assert_array_equal(PAIR.pixels, before)
