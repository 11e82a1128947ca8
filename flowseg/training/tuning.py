"""What the images held back say is best: thresholds, and the diameter to segment at, overall and by group."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import checkpoint, threads
from flowseg.checkpoint import Checkpoint
from flowseg.model_config import ModelConfig, Thresholds
from flowseg.options import MaskOptions, SegmentOptions
from flowseg.sources.collection import GROUP_COLUMNS, Item, spread
from flowseg.training import validation
from flowseg.training.loop import Task
from flowseg.training.run_folder import RunFolder
from flowseg.training.waiting import Bar, counted, silent
from flowseg.tune import Choice, Predicted, Tuned, is_gain, tune

_FACTORS = (0.8, 1.0, 1.25)  # of the median diameter in the images trained on
_LEAST_IMAGES = 3  # fewer say nothing about a diameter: both of two are better by chance once in four times
_LEAST_GAIN = 0.002  # of mean AP


class DiameterChoice(NamedTuple):
    """Mean AP of some images at a diameter chosen, and with each image's own estimate; None: the estimate is kept."""

    diameter: float | None
    score: float
    estimated_score: float
    images: int


def choose(task: Task, folder: RunFolder, bar: Bar = silent) -> tuple[tuple[float, ...], ...]:
    """Store what is best on the validation images in the model's file, and tell all of it in ``thresholds.json``.

    Returns AP of each of these images with the thresholds that were chosen for all.
    """
    if not task.split.validation:
        return ()
    kept = checkpoint.read(folder.model)
    start = task.config
    with bar("choosing thresholds", len(task.split.validation)) as step:
        predicted = counted(_predicted(task, replace(kept, config=start)), step)
        tuned = tune(predicted, defaults=MaskOptions(**_mask_settings(start)))
    config = tuned.applied_to(start)
    diameters = choose_diameters(task, replace(kept, config=config), bar)
    checkpoint.write_flowseg(folder.model, _with_diameters(config, diameters), kept.arrays)
    folder.write_json("thresholds.json", _told(tuned, diameters))
    return tuned.precisions


def group_column(task: Task) -> str:
    """Return the column that groups are told apart by: the one that was stratified or balanced by, or a usual one."""
    items = task.split.validation
    for name in (task.by, task.options.crop.balance, *GROUP_COLUMNS):
        if name and items and all(name in item.columns for item in items):
            return name
    return ""


def choose_diameters(task: Task, kept: Checkpoint, bar: Bar = silent) -> dict[str, DiameterChoice]:
    """Try diameters on validation images, against the estimate: for all images ("") and for each group.

    A diameter is chosen where it gains more than luck, of three images or more.
    """
    column = group_column(task)
    items = spread(task.split.validation, task.options.validation_images)
    names = [item.columns.get(column, "") for item in items]
    model = validation.model_of(kept.network(), kept.config, task.options.device)

    with bar("measuring", len(task.split.train)) as step:
        measured = counted(threads.mapped(_measured, task.split.train), step)
        typical = _typical([item.columns.get(column, "") for item in task.split.train], measured, set(names))
    every = [{""}, {name for name in names if name and names.count(name) >= _LEAST_IMAGES}]
    tries = 1 + len(_FACTORS) * sum(map(bool, every))
    known: dict[tuple[int, float | None], float] = {}
    with bar("trying diameters", tries * len(items)) as step:

        def score(place: int, diameter: float | None) -> float:
            """Return the mean AP of an image; the estimate often is a diameter that is tried, too."""
            if (place, diameter) not in known:
                (seen,) = validation.look(model, items[place : place + 1], lambda _: diameter, task.axes, task.choice)
                known[place, diameter] = known[place, seen.found.diameter] = float(np.mean(validation.precisions(seen)))
            return known[place, diameter]

        def scores(diameters: Sequence[float | None]) -> npt.NDArray[np.float64]:
            return np.array([score(*asked) for asked in counted(enumerate(diameters), step)])

        estimated = scores([None] * len(items))
        found: dict[str, DiameterChoice] = {}
        for groups in every:
            usual = {name: typical[name if name in groups else ""] for name in set(names)}
            tried = [(factor, scores([factor * usual[name] for name in names])) for factor in _FACTORS if groups]
            for group in sorted(groups):
                own = np.array([not group or name == group for name in names])
                options = [(factor * typical[group], each[own]) for factor, each in tried]
                found[group] = _best(options, estimated[own])
    return found


def _measured(item: Item) -> float | None:
    return validation.median_diameter(item.instances())


def _typical(own: Sequence[str], diameters: Iterable[float | None], groups: set[str]) -> dict[str, float]:
    """Return the median over images of the median diameter: of all ("") and of each group, that of all if unseen."""
    pairs = list(zip(own, diameters, strict=True))
    of_all = [diameter for _, diameter in pairs if diameter is not None]
    of_each = {group: [one for name, one in pairs if name == group and one is not None] for group in groups}
    return {"": float(np.median(of_all))} | {
        group: float(np.median(each or of_all)) for group, each in of_each.items() if group
    }


def _best(
    options: Sequence[tuple[float, npt.NDArray[np.float64]]], estimated: npt.NDArray[np.float64]
) -> DiameterChoice:
    diameter, scores = max(options, key=lambda option: float(option[1].mean()))
    if len(scores) < _LEAST_IMAGES or not is_gain(scores - estimated, _LEAST_GAIN):
        return DiameterChoice(None, float(estimated.mean()), float(estimated.mean()), len(estimated))
    return DiameterChoice(round(diameter, 1), float(scores.mean()), float(estimated.mean()), len(estimated))


def _with_diameters(config: ModelConfig, diameters: Mapping[str, DiameterChoice]) -> ModelConfig:
    """Return the config with the diameters; a group that wants another than all has thresholds of its own.

    A group with too few images to try diameters on has that of all.
    """
    overall = diameters[""].diameter
    own = {name: replace(one, diameter=overall) for name, one in config.group_thresholds.items()}
    tried = {
        name: replace(own.get(name, config.thresholds), diameter=one.diameter)
        for name, one in diameters.items()
        if name and (name in own or one.diameter != overall)
    }
    return replace(config, diameter=overall, group_thresholds={**own, **tried})


def _predicted(task: Task, kept: Checkpoint) -> Iterator[Predicted]:
    column = group_column(task)
    model = validation.model_of(kept.network(), kept.config, task.options.device)
    for seen in validation.look(model, task.split.validation, task.diameter_of, task.axes, task.choice):
        found, group = seen.found, seen.item.columns.get(column, "")
        niter = SegmentOptions().masks(kept.config, kept.config.diameter_mean / found.diameter).niter
        yield Predicted(found.flows, found.cellprob, seen.truth, group, niter)


def _mask_settings(config: ModelConfig) -> dict[str, Any]:
    settings = asdict(config.thresholds) | {"target": config.target}
    return {name: value for name, value in settings.items() if name != "diameter"}


def _told(tuned: Tuned, diameters: Mapping[str, DiameterChoice]) -> dict[str, Any]:
    """Return the choices and the best of what was tried, for JSON."""

    def plain(choice: Choice, group: str) -> dict[str, Any]:
        at = diameters.get(group)
        return {
            **choice._asdict(),
            "thresholds": _shown(choice.thresholds),
            "diameter": at._asdict() if at else None,
        }

    best = [{**_shown(one.thresholds), "score": one.score, "by_group": dict(one.by_group)} for one in tuned.table[:20]]
    groups = {name: plain(choice, name) for name, choice in tuned.groups.items()}
    return {"overall": plain(tuned.overall, ""), "groups": groups, "best_tried": best}


def _shown(thresholds: Thresholds) -> dict[str, Any]:
    return {name: value for name, value in asdict(thresholds).items() if name != "diameter"}
