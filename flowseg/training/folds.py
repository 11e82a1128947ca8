"""The folder of trainings that share one data set, each with another part of it held back."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowseg.errors import InputError
from flowseg.files import make_folder
from flowseg.training.run_folder import RunFolder
from flowseg.words import many

_SCORES = {"ap50": "AP at IoU 0.5", "ap75": "AP at IoU 0.75", "map": "mean AP 0.5 to 0.9"}


class Folds:
    """Reads and writes ``folds.json``, and knows the runs beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def config(self) -> Path:
        """What was asked for; at the end, with the scores of all."""
        return self.path / "folds.json"

    def begin(self, command: Mapping[str, Any], resume: bool) -> None:
        """Write what was asked for; refuse a folder that holds a training, unless it is gone on with."""
        if resume:
            return
        if self.config.exists() or RunFolder(self.path).config.exists():
            raise InputError(
                f"{self.path} holds a training already: continue it with --resume {self.path}, or choose another folder"
            )
        make_folder(self.path)
        RunFolder(self.path).write_json(self.config.name, {"command": dict(command), "started_in": os.getcwd()})

    def read_config(self) -> dict[str, Any]:
        """Return what `begin` wrote."""
        return dict(json.loads(self.config.read_text(encoding="utf-8")))

    def has_begun(self, name: str) -> bool:
        """Whether the training of a fold was begun."""
        return RunFolder(self.path / name).config.exists()

    def summed_up(self, names: Sequence[str]) -> str:
        """Put the scores of all folds together, in ``folds.json`` and in words; each image was held back once."""
        rows = [json.loads((self.path / name / "scores.json").read_text(encoding="utf-8"))["rows"][0] for name in names]
        images = np.array([row["images"] for row in rows])
        means = {key: np.array([row[key][0] for row in rows]) for key in _SCORES}
        overall = {key: float(np.average(values, weights=images)) for key, values in means.items()}
        scores = {"images": int(images.sum()), **overall, "folds": dict(zip(names, rows, strict=True))}
        RunFolder(self.path).write_json(self.config.name, {**self.read_config(), "scores": scores})
        lines = [f"{len(names)} folds, {many(images.sum(), 'image')}, each scored by the model that had not seen it:"]
        for key, title in _SCORES.items():
            each = ", ".join(f"{value:.3f}" for value in means[key])
            lines.append(f"  {title:<20}{overall[key]:.3f}   ({each})")
        return "\n".join(lines) + "\n"
