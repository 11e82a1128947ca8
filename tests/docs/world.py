"""What lies in the folder that the pages speak of: small images, data sets in each form, models of Cellpose."""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
import torch
from PIL import Image

from flowseg import checkpoint, labels
from flowseg.convert import Conversion, convert
from flowseg.model_config import Architecture
from flowseg.network import Network
from flowseg.sources.data_sets import open_collection
from flowseg.synthetic import write_sartorius
from tests.docs.blocks import ROOT
from tests.networks import scrambled

EXAMPLES = ROOT / "examples"
SIDE = 112
CORNERS = {"1a1155256916": (848, 416)}  # there is nothing in its first corner


def build(folder: Path) -> None:
    """Make everything."""
    for place in (folder / "images", folder / "examples/data"):
        _crops(place, folder / "truth" if place.name == "images" else folder / "examples/masks")
    for script in EXAMPLES.glob("*.py"):
        shutil.copy(script, folder / "examples")
    _pairs(folder / "cells", 6)
    _plates(folder)
    cells = open_collection(folder / "cells")
    convert(cells, Conversion(folder / "annotated", "seg", copy_images=True))
    _sartorius(folder / "sartorius")
    convert(cells, Conversion(folder / "stage1_train", "masks", copy_images=True))
    _uneven(folder / "slide.tif")


def _crops(images: Path, masks: Path) -> None:
    """Write a corner of each example with its true masks."""
    for place in (images, masks):
        place.mkdir(parents=True, exist_ok=True)
    for path in sorted((EXAMPLES / "data").glob("*.png")):
        top, left = CORNERS.get(path.stem, (0, 0))
        part = slice(top, top + SIDE), slice(left, left + SIDE)
        Image.fromarray(_picture(path)[part]).save(images / path.name)
        truth = np.asarray(Image.open(EXAMPLES / "masks" / path.name))[part]
        Image.fromarray(labels.relabel(truth).astype(np.uint16)).save(masks / path.name)


def _picture(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def _pairs(folder: Path, count: int) -> None:
    """Write grey images with label images beside them, and a table with the kind of each."""
    folder.mkdir()
    rows = ["id,cell_type"]
    image = _picture(EXAMPLES / "data/1609b1b8480e.png").mean(axis=2).astype(np.uint8)
    truth = np.asarray(Image.open(EXAMPLES / "masks/1609b1b8480e.png"))
    for number in range(count):
        top, left = 36 * (number // 3), 36 * (number % 3)
        part = slice(top, top + SIDE), slice(left, left + SIDE)
        tifffile.imwrite(folder / f"{number}.tif", image[part])
        tifffile.imwrite(folder / f"{number}_masks.tif", labels.relabel(truth[part]).astype(np.uint16))
        rows.append(f"{number},{'ab'[number % 2]}")
    (folder.parent / "kinds.csv").write_text("\n".join(rows) + "\n")


def _plates(folder: Path) -> None:
    """Write images of two named channels in folders of folders, and a stack."""
    nuclei = tifffile.imread(folder / "cells/0.tif")
    both = np.stack([nuclei, nuclei // 2])
    for well in ("A1", "A2"):
        (folder / "plate1" / well).mkdir(parents=True)
        for number in range(2):
            tifffile.imwrite(
                folder / f"plate1/{well}/{number}.ome.tif",
                both,
                metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}},
            )
    tifffile.imwrite(folder / "stack.ome.tif", np.stack([nuclei] * 4), metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "plain.tif", both)


def _sartorius(folder: Path) -> None:
    written = write_sartorius(folder, 6, 1, test=3, shape=(96, 128))
    shutil.copy(written.truth, folder / "test_truth.csv")


def _uneven(path: Path) -> None:
    nuclei = tifffile.imread(path.parent / "cells/0.tif").astype(np.uint16)
    tifffile.imwrite(path, np.tile(nuclei * 50, (3, 4)))


# ------------------------------------------------------------------------------------------------------- models


def small_model() -> bytes:
    """Return a file of Cellpose whose network is small and knows nothing, for trainings to begin with."""
    return _saved(scrambled(Architecture(widths=(4, 8, 8, 16))).state_dict())


def cellpose_model() -> bytes:
    """Return a file as Cellpose 3 writes it whose network finds nuclei: the shipped one, with grey for its colours."""
    shipped = checkpoint.read(ROOT / "models/nuclei/nuclei.safetensors").network().state_dict()
    network = Network(Architecture())
    weights = {}
    for name, wanted in network.state_dict().items():
        given = shipped[name]
        if given.shape != wanted.shape:  # of the first layer: three colours become one channel and an unused one
            axis = 1 if given.ndim == 4 else 0
            first = given.sum(axis) if given.ndim == 4 else given.mean(axis)
            given = torch.stack([first, torch.zeros_like(first)], axis)
            if name.endswith("running_var"):
                given[1] = 1
        weights[name] = given.to(wanted.dtype)
    return _saved(weights)


def _saved(weights: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save({**weights, "diam_mean": torch.tensor([20.0]), "diam_labels": torch.tensor([20.0])}, buffer)
    return buffer.getvalue()


def cellpose_folder(folder: Path) -> None:
    """Fill Cellpose's folder of models."""
    folder.mkdir(parents=True)
    for name in ("cyto3", "CP_20240110_mine"):
        (folder / name).write_bytes(cellpose_model())
    for name in ("cyto2torch_0", "livecell_cp3"):
        (folder / name).write_bytes(small_model())


def registry_without_digests(folder: Path) -> None:
    """Copy the registry of models, so that a made-up file is taken for a model of Cellpose."""
    folder.mkdir(parents=True)
    text = (ROOT / "models/registry.toml").read_text()
    _, *models = re.split(r"(?m)^(?=\[\[model\]\])", text)
    for model in models:
        if 'kind = "cellpose"' in model:
            text = text.replace(model, re.sub(r"(?m)^(size|sha256|size_model|size_model_sha256) = .*\n", "", model))
    (folder / "registry.toml").write_text(text)
    (folder / "nuclei").symlink_to(ROOT / "models/nuclei")
