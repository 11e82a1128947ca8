"""Whether next to nothing matches because run lengths are counted along rows and were read down columns, or so."""

from collections.abc import Sequence

from flowseg import metrics
from flowseg.evaluate.comparison import Pair
from flowseg.instances import Instances
from flowseg.overlaps import resolve_overlaps

_ENOUGH = 5  # matches, so that it is no chance
_FAR_MORE = 3  # times


def better_otherwise(pairs: Sequence[Pair], side: str) -> bool:
    """Say whether a side matches far better where its run lengths are read in the other order.

    Parameters
    ----------
    pairs
        Images of both sides; a few are enough.
    side
        ``"prediction"`` or ``"truth"``: whose instances came as run lengths.
    """
    loaded = [pair.load() for pair in pairs]
    needed = max(_ENOUGH, _FAR_MORE * sum(_matches(*both) for both in loaded))
    for read in (_down_columns, _along_rows):
        if side == "prediction":
            matched = sum(_matches(read(pred), truth) for pred, truth in loaded)
        else:
            matched = sum(_matches(pred, read(truth)) for pred, truth in loaded)
        if matched >= needed:
            return True
    return False


def _matches(pred: Instances, truth: Instances) -> int:
    return int(metrics.average_precision(truth, resolve_overlaps(pred).labels, (0.5,)).tp[0])


def _down_columns(found: Instances) -> Instances:
    """Read runs anew that were read along rows."""
    height, width = found.shape
    return Instances((width, height), found.starts, found.lengths, found.offsets).transposed()


def _along_rows(found: Instances) -> Instances:
    """Read runs anew that were read down columns."""
    turned = found.transposed()
    return Instances(found.shape, turned.starts, turned.lengths, turned.offsets)
