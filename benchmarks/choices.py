"""Choose thresholds of `nuclei` on few images, and see what others gain by it; adds a table to RESULTS.md.

    python benchmarks/choices.py --data path/to/dsb2018 [--model nuclei]

Of the fluorescence images held back, some are drawn to choose on, by three rules; the rest is scored.
"""

import datetime
from collections.abc import Callable, Iterator, Sequence
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from nuclei import asked, split_of
from pages import put

from flowseg import __version__, tune
from flowseg.model_config import Thresholds
from flowseg.options import MaskOptions, SegmentOptions
from flowseg.segment import Model, load_model
from flowseg.sources.collection import Item
from flowseg.training.validation import look, median_diameter

COUNTS = 2, 3, 4, 6, 9
DRAWS = 300
LEAST = 0.002  # differences in mean AP that are nothing
GOOD, FAR_OFF = Thresholds(0.0, 0.3, 25), Thresholds(-2.0, 0.4, 15)
GRID = tune._Grid.of(tune.CELLPROBS, tune.FLOWS, tune.MIN_SIZES, GOOD)
Scores = npt.NDArray[np.float64]  # (images, points of the grid)
Rule = Callable[[Scores, Thresholds], int]


def main() -> None:
    options = asked(__doc__ or "")
    items = [item for item in split_of(options.data).validation if item.columns["kind"] == "fluorescence"]
    scores = np.stack(list(scored(load_model(options.model), items)))
    put(page(scores))


def scored(model: Model, items: Sequence[Item]) -> Iterator[Scores]:
    """Give each image's mean AP at each point."""
    defaults = MaskOptions(GOOD.cellprob_threshold, GOOD.flow_threshold, min_size=GOOD.min_size)
    for seen in look(model, items, median_diameter):
        found = seen.found
        niter = SegmentOptions().masks(model.config, model.config.diameter_mean / found.diameter).niter
        table = tune.tune([tune.Predicted(found.flows, found.cellprob, seen.truth, "", niter)], defaults=defaults).table
        at = {tried.thresholds: tried.score for tried in table}
        yield np.array([at[point] for point in GRID.points])


def best(scores: Scores, start: Thresholds) -> int:
    return int(scores.mean(axis=0).argmax())


def kept_if_sure(scores: Scores, start: Thresholds) -> int:
    return GRID.points.index(tune._choice(scores, GRID, start, start, LEAST).thresholds)


def nearest(scores: Scores, start: Thresholds) -> int:
    with patch.object(tune, "is_gain", lambda *_: True):
        return kept_if_sure(scores, start)


RULES: dict[str, Rule] = {
    "the best of all": best,
    "the nearest within a standard error": nearest,
    "the same, if it gains more than chance": kept_if_sure,
}


def gains(scores: Scores, rule: Rule, start: Thresholds, count: int) -> Scores:
    """Return what the images gain that were not drawn, for each draw."""
    rng, at = np.random.default_rng(count), GRID.points.index(start)
    found = []
    for _ in range(DRAWS):
        drawn, others = np.split(rng.permutation(len(scores)), [count])
        chosen = rule(scores[drawn], start)
        found.append((scores[others, chosen] - scores[others, at]).mean())
    return np.array(found)


def page(scores: Scores) -> str:
    lines = []
    for name, rule in RULES.items():
        worse = [100 * (gains(scores, rule, GOOD, count) < -LEAST).mean() for count in COUNTS]
        lines.append(f"| worse: {name} | {' | '.join(f'{part:.0f} %' for part in worse)} |")
    for name, rule in RULES.items():
        gained = [gains(scores, rule, FAR_OFF, count).mean() for count in COUNTS]
        lines.append(f"| gain: {name} | {' | '.join(f'{gain:.3f}' for gain in gained)} |")
    print(*lines, sep="\n", flush=True)
    before = scores[:, GRID.points.index(FAR_OFF)].mean()
    body = "\n".join(lines)
    return f"""## Thresholds chosen on few images

`benchmarks/choices.py`, flowseg {__version__}, {datetime.date.today()}: of {len(scores)} fluorescence images that
`nuclei` has not seen, a few choose thresholds, {DRAWS} draws each. How often the others lose more than {LEAST} in mean
AP, where hardly anything is better than the defaults; and their gain where those are far off (mean AP {before:.3f}).

| images to choose on | {" | ".join(map(str, COUNTS))} |
|---|{"---|" * len(COUNTS)}
{body}
"""


if __name__ == "__main__":
    main()
