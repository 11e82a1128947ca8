"""What can be set, as frozen records: built once at the edge, checked when built."""

import math
from dataclasses import dataclass

from flowseg.errors import OptionError


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
        Instances of fewer pixels are dropped; 0 keeps all and leaves their holes as they are.
    max_size_fraction
        Instances over this part of the image are dropped.
    """

    cellprob_threshold: float = 0.0
    flow_threshold: float = 0.4
    niter: int = 200
    min_size: int = 15
    max_size_fraction: float = 0.4

    def __post_init__(self) -> None:
        check(math.isfinite(self.cellprob_threshold), "cellprob_threshold", self.cellprob_threshold, "a finite number")
        check(self.flow_threshold >= 0, "flow_threshold", self.flow_threshold, "0 (no check) or a positive number")
        check(self.niter >= 1 and self.niter == int(self.niter), "niter", self.niter, "a whole number of at least 1")
        check(self.min_size == int(self.min_size), "min_size", self.min_size, "a whole number of pixels")
        check(self.max_size_fraction > 0, "max_size_fraction", self.max_size_fraction, "a number above 0")


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
        wanted = ("smaller", "larger", "first", "last")
        check(self.contested_to in wanted, "contested_to", self.contested_to, f"one of {', '.join(wanted)}")
        check(self.min_size >= 0, "min_size", self.min_size, "a whole number of pixels")


def check(right: bool, name: str, value: object, wanted: str) -> None:
    """Raise an `OptionError` that names the option, what it was and what was wanted, unless it is right."""
    if not right:
        raise OptionError(f"{name} is {value!r}; wanted {wanted}")
