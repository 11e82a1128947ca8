"""Little data sets to read, and what they should be read as."""

import csv
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from flowseg.instances import Instances
from flowseg.sources.collection import Collection
from tests.shapes import solid_cells


def picture(path: Path, shape: tuple[int, int] = (20, 30), seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def label_image(path: Path, shape: tuple[int, int] = (20, 30), seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = solid_cells(max(shape), 8, seed=seed)[: shape[0], : shape[1]].astype(np.uint16)
    tifffile.imwrite(path, labels)
    return labels


def same(instances: Instances, labels: np.ndarray) -> bool:
    other = Instances.from_labels(labels)
    return len(instances) == len(other) and bool((instances.to_labels() == other.to_labels()).all())


def by_name(data: Collection) -> dict[str, Instances]:
    return {item.name: item.instances() for item in data}


def write_table(path: Path, header: list[str], rows: list[list[object]], **how: object) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, **how)  # type: ignore[arg-type]
        writer.writerow(header)
        writer.writerows(rows)
