"""The settings of a command line become options, and a data set its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from flowseg.augment import AugmentOptions
from flowseg.dataset import CropOptions
from flowseg.errors import InputError, OptionError
from flowseg.names import last_part
from flowseg.sources.collection import Collection, Item
from flowseg.sources.data_sets import How, opened, side_table
from flowseg.sources.spellings import under
from flowseg.training import reading
from flowseg.training.options import TrainOptions
from flowseg.training.split import USUAL_PART, Split, fold, held_out
from flowseg.training.waiting import UNWATCHED, Watch
from flowseg.words import many

_SAME = ("crops", "epochs", "batch_size", "lr", "weight_decay", "ema", "freeze", "seed")
_ALSO_SAME = ("workers", "device", "precision", "compile", "reports", "patience")


def options_of(settings: Mapping[str, Any]) -> TrainOptions:
    """Return the options of a training."""
    names = ("rescale", "target", "weight", "balance", "evenness", "axes")
    crop = CropOptions(
        size=settings["crop_size"],
        augment=_augment(settings["augment"]),
        **{name: settings[name] for name in names},
    )
    return TrainOptions(crop=crop, **{name: settings[name] for name in (*_SAME, *_ALSO_SAME)})


def _augment(texts: Sequence[str]) -> AugmentOptions:
    """Read what is changed at random: ``scale=0.5``, ``flip=no``."""
    kinds = {item.name: item.type for item in fields(AugmentOptions)}
    values: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in kinds:
            raise OptionError(f"--augment {text!r}; wanted NAME=VALUE with one of {', '.join(kinds)}")
        words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
        try:
            values[name] = words[value.lower()] if kinds[name] in (bool, "bool") else float(value)
        except (KeyError, ValueError):
            raise OptionError(f"--augment {text!r}: {value!r} is not a value of {name}") from None
    return AugmentOptions(**values)


def splits_of(settings: Mapping[str, Any], watch: Watch = UNWATCHED) -> dict[str, Split]:
    """Return what to train and to validate on, by the name of the folder under that of the run ("" is itself)."""
    data = _opened(settings, watch)
    if settings["val"]:
        others = _opened_to_validate(settings, watch)
        _said(settings).require_used(data, others)
        split = Split(list(data), list(others))
        _check_not_parted(settings)
        return {"": split}
    _said(settings).require_used(data)
    how = {"group": settings["group"], "stratify": settings["stratify"] or _usual_stratum(data)}
    seed, folds, which = settings["seed"], settings["folds"], settings["fold"]
    if folds is None:
        if which is not None:
            raise OptionError("--fold was given without --folds")
        return {"": held_out(list(data), settings["val_part"], seed, **how)}
    if settings["val_part"] not in (0, USUAL_PART):
        raise OptionError("--folds and --val-part both say what to validate on; wanted one of them")
    if which == "all":
        return {f"fold{number}": fold(list(data), folds, number, seed, **how) for number in range(folds)}
    if which is not None and not str(which).isdecimal():
        raise OptionError(f"--fold is {which!r}; wanted a number from 0, or all")
    return {"": fold(list(data), folds, int(which or 0), seed, **how)}


def _check_not_parted(settings: Mapping[str, Any]) -> None:
    """Refuse what would part the data where others are validated on."""
    given = [f"--{name}" for name in ("folds", "fold", "group") if settings[name]]
    given += ["--val-part"] if settings["val_part"] not in (0, USUAL_PART) else []
    if given:
        raise OptionError(f"{given[0]} parts DATA, and --val gives other data to validate on; wanted one of them")


def _usual_stratum(data: Collection) -> str:
    return "cell_type" if len(data) and all("cell_type" in item.columns for item in data) else ""


def _said(settings: Mapping[str, Any]) -> How:
    masks, images = (settings[name] and Path(settings[name]) for name in ("masks", "images"))
    return How(masks, settings["mask_suffix"], images, settings["order"])


def _opened(settings: Mapping[str, Any], watch: Watch) -> Collection:
    return _sound(opened(Path(settings["data"]), settings["format_"], _said(settings)), settings, watch)


def _opened_to_validate(settings: Mapping[str, Any], watch: Watch) -> Collection:
    """Open what is validated on: it has folders of its own, and may be of another kind than the data."""
    path = Path(settings["val"])
    said = _said(settings)
    said = said._replace(masks=None, images=said.images if path.is_file() else None)
    try:
        data = opened(path, None, said)
    except InputError:
        if settings["format_"] is None:
            raise
        data = opened(path, settings["format_"], said)
    return _sound(data, settings, watch)


def _sound(data: Collection, settings: Mapping[str, Any], watch: Watch) -> Collection:
    """Return what can be used, with the columns of a table beside it."""
    for note in data.notes:
        watch.say(f"note: {note}")
    if settings.get("skip_problems"):
        for problem in data.problems:
            watch.say(f"left out: {problem}")
        data = replace(data, problems=())
    reading.require_sound(data, settings["axes"], watch.bar)
    columns = settings["columns"]
    return with_columns(data, Path(columns)) if columns else data


def with_columns(data: Collection, path: Path) -> Collection:
    """Add what a table says about the items; its first column, or ``id``, ``image`` or ``name``, is their name."""
    said = side_table(path)
    by_stem = {Path(last_part(name)).stem: values for name, values in said.items()}

    def values_of(item: Item) -> dict[str, str] | None:
        named = (item.name, item.path.name if item.path is not None else "")
        return next((values for name in named if (values := under(said, name))), under(by_stem, item.name))

    found = {item.name: values_of(item) for item in data}
    missing = [name for name, values in found.items() if values is None]
    if missing:
        raise InputError(f"{path} says nothing about {many(len(missing), 'image')}, such as {missing[0]}")
    wider = [replace(item, columns={**item.columns, **(found[item.name] or {})}) for item in data]
    return replace(data, items=tuple(wider))
