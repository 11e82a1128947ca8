"""Train small siblings of `nuclei` that differ in one thing each, and table their scores in its model card.

    python benchmarks/nuclei.py --data path/to/dsb2018 --keep folder [--crops 12000] [--widths 16,32,64,128]

All have the settings of the first training of models/nuclei/train.sh but for the number of crops, the widths, and what
the row names, and are scored on its validation part. What is done is kept in the folder: the same command goes on where
it was stopped.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from pages import put
from quality import AT75, Scores, kept, scores_of

from flowseg.augment import AugmentOptions
from flowseg.dataset import CropOptions
from flowseg.sources.data_sets import open_collection
from flowseg.training import Asked, NewModel, Split, TrainOptions, held_out, run
from flowseg.training.run_folder import RunFolder

CARD = Path(__file__).parents[1] / "models/nuclei/README.md"
USE = "## Intended use"  # the section of the card that those of measurements come before
DIAMETER = 20.0  # pixels that nuclei are resized to
AUGMENT = AugmentOptions(scale=1.0, contrast=0.4, brightness=0.15, gamma=0.4, noise=0.08, blur=1.5, invert=0.3)
CROP = {"size": 128, "balance": "kind", "evenness": 0.5, "augment": AUGMENT}


class Variant(NamedTuple):
    """What a network differs in: settings of its crops, its widths."""

    crop: Mapping[str, Any] = MappingProxyType({})
    widths: tuple[int, ...] | None = None


VARIANTS = {
    "as it is": Variant(),
    "flows by distance": Variant({"target": "distance"}),
    "flows weighted by area": Variant({"weight": "area"}),
    "colours stretched by up to 0.3": Variant({"augment": replace(AUGMENT, colour=0.3)}),
    "kinds drawn by their size": Variant({"balance": "", "evenness": 1.0}),
    "widths 12, 24, 48, 96": Variant(widths=(12, 24, 48, 96)),
    "widths 24, 48, 96, 192": Variant(widths=(24, 48, 96, 192)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/, masks/ and index.csv")
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=12000)
    parser.add_argument("--widths", type=lambda text: tuple(map(int, text.split(","))), default=(16, 32, 64, 128))
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    split = split_of(options.data)
    results = {name: kept(options.keep, name, step) for name, step in steps(split, options).items()}
    write(results, split, options)


def asked(about: str) -> argparse.Namespace:
    """Read the command line of a script that scores one model for the card."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/, masks/ and index.csv")
    parser.add_argument("--model", default="nuclei")
    warnings.simplefilter("ignore")
    return parser.parse_args()


def split_of(data: Path) -> Split:
    """Return the images to train on and those held back, as models/nuclei/train.sh parts them."""
    return held_out(list(open_collection(data)), 0.15, seed=1, stratify="kind")


def steps(split: Split, options: Any) -> dict[str, Callable[[], Scores]]:
    """Return what is to be done, by the name of its row."""

    def trained(name: str, variant: Variant, tta: bool = False) -> Callable[[], Scores]:
        return lambda: scores_of(train(name, variant, split, options), split, options.device, tta)

    made = {name: trained(name, variant) for name, variant in VARIANTS.items()}
    return made | {"as it is, all eight positions (--tta)": trained("as it is", VARIANTS["as it is"], tta=True)}


def train(name: str, variant: Variant, split: Split, options: Any) -> str:
    """Train one network, or go on with it; return its file."""
    folder = RunFolder(options.keep / name.replace(", ", "-").replace(" ", "-"))
    if (folder.path / "scores.json").exists():
        return str(folder.model)
    how = TrainOptions(
        crops=options.crops, batch_size=16, lr=0.003, ema=0.998, seed=1, device=options.device, reports=1,
        crop=CropOptions(**{**CROP, **variant.crop}),
    )  # fmt: skip
    new = NewModel("rgb", variant.widths or options.widths)
    asked = Asked(None, new, DIAMETER)
    started = time.monotonic()
    run(Split(split.train, []), folder.path, how, asked, resume=folder.config.exists())
    print(f"{name}: trained for {(time.monotonic() - started) / 60:.0f} minutes", flush=True)
    return str(folder.model)


def write(results: dict[str, Scores], split: Split, options: Any) -> None:
    """Put the table into the card: means over images, and what a row gains over the first one with its error."""
    kinds = {item.name: item.columns["kind"] for item in split.validation}
    names = sorted(kinds)
    first = np.array([results["as it is"][name] for name in names]).mean(axis=1)
    lines = []
    for row, scores in results.items():
        aps = np.array([scores[name] for name in names])
        cells = [f"{aps[:, 0].mean():.3f}", f"{aps[:, AT75].mean():.3f}", f"{aps.mean():.3f}"]
        cells += [f"{aps[[kinds[name] == kind for name in names]].mean():.3f}" for kind in sorted(set(kinds.values()))]
        gain = aps.mean(axis=1) - first
        error = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        cells.append("" if row == "as it is" else f"{gain.mean():+.3f} ± {error:.3f}")
        lines.append(f"| {row} | {' | '.join(cells)} |")
        print(lines[-1])
    widths = ", ".join(map(str, options.widths))
    header = f"""## Experiments

`benchmarks/nuclei.py`: networks of widths {widths} (where the row does not say others), trained on {options.crops:,}
crops, otherwise as the first training of `train.sh`, and scored on the images held back at their known diameters. The
last column is the gain in mean AP over the first row, with the 95 % interval over images. Each row is one short
training: what another seed would change is not in the interval, and the order may differ after as many crops as
`nuclei` has seen.

| network | AP at IoU 0.5 | at 0.75 | mean AP | {" | ".join(sorted(set(kinds.values())))} | gain |
|{"---|" * (5 + len(set(kinds.values())))}
"""
    put(header + "\n".join(lines), CARD, USE)


if __name__ == "__main__":
    main()
