"""What a model file says about its network, as frozen records: each is checked when it is made."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from flowseg import checks
from flowseg.errors import OptionError

#: A network gives flows this many times longer than unit vectors, and learns them so, as Cellpose's does.
FLOW_SCALE = 5.0

#: What flows lead to: the centre of an instance along the flow of heat, or its middle line straight from the border.
FLOW_TARGETS = ("diffusion", "distance")


@dataclass(frozen=True)
class Architecture:
    """The shape of a residual style U-Net; the defaults are those of Cellpose 1 to 3.

    Attributes
    ----------
    channels
        Image channels that go in, 1 to 64.
    widths
        Feature channels of each level, from full resolution down; 1 to 8 levels of 1 to 4096.
    outputs
        Maps that come out, 1 to 64. Three of them segment: flow along y, flow along x, cell probability.
    kernel
        Side of the convolutions in pixels, odd, 1 to 15.
    residual
        Four convolutions and a projection a level; without it two convolutions (Cellpose 1 and 2, by option).
    style
        The style vector reaches the decoder.
    concatenation
        The skip connections are concatenated rather than added (Cellpose 1 and 2, by option).
    """

    channels: int = 2
    widths: tuple[int, ...] = (32, 64, 128, 256)
    outputs: int = 3
    kernel: int = 3
    residual: bool = True
    style: bool = True
    concatenation: bool = False

    def __post_init__(self) -> None:
        checks.plain(self)
        object.__setattr__(self, "widths", checks.tuple_of("widths", self.widths))
        checks.whole("channels", self.channels, 1, 64)
        if not 1 <= len(self.widths) <= 8:
            raise OptionError(f"widths has {len(self.widths)} levels; wanted 1 to 8")
        for width in self.widths:
            checks.whole("a width", width, 1, 4096)
        checks.whole("outputs", self.outputs, 1, 64)
        checks.whole("kernel", self.kernel, 1, 15)
        if self.kernel % 2 == 0:
            raise OptionError(f"kernel is {self.kernel}; wanted an odd number")
        for name in ("residual", "style", "concatenation"):
            checks.flag(name, getattr(self, name))

    @property
    def stride(self) -> int:
        """Input pixels that one pixel of the deepest level stands for: image sides are multiples of it."""
        return int(2 ** (len(self.widths) - 1))


@dataclass(frozen=True)
class Thresholds:
    """What is chosen for images, or a group of them: some of `MaskOptions`, and the diameter to segment at.

    ``diameter`` is in pixels; None: estimated from each image.

    >>> Thresholds(cellprob_threshold=-1.0).min_size
    15
    """

    cellprob_threshold: float = 0.0
    flow_threshold: float = 0.4
    min_size: int = 15
    diameter: float | None = None

    def __post_init__(self) -> None:
        checks.plain(self)
        checks.number("cellprob_threshold", self.cellprob_threshold, -100, 100)
        checks.number("flow_threshold", self.flow_threshold, 0, 1e6)
        checks.whole("min_size", self.min_size, -1, 2**31 - 1)
        if self.diameter is not None:
            checks.number("diameter", self.diameter, 0.1, 1e5)


@dataclass(frozen=True)
class ModelConfig:
    """What a model file says about its network; it travels in every flowseg checkpoint.

    Attributes
    ----------
    kind
        The family of network; ``"residual-style-unet"`` is the only one so far.
    architecture
        Its shape.
    name
        What people call the model; empty where a file does not say.
    diameter_mean
        Diameter in pixels that objects have when they reach the network: images are resized to it.
    diameter_labels
        Mean diameter in pixels of the objects it was trained on, before resizing; None where it is not known.
    channel_names
        The role of each input channel, such as ``("cyto", "nucleus")``; empty where a file does not say.
    normalisation
        Percentiles (low, high) of each channel that become 0 and 1.
    target
        What the flows lead to, one of `FLOW_TARGETS`: "diffusion" (the centre of an instance) or "distance" (its middle
        line).
    cellprob_threshold
        Logit above which a pixel belongs to an object.
    flow_threshold
        Largest mean squared error between an object's flows and those of its mask; 0 keeps every object.
    min_size
        Pixels of the smallest object that is kept; -1 keeps every object.
    diameter
        Diameter in pixels to segment at where none is asked for; None: estimated from each image.
    group_thresholds
        `Thresholds` by name of a group of images, such as a cell type, where others than the above are better.
    training_data
        What the model was trained on, in words.
    licence
        Licence of the weights, as an SPDX name where there is one.
    citation
        What to cite.
    flowseg_version
        The flowseg that wrote the file; empty for a file of Cellpose.

    Examples
    --------
    >>> ModelConfig(name="nuclei", diameter_mean=17.0).architecture.widths
    (32, 64, 128, 256)
    """

    kind: str = "residual-style-unet"
    architecture: Architecture = field(default_factory=Architecture)
    name: str = ""
    diameter_mean: float = 30.0
    diameter_labels: float | None = None
    channel_names: tuple[str, ...] = ()
    normalisation: tuple[float, float] = (1.0, 99.0)
    target: str = "diffusion"
    cellprob_threshold: float = 0.0
    flow_threshold: float = 0.4
    min_size: int = 15
    diameter: float | None = None
    group_thresholds: Mapping[str, Thresholds] = field(default_factory=dict, hash=False)
    training_data: str = ""
    licence: str = ""
    citation: str = ""
    flowseg_version: str = ""

    def __post_init__(self) -> None:
        checks.plain(self)
        object.__setattr__(self, "channel_names", checks.tuple_of("channel_names", self.channel_names))
        object.__setattr__(self, "normalisation", checks.tuple_of("normalisation", self.normalisation))
        if self.kind != "residual-style-unet":
            raise OptionError(f"kind is {self.kind!r}; wanted 'residual-style-unet'")
        if not isinstance(self.architecture, Architecture):
            raise OptionError(f"architecture is {self.architecture!r}; wanted an Architecture")
        for name in ("name", "training_data", "licence", "citation", "flowseg_version"):
            checks.text(name, getattr(self, name))
        checks.one_of("target", self.target, FLOW_TARGETS)
        self._check_channel_names()
        self._check_numbers()
        self._check_groups()

    def _check_channel_names(self) -> None:
        for name in self.channel_names:
            checks.text("a channel name", name)
        if self.channel_names and len(self.channel_names) != self.architecture.channels:
            raise OptionError(
                f"channel_names has {len(self.channel_names)} names {self.channel_names}; "
                f"wanted one for each of {self.architecture.channels} channels, or none"
            )

    def _check_numbers(self) -> None:
        checks.number("diameter_mean", self.diameter_mean, 0.1, 1e5)
        if self.diameter_labels is not None:
            checks.number("diameter_labels", self.diameter_labels, 0.1, 1e5)
        checks.percentiles("normalisation", self.normalisation)
        _ = self.thresholds  # which are checked when they are made

    def _check_groups(self) -> None:
        if not isinstance(self.group_thresholds, Mapping):
            raise OptionError(f"group_thresholds is {checks.short(self.group_thresholds)}; wanted thresholds by group")
        for name, thresholds in self.group_thresholds.items():
            checks.text("the name of a group", name)
            if not isinstance(thresholds, Thresholds):
                raise OptionError(f"the thresholds of group {name!r} are {checks.short(thresholds)}; wanted Thresholds")
        object.__setattr__(self, "group_thresholds", dict(self.group_thresholds))

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds for images of no group in particular."""
        return Thresholds(self.cellprob_threshold, self.flow_threshold, self.min_size, self.diameter)

    def for_group(self, group: str) -> "ModelConfig":
        """Return the config with the thresholds of a group, if it has any.

        >>> config = ModelConfig(group_thresholds={"cort": Thresholds(-1.0, 0.4, 30)})
        >>> config.for_group("cort").cellprob_threshold, config.for_group("astro").cellprob_threshold
        (-1.0, 0.0)
        """
        return replace(self, **asdict(self.group_thresholds.get(group, self.thresholds)))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold; `from_dict` takes them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Make a config of plain values; fields that are not there keep their defaults.

        Raises
        ------
        OptionError
            A value is not what the field takes, or a field is not known here (a newer flowseg may have written it).
        """
        known = checks.known_fields(cls, values, "model config")
        if "architecture" in known:
            shape = checks.known_fields(Architecture, known["architecture"], "architecture")
            known["architecture"] = Architecture(**shape)
        groups = known.get("group_thresholds")
        if isinstance(groups, Mapping):
            known["group_thresholds"] = {
                name: Thresholds(**checks.known_fields(Thresholds, each, f"thresholds of group {checks.short(name)}"))
                for name, each in groups.items()
            }
        return cls(**known)
