"""Which channel the network sees as what: chosen by number from 0 or by name, and said back in words."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from flowseg.errors import InputError, OptionError
from flowseg.images import Image
from flowseg.normalize import ends
from flowseg.words import many

Array = npt.NDArray[Any]

#: The mean over all channels, in place of one.
GREY = "grey"
#: What the channels of a network for colour images are called.
COLORS = ("red", "green", "blue")
_GREY_WORDS = {"grey", "gray", "mean"}
_NONE_WORDS = {"none", ""}
_NO_ROLE = "none"  # of an input that a network was trained without
# What JPEG of quality 75, or in blue of 30, makes colours span beside one that is alone: grey values of 255, or a part.
_JPEG_LEAVES, _JPEG_PART = 5, 1 / 8
_COLOR_WORDS = (("red", "r"), ("green", "g"), ("blue", "b"))


_Planes = TypeVar("_Planes", Array, tuple[bool, ...])


class Chosen(NamedTuple):
    """A choice carried out on one image.

    Attributes
    ----------
    planes
        (2, H, W) in the image's own type, or float where channels were averaged. The second is zeros where none is
        chosen.
    text
        The choice in words, for logs and ``run.json``.
    first, second
        Channel numbers from 0; None for the mean of all (first) or nothing (second).
    """

    planes: Array
    text: str
    first: int | None
    second: int | None


@dataclass(frozen=True)
class ChannelChoice:
    """Which channel to segment, and which one shows nuclei to help with it.

    Attributes
    ----------
    first
        Number from 0, name, ``"grey"`` for the mean of all channels, or None: the only channel, or the mean of a colour
        image; with several channels that are not colours, None is refused.
    second
        Number from 0, name, or None for nothing.
    others
        Further ones, as ``second``, for networks that take more than two channels.

    Examples
    --------
    >>> import numpy as np
    >>> from flowseg.images import from_array
    >>> image = from_array(np.zeros((2, 20, 30)), axes="CYX", channel_names=["DAPI", "GFP"])
    >>> parse("gfp,dapi").take(image).text
    "cytoplasm <- channel 1 'GFP', nucleus <- channel 0 'DAPI'"
    """

    first: int | str | None = None
    second: int | str | None = None
    others: tuple[int | str | None, ...] = ()

    @property
    def items(self) -> tuple[int | str | None, ...]:
        """All of them, the first first."""
        return (self.first, self.second, *self.others)

    def __iter__(self) -> Iterator[int | str | None]:
        """Go through `items`: options take a choice as they take a list."""
        return iter(self.items)

    def __post_init__(self) -> None:
        for item in self.items:
            if isinstance(item, bool) or not isinstance(item, int | str | None):
                raise OptionError(f"channel {item!r}; wanted a number from 0 or a name")
            if isinstance(item, int) and item < 0:
                raise OptionError(f"channel {item}; wanted a number from 0")
        if self.first is None and self.items != (None, None):
            raise OptionError(f"a second channel, {self.second!r}, but no first; name both, or 'grey' first")
        if any(isinstance(item, str) and item.lower() in _GREY_WORDS for item in self.items[1:]):
            raise OptionError("the second channel cannot be the mean of all; wanted a number, a name or nothing")

    def take(self, image: Image, roles: tuple[str, str] = ("cytoplasm", "nucleus")) -> Chosen:
        """Take the chosen channels of an image, as `Chosen`; ``roles`` is what the network sees them as."""
        first = self._first(image)
        second = None if self.second is None else _number(self.second, image)
        top = image.pixels[first] if first is not None else _mean(image.pixels)
        planes = np.zeros((2, *image.shape), top.dtype if second is None else np.result_type(top, image.pixels))
        planes[0] = top
        if second is not None:
            planes[1] = image.pixels[second]
        return Chosen(planes, _text(image, first, second, roles), first, second)

    def _first(self, image: Image) -> int | None:
        if isinstance(self.first, str) and self.first.lower() in _GREY_WORDS and not _named(self.first, image):
            return None if image.channels > 1 else 0
        if self.first is not None:
            return _number(self.first, image)
        if image.channels == 1:
            return 0
        if image.color:
            return None
        raise InputError(
            f"{image.name} has {image.channels} channels ({_listed(image)}); choose the one to segment and, if there "
            f"is one, the nuclei: channels=(1, 0) (--channels 1,0), or channels='grey' for the mean of all"
        )


def for_network(image: Image, choice: ChannelChoice, names: Sequence[str], count: int) -> Chosen:
    """Take what a network wants of an image.

    Parameters
    ----------
    image, choice
        The image, and what the user chose of it.
    names
        The roles of the network's channels, as its file states them; may be empty.
    count
        How many channels it takes. A network of three named red, green and blue gets colours as they are, and grey
        three times; so it does a colour that is the only one with contrast. Others of one or two get the channel to
        segment, and the nuclei. One of more gets the channels of the image in their order, and zeros after them, as
        Cellpose does.
    """
    if tuple(names) == COLORS:
        return _colors(image, choice)
    if count > 2:
        return _in_order(image, choice, count, names)
    if choice.others:
        wanted = "one, or two: to segment, and nuclei" if count == 2 else "one"
        raise OptionError(f"{len(choice.items)} channels are chosen, {_said(choice)}; the network takes {wanted}")
    chosen = choice.take(image, (names[0], names[1]) if len(names) == 2 else ("cytoplasm", "nucleus"))
    if count == 1:
        return _first_alone(image, chosen, 1)
    if chosen.second is not None and chosen.second == chosen.first:
        raise InputError(
            f"channel {chosen.first} of {image.name} is chosen twice, to segment and as nuclei; alone it is "
            f"channels={chosen.first} (--channels {chosen.first}), and what Cellpose calls 0,0 is channels='grey' "
            "(--channels grey)"
        )
    return chosen


def distinct(planes: Array) -> Array:
    """Return one plane where it stands for all of a network, as grey for red, green and blue; otherwise all."""
    return planes[:1] if planes.strides[0] == 0 else planes


def segmented(planes: _Planes) -> _Planes:
    """Return those of a network's channels that are segmented: of one or two the first, of more all."""
    return planes if len(planes) > 2 else planes[:1]


def _colors(image: Image, choice: ChannelChoice) -> Chosen:
    if image.color and choice == ChannelChoice():
        alone = _only_color(image.pixels)
        if alone is None:
            return Chosen(image.pixels, "red, green and blue", None, None)
        chosen = _colors(image, ChannelChoice(alone))
        return chosen._replace(text=f"{chosen.text}; the other colours have no contrast")
    if choice.others:
        return _in_order(image, choice, 3, COLORS)
    return _first_alone(image, choice.take(image), 3)


def _first_alone(image: Image, chosen: Chosen, count: int) -> Chosen:
    """Give every channel of a network the one to segment, and say so where a second was chosen."""
    second = "" if chosen.second is None else f"; the model has no use for {_channel(image, chosen.second)}"
    planes = np.broadcast_to(chosen.planes[0], (count, *image.shape))
    return Chosen(planes, _source(image, chosen.first) + second, chosen.first, None)


def _only_color(pixels: Array) -> int | None:
    """Return the only colour with contrast: of a grey image shown in blue or green, as fluorescence often is."""
    found = [high - low for low, high in ends(pixels)]
    if not any(found):  # few cells on a black image
        found = [high - low for low, high in ends(pixels, (0.0, 100.0))]
    least = max(_JPEG_LEAVES, _JPEG_PART * max(found)) if pixels.dtype == np.uint8 else 0
    there = [number for number, span in enumerate(found) if span > least]
    return there[0] if len(there) == 1 else None


def _in_order(image: Image, choice: ChannelChoice, count: int, names: Sequence[str]) -> Chosen:
    """Give each channel of a network one of the image, and zeros to those for which there is none."""
    items = range(image.channels) if choice == ChannelChoice() else choice.items
    if len(items) > count:
        few = ",".join(map(str, range(count)))
        raise InputError(
            f"{len(items)} channels of {image.name} ({_listed(image)}) for a network of {count}; choose the ones that "
            f'it was trained on: --channels {few} (channels="{few}")'
        )
    numbers = [None if item is None else replace(ChannelChoice(), first=item)._first(image) for item in items]
    taken = [_plane(image, item, number) for item, number in zip(items, numbers, strict=True)]
    planes = np.zeros((count, *image.shape), np.result_type(*(plane for plane in taken if plane is not None)))
    for place, plane in enumerate(taken):
        if plane is not None:
            planes[place] = plane
    said = ["nothing" if plane is None else _source(image, at) for plane, at in zip(taken, numbers, strict=True)]
    roles = names if len(names) == count else [f"input {place}" for place in range(count)]
    said += ["nothing"] * (count - len(said))
    text = ", ".join(f"{role} <- {source}" for role, source in zip(roles, said, strict=True))
    return Chosen(planes, text, numbers[0], None)


def _plane(image: Image, item: int | str | None, number: int | None) -> Array | None:
    """Return a chosen channel, or the mean of all; None where nothing is chosen."""
    if item is None:
        return None
    return _mean(image.pixels) if number is None else image.pixels[number]


def parse(channels: "ChannelChoice | Iterable[int | str | None] | str | int | None") -> ChannelChoice:
    """Read a choice of channels as a person writes it.

    Parameters
    ----------
    channels
        None (the only channel, or the mean of a colour image), one channel, two, or as many as a network takes:
        numbers from 0, names, ``"grey"`` first, ``"none"`` or None second; as a sequence or as text with commas.

    Examples
    --------
    >>> parse("2,3")
    ChannelChoice(first='2', second='3', others=())
    >>> parse(("cyto", 0))
    ChannelChoice(first='cyto', second=0, others=())
    """
    if isinstance(channels, ChannelChoice):
        return channels
    if channels is None:
        return ChannelChoice()
    if isinstance(channels, str):
        items: list[Any] = [part.strip() for part in channels.split(",")] if channels.strip(" ,") else []
    elif isinstance(channels, Iterable):
        items = list(channels)
    else:
        items = [channels]
    if not items:
        raise OptionError(f"channels {channels!r}: none of them; wanted one, or two: to segment, and nuclei")
    items = [None if isinstance(item, str) and item.lower() in _NONE_WORDS else item for item in items]
    items = [int(item) if isinstance(item, np.integer) else item for item in items]
    first, second, *others = [*items, None][: max(2, len(items))]
    return ChannelChoice(first, second, tuple(others))


def from_cellpose_channels(channels: Sequence[int]) -> ChannelChoice:
    """Translate Cellpose's pair, where 1 is the first channel and 0 is grey (first) or nothing (second).

    >>> from_cellpose_channels((2, 3))
    ChannelChoice(first=1, second=2, others=())
    >>> from_cellpose_channels((0, 0))
    ChannelChoice(first='grey', second=None, others=())
    """
    if len(channels) != 2 or min(channels) < 0:
        raise OptionError(f"channels {tuple(channels)}; wanted Cellpose's pair, from 0 up, such as (2, 3)")
    first, second = (int(channel) for channel in channels)
    if first == 0:  # Cellpose ignores the second then
        return ChannelChoice(GREY)
    return ChannelChoice(first - 1, second - 1 if second else None)


def _number(channel: int | str, image: Image) -> int:
    """Find the number of a channel given by number or name."""
    named = _named(channel, image) if isinstance(channel, str) else []
    if len(named) > 1:
        raise InputError(f"{image.name} has channel {channel!r} {len(named)} times ({_listed(image)}); give its number")
    number = int(channel) if isinstance(channel, int) or channel.isdecimal() else None
    if number is not None and number >= image.channels and not named:
        raise InputError(f"{image.name} has no channel {number}; channels count from 0 and {_all(image)}")
    if named and number is not None and number < image.channels and named[0] != number:
        raise InputError(
            f"channel {channel!r} is the name of channel {named[0]} and the number of another in {image.name} "
            f"({_listed(image)}); give the number as a number, from 0"
        )
    if named:
        return named[0]
    if number is None:
        raise InputError(f"{image.name} has no channel {channel!r}; {_all(image)}")
    return number


def _named(channel: str, image: Image) -> list[int]:
    wanted = channel.strip().casefold()
    if image.color and not image.channel_names:
        return [number for number, words in enumerate(_COLOR_WORDS) if wanted in words]
    return [number for number, name in enumerate(image.channel_names) if name.strip().casefold() == wanted]


def _all(image: Image) -> str:
    if image.channels == 1:
        return f"its only one, {_listed(image)}, is taken without a choice"
    return f"it has {_listed(image)}" + ("" if image.channel_names or image.color else ", without names")


def _listed(image: Image) -> str:
    if image.color and not image.channel_names:
        return "0 red, 1 green, 2 blue"
    if image.channels > 12 and not image.channel_names:
        return f"0 to {image.channels - 1}"
    return ", ".join(image.channel_text(channel) for channel in range(image.channels))


def _mean(pixels: Array) -> Array:
    """Mean over channels: exact enough in float32 up to 16 bits, in float64 beyond."""
    wide = pixels.dtype.itemsize > 2 and pixels.dtype != np.float32
    return np.asarray(pixels.mean(axis=0, dtype=np.float64 if wide else np.float32))


def _text(image: Image, first: int | None, second: int | None, roles: tuple[str, str]) -> str:
    if second is None and roles[1] == _NO_ROLE:
        return f"{roles[0]} <- {_source(image, first)}"
    below = "nothing" if second is None else _channel(image, second)
    return f"{roles[0]} <- {_source(image, first)}, {roles[1]} <- {below}"


def _said(choice: ChannelChoice) -> str:
    return ", ".join("none" if item is None else str(item) for item in choice.items)


def _source(image: Image, first: int | None) -> str:
    """Say which channel is segmented; None: the mean of all."""
    if first is None:
        return "mean of red, green and blue" if image.color else f"mean of {many(image.channels, 'channel')}"
    return "grey" if image.channels == 1 and not image.channel_names else _channel(image, first)


def _channel(image: Image, number: int) -> str:
    if image.color and not image.channel_names:
        return f"channel {number} {COLORS[number]!r}"
    return f"channel {image.channel_text(number)}"
