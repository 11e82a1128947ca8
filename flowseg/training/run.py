"""One training: from items to a folder that holds the model and tells how it was made."""

import os
import platform
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from flowseg import __version__, checkpoint, notebook, plots, zoo
from flowseg.engines.torch_engine import within_limit
from flowseg.errors import InputError, OptionError
from flowseg.model_config import Architecture, ModelConfig
from flowseg.network import Network, drawn
from flowseg.sources.collection import Collection, Item, listed_problems
from flowseg.training import heap, reading
from flowseg.training.asked import Asked
from flowseg.training.began import Began
from flowseg.training.finish import beside_start, finish
from flowseg.training.loop import Loop, Task, Tell
from flowseg.training.options import TrainOptions
from flowseg.training.processes import Processes, joined
from flowseg.training.run_folder import Report, RunFolder
from flowseg.training.split import Split, in_both
from flowseg.training.waiting import UNWATCHED, Watch
from flowseg.words import many

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Trained(NamedTuple):
    """What a training leaves.

    Attributes
    ----------
    model
        The model file.
    folder
        The folder of the run.
    history
        The reports.
    """

    model: Path
    folder: Path
    history: list[Report]

    def __repr__(self) -> str:
        return f"Trained({os.fspath(self.model)}, {many(len(self.history), 'report')})"

    def plot(self) -> "Figure":
        """Draw losses, scores and learning rate (matplotlib)."""
        return plots.training_curves([report._asdict() for report in self.history])

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the curves, the best scores, where the model is."""
        scored = [report for report in self.history if not np.isnan(report.map)]
        best = max(scored, key=lambda report: report.map) if scored else None
        facts = {"model": os.fspath(self.model), "crops": f"{self.history[-1].crops:,}" if self.history else "0"}
        if best is not None:
            facts |= {"best AP at IoU 0.5": f"{best.ap50:.3f}", "best mean AP, 0.5 to 0.9": f"{best.map:.3f}"}
        return notebook.card("Training", facts, [notebook.picture(plots.figure_png(self.plot()), "curves")])


class _Sizes(NamedTuple):
    """Of the instances to train on: a usual diameter, and the pixels that one in twenty has at most."""

    diameter: float
    small: int


def run(
    items: Split | Collection | Sequence[Item],
    out: str | os.PathLike[str],
    options: TrainOptions | None = None,
    asked: Asked | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    tell: Tell = lambda _: None,
    watch: Watch = UNWATCHED,
) -> Trained:
    """Train a network and keep all that belongs to it in one folder.

    All images are read once before it begins, so that what is wrong with them is told then.

    Parameters
    ----------
    items
        Items to train on, or a split with items to validate on.
    out
        The folder; a new one, unless ``resume`` or ``overwrite``.
    options
        How; a training that is resumed must have those it began with.
    asked
        Which model to start from, and how the images are to be read.
    resume
        Go on where the training in ``out`` was stopped.
    overwrite
        Begin anew where ``out`` holds an earlier training, which is lost as soon as this one can begin.
    tell
        Called after each step.
    watch
        Shows what else takes long; see `flowseg.training.waiting`.

    Raises
    ------
    InputError
        Images or masks that cannot be used, all of them listed; or a folder that holds another training.

    Examples
    --------
    >>> from flowseg.sources.data_sets import open_collection                   # doctest: +SKIP
    >>> run(open_collection("cells"), "run", TrainOptions(crops=2000))          # doctest: +SKIP
    Trained(run/model.safetensors, 20 reports)
    """
    options, asked = options or TrainOptions(), asked or Asked()
    split = items if isinstance(items, Split) else Split(list(items), [])
    if not split.train:
        raise InputError("there are no images to train on")
    if options.patience and not split.validation:
        raise OptionError(
            f"patience is {options.patience}, and there are no scores: nothing is held back to validate on"
        )
    if options.freeze != "none" and asked.pretrained is None:
        raise OptionError(
            f"freeze is {options.freeze!r}, and the network begins from nothing: what stays would be random; "
            "wanted none, or a pretrained model"
        )
    folder = RunFolder(Path(out))
    began = Began.read(folder) if resume else None
    if began is None:
        folder.require_new(overwrite)
    with joined(options.device) as (processes, device):
        options = replace(options, device=device)
        if began is not None:
            network, config, split = _again(began, split, options, asked, watch)
        else:
            network, config = _start(asked, options)
            split, sizes = _read(split, config, asked, processes, watch)
            config = _with_data(config, split, sizes, folder.path.name, options, asked)
        task = Task(split, config, options, asked.pretrained is not None, asked.axes, asked.choice, asked.by)
        loop = Loop(task, network, folder, processes, tell, watch)
        with folder.mine() if processes.first else nullcontext(), heap.kept(), within_limit():
            if processes.first and not resume:
                folder.begin(_described(task, asked), overwrite)
            loop.run()
    if processes.first and not folder.finished:
        with folder.mine():
            finish(task, folder, loop.history, _described(task, asked) | {"export": asked.export}, watch.bar)
        if beside := beside_start(task, loop.history):
            watch.say(beside)
    return Trained(folder.model, folder.path, loop.history)


def _again(
    began: Began, split: Split, options: TrainOptions, asked: Asked, watch: Watch
) -> tuple[Network, ModelConfig, Split]:
    """Return what a training goes on with; the weights come with its state, where it has kept one."""
    began.require_same(options, asked)
    if began.folder.state.exists():
        network = _new(began.config.architecture, options)
    else:
        watch.say(f"note: {began.folder.path} has kept nothing of the training yet: it begins from the start")
        network, _ = _start(asked, options)
    return network, began.config, began.parts(split)


def _read(split: Split, config: ModelConfig, asked: Asked, processes: Processes, watch: Watch) -> tuple[Split, _Sizes]:
    """Read all images, in the first process; return what can be used, and its sizes."""
    found = reading.read(split, config, watch.bar, asked.axes, asked.choice) if processes.first else None
    found = processes.told_by_first(found)
    if found.problems and not asked.skip_problems:
        raise InputError(listed_problems(asked.described or "the data set", found.problems))
    for problem in found.problems:
        watch.say(f"left out: {problem}")
    for note in found.notes:
        watch.say(f"note: {note}")
    usable = found.of(split)
    for asked_for, left, what in zip(split, usable, ("train", "validate"), strict=True):
        if asked_for and not left:
            raise InputError(f"none of the images to {what} on can be used")
    if both := in_both(usable):
        images = many(len(both), "image")
        watch.say(f"note: trained on, too: {images} to validate on, such as {both[0]}; scores will be too good")
    return usable, _sizes(found, usable)


def _sizes(found: reading.Read, split: Split) -> _Sizes:
    """Return the sizes of the data; refuse data with nothing to learn from, or to be scored by.

    Where there is nothing to find, what finds nothing scores best: weights and thresholds would be chosen for that.
    """
    others = "give others (--val DIR; val=), hold back others (--seed 1; seed=1), or none (--val-part 0; val_part=0)"
    if found.diameter is None or found.small is None:
        hint = f"; some of those held back have: {others}" if found.to_find else ""
        raise InputError(f"none of the images to train on has an instance{hint}")
    if split.validation and not found.to_find:
        raise InputError(
            f"none of the images to validate on has an instance, so they cannot tell a good model from one that finds "
            f"nothing: {others}"
        )
    return _Sizes(found.diameter, found.small)


def _start(asked: Asked, options: TrainOptions) -> tuple[Network, ModelConfig]:
    """Return the network to begin with, and a config that can be exported as is asked for."""
    if asked.pretrained is None:
        start = asked.new.config()
        network = _new(start.architecture, options)
    else:
        kept = zoo.read(zoo.resolve(asked.pretrained))
        kept.require_segmentation()
        start, network = kept.config, kept.network()
    config = replace(start, target=options.crop.target)
    stride = config.architecture.stride
    if options.crop.size % stride:
        smaller = options.crop.size // stride * stride
        raise OptionError(
            f"the crop size is {options.crop.size}; wanted a multiple of {stride}, for the network halves it "
            f"{stride.bit_length() - 1} times: {smaller} or {smaller + stride}"
        )
    if asked.export == "cellpose":
        checkpoint.require_cellpose(config)
    return network, config


def _new(architecture: Architecture, options: TrainOptions) -> Network:
    return drawn(architecture, torch.Generator().manual_seed(options.seed))


def _with_data(
    config: ModelConfig, split: Split, sizes: _Sizes, name: str, options: TrainOptions, asked: Asked
) -> ModelConfig:
    """Return the config with what is known of the data, and without what was chosen on the data of an earlier model.

    A smallest size that belongs to larger instances would leave out what is to be learned.
    """
    config = config if asked.diameter is None else replace(config, diameter_mean=asked.diameter)
    diameter = config.diameter_mean if options.crop.rescale == "none" else sizes.diameter
    data = asked.described or many(len(split.train), "image")
    return replace(
        config,
        name=name,
        diameter_labels=diameter,
        diameter=None,
        min_size=min(config.min_size, sizes.small),
        group_thresholds={},
        training_data=data,
        licence=asked.licence,  # that of a model to start from may not be this one's
    )


def _described(task: Task, asked: Asked) -> dict[str, Any]:
    return {
        "options": task.options.to_dict(),
        "model": task.config.to_dict(),
        "command": dict(asked.command),
        "pretrained": asked.pretrained,
        "axes": asked.axes,
        "channels": list(asked.choice.items),
        "train": [item.name for item in task.split.train],
        "validation": [item.name for item in task.split.validation],
        "versions": {"flowseg": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": platform.platform(),
        "started_in": os.getcwd(),
    }
