"""The folder of a training: options, history, state, models, pictures. Every file in it is whole at any time."""

import csv
import io
import json
import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from flowseg.errors import InputError
from flowseg.files import in_words, make_folder, only_writer, write_whole


class Report(NamedTuple):
    """A line of the history: what was measured after so many crops.

    Attributes
    ----------
    step, crops, epoch
        How far the training was.
    train_loss, validation_loss
        Mean over the crops since the report before; over the validation crops (nan without them). The first report
        of a pretrained network, before it learns, has no training loss (nan).
    ap50, map
        Of the validation images: AP at IoU 0.5, and its mean over 0.5 to 0.9 (nan without them).
    lr, crops_per_second, seconds
        Learning rate; speed since the report before; time since the start, stops left out.
    """

    step: int
    crops: int
    epoch: float
    train_loss: float
    validation_loss: float
    ap50: float
    map: float
    lr: float
    crops_per_second: float
    seconds: float

    def text(self) -> str:
        """Return the report as a line of 80 characters at most."""
        line = f"{self.crops:>9,} crops"
        if not math.isnan(self.train_loss):
            line += f"  loss {self.train_loss:.3f}"
        if not math.isnan(self.validation_loss):
            line += f"  validation {self.validation_loss:.3f}  AP50 {self.ap50:.3f}  mAP {self.map:.3f}"
        return line if self.crops == 0 else f"{line}  {self.crops_per_second:.0f} crops/s"


class RunFolder:
    """Reads and writes the files of a training."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def config(self) -> Path:
        """What was asked for, and on what."""
        return self.path / "config.json"

    @property
    def state(self) -> Path:
        """What a training that goes on needs."""
        return self.path / "state.pt"

    @property
    def model(self) -> Path:
        """The best weights so far."""
        return self.path / "model.safetensors"

    @property
    def last(self) -> Path:
        """The weights of the last report."""
        return self.path / "last.safetensors"

    @property
    def card(self) -> Path:
        """The model card, which is written last."""
        return self.path / "MODEL_CARD.md"

    @property
    def finished(self) -> bool:
        """Whether the training came to its end, and what comes after it too."""
        return self.card.exists() and self.model.exists()

    def mine(self) -> AbstractContextManager[None]:
        """Make the folder, keep other runs out of it, and remove what one that was killed left half written."""
        make_folder(self.path)
        return only_writer(self.path)

    def require_new(self, overwrite: bool = False) -> None:
        """Refuse a folder that holds a training, or where that is to be overwritten, one that holds something else."""
        if not self.config.exists():
            return
        if overwrite:
            self.read_config()
        else:
            raise InputError(
                f"{self.path} holds a training already: continue it with --resume {self.path} (in Python resume=True), "
                "or choose another folder (in Python overwrite=True begins anew)"
            )

    def begin(self, config: dict[str, Any], overwrite: bool = False) -> None:
        """Write what was asked for, in place of an earlier training where that is to be overwritten."""
        self.require_new(overwrite)
        self._clear()
        write_whole(self.config, _json(config))

    def _clear(self) -> None:
        """Take away what an earlier training left in the folder, and nothing else."""
        if not self.config.exists():
            return
        named = (
            "history.csv",
            "curves.png",
            "scores.json",
            "thresholds.json",
            "MODEL_CARD.md",
            "cellpose_model",
            "bad_batch.npz",
        )
        own = [self.state, self.model, self.last, *(self.path / name for name in named)]
        for path in [*own, *self.path.glob("samples/*_*.png"), self.config]:
            path.unlink(missing_ok=True)

    def read_config(self) -> dict[str, Any]:
        """Return what `begin` wrote."""
        try:
            values = json.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path} is not the folder of a training: {in_words(error)}") from error
        if not isinstance(values, dict):
            raise InputError(f"{self.config} holds {type(values).__name__}; wanted the options of a training")
        return values

    def write_state(self, state: dict[str, Any]) -> None:
        """Keep what the rest of the training depends on."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_whole(self.state, buffer.getvalue())

    def read_state(self) -> dict[str, Any] | None:
        """Return the state kept last, or None where the training was stopped before the first."""
        if not self.state.exists():
            return None
        try:
            return dict(torch.load(self.state, map_location="cpu", weights_only=True))
        except Exception as error:  # torch raises many kinds for a damaged file
            raise self.unusable_state("it is damaged") from error

    def unusable_state(self, why: str) -> InputError:
        """Return the error that says that a training cannot go on, and what can be done."""
        return InputError(
            f"{self.state} cannot be gone on from: {why}. Begin again in another folder, from the weights of this one: "
            f"--pretrained {self.last}"
        )

    def write_history(self, history: list[Report]) -> None:
        """Write ``history.csv``."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(Report._fields)
        writer.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in one] for one in history)
        write_whole(self.path / "history.csv", text.getvalue().encode())

    def write_json(self, name: str, values: dict[str, Any]) -> None:
        """Write a JSON file."""
        write_whole(self.path / name, _json(values))

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file, in a folder of its own where the name says so."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file."""
        write_whole(self.path / name, text.encode())

    def keep_batch(self, **arrays: np.ndarray[Any, Any]) -> Path:
        """Keep a batch that went wrong, to be looked at."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        path = self.path / "bad_batch.npz"
        write_whole(path, buffer.getvalue())
        return path


def _json(values: dict[str, Any]) -> bytes:
    return json.dumps(values, indent=2, default=str).encode() + b"\n"
