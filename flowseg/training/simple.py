"""Training as one call, for notebooks and scripts."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from flowseg import channels as channel_choice
from flowseg import checks
from flowseg.augment import AugmentOptions
from flowseg.dataset import CropOptions
from flowseg.errors import OptionError
from flowseg.sources import memory
from flowseg.sources.collection import Collection, Item
from flowseg.sources.data_sets import How, opened
from flowseg.training import reading
from flowseg.training.asked import Asked, NewModel
from flowseg.training.loop import Tell
from flowseg.training.options import TrainOptions
from flowseg.training.run import Trained, run
from flowseg.training.shown import Shown
from flowseg.training.split import USUAL_PART, Split, held_out
from flowseg.training.waiting import Watch
from flowseg.words import many

Source = str | os.PathLike[str] | Collection | Sequence[Any]


def train(
    source: Source,
    out: str | os.PathLike[str],
    *,
    pretrained: str | None = "cyto2",
    val: Source | None = None,
    val_part: float = USUAL_PART,
    group: str = "",
    stratify: str = "",
    channels: Any = None,
    axes: str | None = None,
    order: Literal["row", "column"] | None = None,
    diameter_mean: float | None = None,
    inputs: str = "two",
    widths: Sequence[int] = (32, 64, 128, 256),
    augment: Mapping[str, float | bool] | AugmentOptions | None = None,
    licence: str = "",
    export: str = "",
    skip_problems: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    tell: Tell | None = None,
    **settings: Any,
) -> Trained:
    """Train a network on images with masks.

    Parameters
    ----------
    source
        A folder, a CSV or a JSON, as ``flowseg train`` takes them; or pairs (image, masks) of arrays: masks are a label
        image (H, W), or a stack (n, H, W) that may overlap; or items of `flowseg.sources`.
    out
        The folder of the run; a new one, unless ``resume`` or ``overwrite``.
    pretrained
        Name or file of the model to start from; None: from nothing, with ``inputs`` ("grey", "two", "rgb") and
        ``widths``.
    val, val_part
        Data to validate on, or the part of ``source`` that is held back for that; 0: none.
    group, stratify
        Columns of the data: images that agree in the first stay in one part; the second is spread over both.
    channels, axes
        Channels and axes of the images, where they are not clear.
    order
        How run lengths of a CSV count pixels, "row" or "column", where its columns do not say it.
    diameter_mean
        Diameter in pixels that objects have when they reach the network; None: that of the model, or 30.
    augment
        Some of `flowseg.augment.AugmentOptions`: ``{"scale": 0.5, "flip": False}``.
    licence
        Of the weights, for the model's file.
    export
        ``"cellpose"``: write ``cellpose_model`` too, a file that Cellpose 2 and 3 open.
    skip_problems
        Train on what can be read and say what cannot; otherwise that is an error, which lists all of it.
    resume
        Go on where the training in ``out`` was stopped; everything else must be as it was.
    overwrite
        Begin anew where ``out`` holds an earlier training, which is lost as soon as this one can begin.
    quiet
        Print nothing, and show nothing on the way.
    tell
        Called after each step with a `flowseg.training.Progress`.
    **settings
        Fields of `flowseg.training.TrainOptions` and `flowseg.dataset.CropOptions` by name: ``crops=16000, lr=1e-3,
        size=128, target="distance"``.

    Returns
    -------
    Trained
        The model's file, the folder, and the history; a notebook shows it with its curves.

    Examples
    --------
    >>> import flowseg                                                          # doctest: +SKIP
    >>> done = flowseg.train("cells/", "run", pretrained="nuclei", crops=2000)  # doctest: +SKIP
    >>> seg = flowseg.load_model(done.model).segment(image)                     # doctest: +SKIP
    """
    if resume and overwrite:
        raise OptionError("resume goes on with an earlier training, overwrite begins anew; wanted one of them")
    if val is not None and (group or val_part not in (0, USUAL_PART)):
        raise OptionError("group and val_part part the data, and val gives other data to validate on; leave them out")
    checks.folder("out", out)
    options = _options(settings, augment)
    if axes is not None:
        options = replace(options, crop=replace(options.crop, axes=axes))
    shown = Shown(quiet, tell)
    watch = shown.watch()
    skipping = watch if skip_problems else None
    data, others = _opened(source, order), _opened(val, order)
    How(order=order).require_used(*(each for each in (data, others) if isinstance(each, Collection)))
    items, described = _items(data, axes, skipping)
    if others is not None:
        split = Split(items, _items(others, axes, skipping)[0])
    else:
        split = held_out(items, val_part, options.seed, group=group, stratify=stratify)
    asked = Asked(
        pretrained,
        NewModel(inputs, tuple(widths)),
        diameter_mean,
        axes,
        channel_choice.parse(channels),
        described,
        licence=licence,
        skip_problems=skip_problems,
        export=export,
        by=stratify,
    )
    with shown:
        return run(split, out, options, asked, resume=resume, overwrite=overwrite, tell=shown.tell, watch=watch)


def _options(settings: Mapping[str, Any], augment: Mapping[str, float | bool] | AugmentOptions | None) -> TrainOptions:
    of_training = {item.name for item in fields(TrainOptions)} - {"crop"}
    of_crops = {item.name for item in fields(CropOptions)} - {"augment", "axes"}
    checks.known_names(settings, sorted(of_training | of_crops), "setting")
    if augment is None or isinstance(augment, AugmentOptions):
        changes = augment or AugmentOptions()
    else:
        checks.known_names(augment, AugmentOptions.__dataclass_fields__, "setting of augment")
        changes = AugmentOptions(**augment)  # type: ignore[arg-type]
    crop = CropOptions(augment=changes, **{name: value for name, value in settings.items() if name in of_crops})
    return TrainOptions(crop=crop, **{name: value for name, value in settings.items() if name in of_training})


def _opened(source: Any, order: Literal["row", "column"] | None) -> Any:
    """Return a source, opened where it is a path."""
    return opened(Path(source), None, How(order=order)) if isinstance(source, str | os.PathLike) else source


def _items(source: Collection | Sequence[Any], axes: str | None, skipping: Watch | None) -> tuple[list[Item], str]:
    """Return the items of a source, and the source in words; problems are said where they are to be skipped."""
    if isinstance(source, Collection):
        if skipping is not None:
            for problem in source.problems:
                skipping.say(f"left out: {problem}")
            source = replace(source, problems=())
        reading.require_sound(source, axes)
        return list(source), source.root.resolve().name
    given = list(source)
    if all(isinstance(one, Item) for one in given):
        return given, many(len(given), "image")
    return memory.items(given, axes), f"{many(len(given), 'image')} given as arrays"
