"""What TensorBoard shows of a training, where it is installed; nothing where it is not."""

import importlib
import math
from pathlib import Path
from typing import Any

from flowseg.training.run_folder import Report

_TAGS = {
    "train_loss": "loss/train",
    "validation_loss": "loss/validation",
    "ap50": "validation/AP50",
    "map": "validation/mAP",
    "lr": "training/learning rate",
    "crops_per_second": "training/crops a second",
}


class Events:
    """Writes reports to the folder ``tensorboard`` of a run."""

    def __init__(self, folder: Path, after: int) -> None:
        """Begin, or go on after a step: what an earlier process wrote of later steps no longer counts."""
        self._writer: Any = None
        try:
            module: Any = importlib.import_module("torch.utils.tensorboard")
        except ImportError:
            return
        self._writer = module.SummaryWriter(folder / "tensorboard", purge_step=after + 1)

    def write(self, report: Report) -> None:
        """Add a report."""
        if self._writer is None:
            return
        for name, tag in _TAGS.items():
            value = getattr(report, name)
            if not math.isnan(value):
                self._writer.add_scalar(tag, value, report.step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
