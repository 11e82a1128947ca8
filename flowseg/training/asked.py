"""What a training is asked for beside its options: the model to start from, and how the images are to be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowseg.channels import COLORS, ChannelChoice
from flowseg.errors import OptionError
from flowseg.model_config import Architecture, ModelConfig

_INPUTS = {"grey": ("grey",), "two": ("cytoplasm", "nucleus"), "rgb": COLORS}


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
    skip_problems
        Train on what can be read; otherwise one image that cannot be is an error.
    by
        A column: scores and thresholds are of each of its groups, too.
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
    skip_problems: bool = False
    by: str = ""

    def __post_init__(self) -> None:
        if self.export not in ("", "cellpose"):
            raise OptionError(f"export is {self.export!r}; wanted 'cellpose', or '' for none")
        if self.pretrained is not None and self.new != NewModel():
            raise OptionError(
                f"inputs and widths shape a network from nothing, and {self.pretrained} has its own: leave them out, "
                "or begin from nothing (--pretrained none; pretrained=None)"
            )
