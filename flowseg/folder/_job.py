"""What a run over a folder is to do, and what it did."""

from dataclasses import dataclass, field
from pathlib import Path

from flowseg import notebook, rle
from flowseg.errors import OptionError
from flowseg.exports import coco_json
from flowseg.folder import _results
from flowseg.folder._record import Line
from flowseg.images import parse_axes, parse_plane

_MOST_TOLD = 10  # failures and notes that a notebook shows


@dataclass(frozen=True)
class Job:
    """What a folder run is to do.

    Attributes
    ----------
    out
        Folder of results.
    save
        Which results, some of `SAVES`.
    rle_order
        "row" (Sartorius) or "column" (Data Science Bowl 2018).
    axes, plane
        Axes of TIFF files that do not say them themselves, and which slice or time of deeper ones ("Z=3").
    overwrite
        Do everything again, and replace files in the folder that no run made.
    max_bytes
        Refuse images that would take more memory than this; None: than is free.
    coco_form
        Of COCO masks, "rle" or "polygons".
    """

    out: Path
    save: tuple[str, ...] = ("labels",)
    rle_order: rle.Order = "row"
    axes: str | None = None
    plane: str | None = None
    overwrite: bool = False
    max_bytes: int | None = None
    coco_form: coco_json.Form = "rle"

    def __post_init__(self) -> None:
        save = _results.checked(self.save)
        _results.check_forms(save, self.rle_order, self.coco_form)
        if self.max_bytes is not None and self.max_bytes <= 0:
            raise OptionError(f"max_bytes is {self.max_bytes}; wanted a number of bytes above 0")
        if self.axes is not None:
            parse_axes(self.axes)
        if self.plane is not None:
            parse_plane(self.plane)
        object.__setattr__(self, "save", save)


@dataclass
class Summary:
    """What a run did: a line for each image, in order; whether it was stopped; what went wrong at its end."""

    lines: list[Line] = field(default_factory=list)
    seconds: float = 0.0
    stopped: bool = False
    problem: str | None = None

    def count(self, status: str) -> int:
        """Return how many images are "done", "kept" from an earlier run, or "failed"."""
        return sum(line["status"] == status for line in self.lines)

    def __repr__(self) -> str:
        counts = [f"{self.count(status)} {status}" for status in ("done", "kept", "failed") if self.count(status)]
        return f"Summary({', '.join(counts) or 'no images'})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a row for each image, and what went wrong."""
        columns = {
            "image": [line["name"] for line in self.lines],
            "instances": [line.get("instances", "") for line in self.lines],
            "diameter": [line.get("diameter", "") for line in self.lines],
            "": [line["status"] for line in self.lines],
        }
        facts = {name: str(self.count(name)) for name in ("done", "kept", "failed") if self.count(name)}
        told = [f"{line['name']}: {line['error']}" for line in self.lines if line["status"] == "failed"]
        told += [f"{line['name']}: {note}" for line in self.lines for note in line.get("notes", ())]
        return notebook.card("Images", facts, [notebook.table(columns)], told[:_MOST_TOLD])
