"""What can be set, as frozen records: each field is documented, and checked when the record is made."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from flowseg import checks
from flowseg.errors import OptionError
from flowseg.model_config import FLOW_SCALE, FLOW_TARGETS, Architecture, ModelConfig, Thresholds

# The names of `flowseg.model_config` can be had from here too.
__all__ = [
    "FLOW_SCALE",
    "FLOW_TARGETS",
    "Architecture",
    "MaskOptions",
    "ModelConfig",
    "OverlapOptions",
    "SegmentOptions",
    "Thresholds",
]


@dataclass(frozen=True)
class MaskOptions:
    """How flows become instances.

    Attributes
    ----------
    cellprob_threshold
        Logit above which a pixel belongs to some instance; lower finds more and larger instances.
    flow_threshold
        Largest mean squared difference between the flows and those of the instance found; 0 keeps all.
    niter
        Steps that a pixel follows the flows for, at most.
    min_size
        Instances of fewer pixels are dropped; 0 or -1 keeps all.
    max_size_fraction
        Instances over this part of the image are dropped.
    target
        What the flows lead to, one of `FLOW_TARGETS`.
    """

    cellprob_threshold: float = 0.0
    flow_threshold: float = 0.4
    niter: int = 200
    min_size: int = 15
    max_size_fraction: float = 0.4
    target: str = "diffusion"

    def __post_init__(self) -> None:
        checks.plain(self)
        checks.number("cellprob_threshold", self.cellprob_threshold, -1e6, 1e6)
        checks.number("flow_threshold", self.flow_threshold, 0, 1e6)
        checks.whole("niter", self.niter, 1, 10**6)
        checks.whole("min_size", self.min_size, -1, 2**31 - 1)
        checks.number("max_size_fraction", self.max_size_fraction, 1e-9, 1e6)
        checks.one_of("target", self.target, FLOW_TARGETS)


@dataclass(frozen=True)
class OverlapOptions:
    """How overlapping instances become one label image.

    Attributes
    ----------
    contested_to
        Who gets a pixel that several instances claim: ``"smaller"``, ``"larger"``, ``"first"`` or ``"last"``. Of equal
        areas, the first.
    fill_holes
        Fill the holes of each instance before.
    largest_piece
        Keep only the largest piece of each instance before.
    min_size
        Drop instances of which fewer pixels are left.
    """

    contested_to: str = "smaller"
    fill_holes: bool = False
    largest_piece: bool = False
    min_size: int = 0

    def __post_init__(self) -> None:
        checks.plain(self)
        checks.one_of("contested_to", self.contested_to, ("smaller", "larger", "first", "last"))
        checks.flag("fill_holes", self.fill_holes)
        checks.flag("largest_piece", self.largest_piece)
        checks.whole("min_size", self.min_size, 0, 2**31 - 1)


@dataclass(frozen=True)
class SegmentOptions:
    """How an image is segmented; None stands for what the model's file says, or else the default.

    Attributes
    ----------
    diameter
        Diameter of the cells in pixels; None: estimated.
    channels
        Channels for the network, by number from 0 or by name, as a list or as text: ``(1, 0)``, ``"GFP,DAPI"``,
        ``"grey"``; or a choice that `flowseg.channels` has made. None: see `flowseg.channels.parse`.
    tile, overlap
        Side of tiles cut as Cellpose does, a multiple of 8, and the part that they share; None: as few tiles as can be.
    tta
        Predict the image in eight positions and take the mean: eight times the work, a little better.
    cellprob_threshold, flow_threshold, min_size
        See `MaskOptions`.
    group
        A group of images that the model has thresholds of its own for, such as a cell type; empty: those for all.
    niter
        Steps that pixels follow flows for; None: 200 at the network's own scale.
    max_size_fraction
        Instances over this part of the image are dropped.
    percentiles
        Of each channel, those that become 0 and 1.
    normalise_tile
        Side in pixels of squares that have their own percentiles, for uneven light; 0: one pair for the whole image.
    invert
        Cells are darker than what is around them.
    """

    diameter: float | None = None
    channels: Iterable[int | str | None] | int | str | None = None
    tile: int | None = None
    overlap: float = 0.1
    tta: bool = False
    cellprob_threshold: float | None = None
    flow_threshold: float | None = None
    min_size: int | None = None
    group: str = ""
    niter: int | None = None
    max_size_fraction: float = 0.4
    percentiles: tuple[float, float] | None = None
    normalise_tile: int = 0
    invert: bool = False

    def __post_init__(self) -> None:
        checks.plain(self)
        if self.channels is not None:
            object.__setattr__(self, "channels", checks.several("channels", self.channels))
        if self.diameter == 0:  # how Cellpose is told to estimate it
            raise OptionError("diameter is 0; wanted that of the cells in pixels, or none at all to have it estimated")
        if self.diameter is not None:
            checks.number("diameter", self.diameter, 0.1, 1e5)
        if self.tile is not None:
            checks.whole("tile", self.tile, 16, 2**20)
        checks.number("overlap", self.overlap, 0, 0.5)
        checks.flag("tta", self.tta)
        checks.flag("invert", self.invert)
        checks.whole("normalise_tile", self.normalise_tile, 0, 2**20)
        if self.percentiles is not None:
            object.__setattr__(self, "percentiles", checks.tuple_of("percentiles", self.percentiles))
            checks.percentiles("percentiles", self.percentiles)
        checks.text("group", self.group)
        self._with(Thresholds(), 1.0)  # checks what is set

    def masks(self, config: ModelConfig, scale: float) -> MaskOptions:
        """Return how instances are made: what is set here, else what the model says, at this scale of the network."""
        return replace(self._with(self.chosen_of(config), scale), target=config.target)

    def chosen_of(self, config: ModelConfig) -> Thresholds:
        """Return what a model's file says for the group of images."""
        if self.group and self.group not in config.group_thresholds:
            known = ", ".join(sorted(config.group_thresholds)) or "none"
            raise OptionError(f"the model has no thresholds for a group {self.group!r}; it has {known}")
        return config.for_group(self.group).thresholds

    def _with(self, models: Thresholds, scale: float) -> MaskOptions:
        def first(mine: Any, other: Any) -> Any:
            return other if mine is None else mine

        return MaskOptions(
            first(self.cellprob_threshold, models.cellprob_threshold),
            first(self.flow_threshold, models.flow_threshold),
            first(self.niter, max(1, int(200 / scale))),
            first(self.min_size, models.min_size),
            self.max_size_fraction,
        )
