"""Kernels mean the same compiled and as plain Python: compiled code that reads past an array would differ, or worse."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from flowseg import boundaries, dynamics, flows, labels, metrics, overlaps, rle
from flowseg.checkpoint._shapes import shapes
from flowseg.engines.winograd_engine import WinogradEngine
from flowseg.instances import Instances
from flowseg.kernels import run_shapes, runs
from flowseg.model_config import Architecture
from flowseg.options import MaskOptions, OverlapOptions
from flowseg.sources.coco_json import read_segmentations
from tests.shapes import logits, solid_cells

ROOT = Path(__file__).parents[2]


def results() -> dict[str, np.ndarray]:
    """Use every kernel once, on images small enough for an interpreter."""
    cells = solid_cells(40, 12, seed=1)
    ragged = np.zeros((40, 40), np.int32)
    ragged[np.arange(40), np.arange(40)] = 1
    ragged[2:5, 30:33], ragged[30:38, 2:10], ragged[33:35, 4:7] = 1, 2, 0
    field = flows.masks_to_flows(cells) + np.random.default_rng(0).normal(0, 0.1, (2, 40, 40)).astype(np.float32)
    instances = Instances.from_labels(ragged)
    parts = instances.starts, instances.lengths, instances.offsets
    found = metrics.overlaps(cells, np.roll(cells, 2, axis=1))
    return {
        "flows": flows.masks_to_flows(cells),
        "ragged flows": flows.masks_to_flows(ragged),
        "masks": dynamics.flows_to_masks(field, logits(cells), niter=40),
        "masks along lines": dynamics.find_masks(
            flows.masks_to_directions(cells), logits(cells), MaskOptions(niter=40, target="distance")
        ).labels,
        "clean": labels.clean(ragged, 3),
        "largest": labels.largest_piece(ragged),
        "outlines": np.concatenate([outline.points for outline in labels.outlines(ragged, all_pieces=True)]),
        "row texts": np.array(list(rle.encode_labels(cells).values())),
        "column texts": np.array(list(rle.encode_labels(cells, order="column").values())),
        "pieces": instances.pieces().offsets,
        "decoded": rle.decode_labels(rle.encode_labels(cells).values(), cells.shape),
        "coco": np.array([mask["counts"] for mask in rle.labels_to_coco(cells).values()]),
        "from coco": rle.coco_to_instances(rle.labels_to_coco(cells).values()).to_labels(),
        "boundaries": boundaries.trace(instances).points,
        "intersections": found.intersection,
        "runs": metrics.overlaps(instances, cells).intersection,
        "polygon": read_segmentations([[[2, 3, 30.5, 8, 11, 36], [5, 5, 20, 5, 20, 20]]], (40, 40)).starts,
        "shapes": run_shapes.measure(*runs.split_at_line_ends(*parts, 40), 40, 40),
        "network": network(),
        "resolved": overlaps.resolve_overlaps(instances, OverlapOptions(fill_holes=True)).labels,
    }


def network() -> np.ndarray:
    """Run a network of two levels on an image that no tile fits into."""
    architecture = Architecture(widths=(3, 5))
    rng = np.random.default_rng(0)
    weights = {name: rng.uniform(0.1, 0.5, shape).astype(np.float32) for name, shape in shapes(architecture).items()}
    return WinogradEngine(architecture, weights).run(rng.normal(size=(2, 2, 10, 14)).astype(np.float32)).maps


def test_compiled_and_interpreted_kernels_agree(tmp_path: Path) -> None:
    script = (
        "import sys, numpy; from tests.kernels.test_interpreted import results; numpy.savez(sys.argv[1], **results())"
    )
    path = tmp_path / "plain.npz"
    settings = {**os.environ, "NUMBA_DISABLE_JIT": "1", "FLOWSEG_THREADS": "1"}
    subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, env=settings, check=True)
    compiled = results()
    with np.load(path) as plain:
        assert set(plain) == set(compiled)
        for name, value in compiled.items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(plain[name], value, atol=1e-6)
            else:
                assert (plain[name] == value).all(), name
