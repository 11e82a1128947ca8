"""Every image is read once before training starts, so that all that is wrong is told then and not hours later."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import channels, threads
from flowseg.channels import ChannelChoice
from flowseg.dataset import is_seen
from flowseg.errors import FlowsegError, InputError
from flowseg.model_config import ModelConfig
from flowseg.sources.collection import Collection, Item
from flowseg.training.split import Split
from flowseg.training.validation import median_diameter
from flowseg.training.waiting import Bar, counted, silent
from flowseg.words import many

_MANY_PIECES = 5
_GIVES_EACH = "flowseg convert DATA OUT --to labels --pieces --copy-images gives each piece one"
_SMALL_PART = 0.05  # of instances, whose sizes are those of crumbs, where there are any
_MOST_APART = 0.1  # of masks of all cells together: some software leaves a second number in a few


class Read(NamedTuple):
    """What reading gave.

    Attributes
    ----------
    train, validation
        Places in the parts of the split of what can be used.
    diameter
        Median over the images to train on of their median diameters; None where they have no instance.
    small
        Pixels that one in twenty of the instances to train on has at most; None where there are none.
    to_find
        Whether an image to validate on has an instance.
    problems
        What cannot be used, in words.
    notes
        What is likely wrong with what can be used, in words.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    diameter: float | None
    small: int | None
    to_find: bool
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    def of(self, split: Split) -> Split:
        """Return what can be used."""
        return Split(
            [split.train[place] for place in self.train], [split.validation[place] for place in self.validation]
        )


class _Looked(NamedTuple):
    """What is kept of an image: what is wrong, its median diameter, areas of instances, the pieces of a single one.

    ``unseen`` says that it has instances, and no contrast.
    """

    problem: str
    diameter: float | None = None
    areas: npt.NDArray[np.int64] = np.empty(0, np.int64)
    pieces: int = 0
    unseen: bool = False


def require_sound(data: Collection, axes: str | None = None, bar: Bar = silent) -> None:
    """Raise one error that lists all problems of a data set: beside those known, what only reading the rest shows."""
    if data.problems:
        with bar("reading images", len(data)) as step:
            looked = list(counted(_all_looked(data.items, None, axes, ChannelChoice()), step))
        data = replace(data, problems=(*data.problems, *(one.problem for one in looked if one.problem)))
    data.require_sound()


def read(
    split: Split, config: ModelConfig, bar: Bar, axes: str | None = None, choice: ChannelChoice | None = None
) -> Read:
    """Read all images and instances, to find what cannot be used.

    Parameters
    ----------
    split
        What is to be read.
    config
        Of the model: which channels it wants.
    bar
        Shows how far it is.
    axes, choice
        Axes and channels of the images, where they are not clear.

    Raises
    ------
    InputError
        Nearly all masks are one instance, most of them in many pieces: cells that were not told apart.
    """
    items = [*split.train, *split.validation]
    with bar("reading images", len(items)) as step:
        looked = list(counted(_all_looked(items, config, axes, choice or ChannelChoice()), step))
    _require_apart(looked)
    train, validation = looked[: len(split.train)], looked[len(split.train) :]
    known = [one.diameter for one in train if one.diameter is not None]
    areas = np.concatenate([one.areas[one.areas > 0] for one in train])
    return Read(
        _sound(train),
        _sound(validation),
        float(np.median(known)) if known else None,
        int(np.quantile(areas, _SMALL_PART)) if len(areas) else None,
        any(one.diameter is not None for one in validation),
        tuple(one.problem for one in looked if one.problem),
        _notes([item.name for item in items], looked),
    )


def _sound(looked: Sequence[_Looked]) -> tuple[int, ...]:
    return tuple(place for place, one in enumerate(looked) if not one.problem)


def _all_looked(
    items: Sequence[Item], config: ModelConfig | None, axes: str | None, choice: ChannelChoice
) -> Iterator[_Looked]:
    return threads.mapped(lambda item: _look(item, config, axes, choice), items)


def _look(item: Item, config: ModelConfig | None, axes: str | None, choice: ChannelChoice) -> _Looked:
    try:
        image, truth = item.sample(axes)
        unseen = False
        if config is not None:
            taken = channels.for_network(image, choice, config.channel_names, config.architecture.channels)
            unseen = len(truth) > 0 and not is_seen(taken.planes, config)
        if not np.isfinite(image.pixels).any():
            raise InputError("none of its pixels is a number: all are NaN or infinite")
    except (FlowsegError, OSError, MemoryError) as error:
        text = str(error) or type(error).__name__
        return _Looked(text if item.name in text else f"{item.name}: {text}")
    pieces = len(truth.pieces()) if len(truth) == 1 else 0
    return _Looked("", median_diameter(truth), truth.areas(), pieces, unseen)


def _require_apart(looked: Sequence[_Looked]) -> None:
    """Refuse masks of all cells together; an image of one cell among them looks as it does in any data."""
    filled = [one for one in looked if one.diameter is not None]
    together = sum(one.pieces >= _MANY_PIECES for one in filled)
    apart = sum(len(one.areas) > 1 for one in filled)
    if 2 * together > len(filled) and apart <= _MOST_APART * len(filled):
        every = "the one image" if len(filled) == 1 else f"all {len(filled)} images"
        where = every if together == len(filled) else f"{together} of {len(filled)} images"
        raise InputError(
            f"in {where} with masks, there is one instance in {_MANY_PIECES} or more pieces: masks of all "
            f"cells together. Wanted a number of its own for each cell; {_GIVES_EACH}"
        )


def _notes(names: Sequence[str], looked: Sequence[_Looked]) -> tuple[str, ...]:
    together = [name for name, one in zip(names, looked, strict=True) if one.pieces >= _MANY_PIECES]
    unseen = [name for name, one in zip(names, looked, strict=True) if one.unseen]
    return (*_perhaps_together(together), *_told_unseen(unseen))


def _perhaps_together(names: Sequence[str]) -> Iterator[str]:
    if names:
        images = many(len(names), "image has", "images have")
        yield (
            f"{images} one instance in {_MANY_PIECES} or more pieces, such as {names[0]}: if its mask is of all cells "
            f"together, {_GIVES_EACH}"
        )


def _told_unseen(names: Sequence[str]) -> Iterator[str]:
    if names:
        images = many(len(names), "image with masks has", "images with masks have")
        yield (
            f"{images} no contrast between percentiles, such as {names[0]}, so the network sees nothing there: is "
            "it the right channel? where a few bright cells are all there is, cut the image closer around them"
        )
