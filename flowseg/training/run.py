"""One training: from items to a folder that holds the model and tells how it was made."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from flowseg import __version__, notebook, plots, zoo
from flowseg.channels import COLORS, ChannelChoice
from flowseg.errors import InputError, OptionError
from flowseg.network import Network
from flowseg.options import Architecture, ModelConfig
from flowseg.sources.collection import Collection, Item
from flowseg.training import validation
from flowseg.training.finish import finish
from flowseg.training.loop import Loop, Task, Tell
from flowseg.training.options import TrainOptions
from flowseg.training.processes import joined
from flowseg.training.run_folder import Report, RunFolder
from flowseg.training.split import Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INPUTS = {"grey": ("grey",), "two": ("cytoplasm", "nucleus"), "rgb": COLORS}


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

    def plot(self) -> "Figure":
        """Draw losses, scores and learning rate (matplotlib)."""
        return plots.training_curves([report._asdict() for report in self.history])

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the curves, the best scores, where the model is."""
        scored = [report for report in self.history if not np.isnan(report.map)]
        best = max(scored, key=lambda report: report.map) if scored else None
        facts = {"model": str(self.model), "crops": f"{self.history[-1].crops:,}" if self.history else "0"}
        if best is not None:
            facts |= {"best AP at IoU 0.5": f"{best.ap50:.3f}", "best mean AP, 0.5 to 0.9": f"{best.map:.3f}"}
        return notebook.card("Training", facts, [notebook.picture(plots.figure_png(self.plot()), "curves")])


@dataclass(frozen=True)
class NewModel:
    """A network that starts from nothing.

    Attributes
    ----------
    inputs
        ``"grey"``: one channel; ``"two"``: one to segment and one of nuclei, as Cellpose's; ``"rgb"``: colours as they
        are, grey three times.
    widths
        Channels of each level.
    """

    inputs: str = "two"
    widths: tuple[int, ...] = (32, 64, 128, 256)

    def config(self) -> ModelConfig:
        """Return the config of such a model."""
        if self.inputs not in _INPUTS:
            raise OptionError(f"inputs is {self.inputs!r}; wanted one of {', '.join(_INPUTS)}")
        names = _INPUTS[self.inputs]
        shape = Architecture(channels=len(names), widths=self.widths)
        return ModelConfig(architecture=shape, channel_names=names)


@dataclass(frozen=True)
class Asked:
    """What is known of the images and the model beside the options.

    Attributes
    ----------
    pretrained
        A model's name or file to start from; None: ``new``.
    new
        The network that starts from nothing.
    diameter
        Diameter in pixels that objects have when they reach the network; None: as in the model to start from.
    axes, choice
        Axes and channels of the images, where they are not clear.
    described
        The data, in words.
    command
        The settings of the command line, so that it can go on with its run.
    licence
        Of the weights.
    export
        ``"cellpose"``: write a file that Cellpose opens, too.
    """

    pretrained: str | None = None
    new: NewModel = field(default_factory=NewModel)
    diameter: float | None = None
    axes: str | None = None
    choice: ChannelChoice = field(default_factory=ChannelChoice)
    described: str = ""
    command: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    export: str = ""


def run(
    items: Split | Collection | Sequence[Item],
    out: str | os.PathLike[str],
    options: TrainOptions | None = None,
    asked: Asked | None = None,
    *,
    resume: bool = False,
    tell: Tell = lambda _: None,
) -> Trained:
    """Train a network and keep all that belongs to it in one folder.

    Parameters
    ----------
    items
        Items to train on, or a split with items to validate on.
    out
        The folder; a new one, unless ``resume``.
    options
        How; a training that is resumed must have those it began with.
    asked
        Which model to start from, and how the images are to be read.
    resume
        Go on where the training in ``out`` was stopped.
    tell
        Called after each step.
    """
    options, asked = options or TrainOptions(), asked or Asked()
    split = items if isinstance(items, Split) else Split(list(items), [])
    if not split.train:
        raise InputError("there are no images to train on")
    with joined(options.device) as (processes, device):
        options = replace(options, device=device)
        folder = RunFolder(Path(out))
        torch.manual_seed(options.seed)
        network, config = _start(asked)
        config = _with_data(config, split, folder.path.name, options, asked)
        if resume:
            _require_same(folder, split, options)
        elif processes.first:
            folder.begin(_described(split, config, options, asked))
        task = Task(split, config, options, asked.pretrained is not None, asked.axes, asked.choice)
        loop = Loop(task, network, folder, processes, tell)
        loop.run()
        if processes.first:
            finish(task, folder, loop.history, _described(split, config, options, asked) | {"export": asked.export})
    return Trained(folder.model, folder.path, loop.history)


def _start(asked: Asked) -> tuple[Network, ModelConfig]:
    """Return the network to begin with."""
    if asked.pretrained is None:
        config = asked.new.config()
        return Network(config.architecture), config
    kept = zoo.read(zoo.resolve(asked.pretrained))
    kept.require_segmentation()
    return kept.network(), kept.config


def _with_data(config: ModelConfig, split: Split, name: str, options: TrainOptions, asked: Asked) -> ModelConfig:
    config = config if asked.diameter is None else replace(config, diameter_mean=asked.diameter)
    diameter = config.diameter_mean
    if options.crop.rescale != "none":
        measured = [validation.median_diameter(item.instances()) for item in split.train]
        known = [one for one in measured if one is not None]
        if not known:
            raise InputError("none of the images to train on has an instance")
        diameter = float(np.median(known))
    data = asked.described or f"{len(split.train)} images"
    return replace(
        config, name=name, diameter_labels=diameter, training_data=data, licence=asked.licence or config.licence
    )


def _described(split: Split, config: ModelConfig, options: TrainOptions, asked: Asked) -> dict[str, Any]:
    return {
        "options": options.to_dict(),
        "model": config.to_dict(),
        "command": dict(asked.command),
        "pretrained": asked.pretrained,
        "axes": asked.axes,
        "channels": list(asked.choice.items),
        "train": [item.name for item in split.train],
        "validation": [item.name for item in split.validation],
        "versions": {"flowseg": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": platform.platform(),
    }


def _require_same(folder: RunFolder, split: Split, options: TrainOptions) -> None:
    """Refuse to go on with other options or other data than the training began with."""
    began = folder.read_config()
    now = options.to_dict()
    different = sorted(name for name in now if _plain(now[name]) != _plain(began["options"].get(name)))
    if different:
        raise OptionError(f"the training in {folder.path} began with another {different[0]}; it cannot be changed now")
    if began["train"] != [item.name for item in split.train]:
        raise InputError(f"the training in {folder.path} began with other images")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
