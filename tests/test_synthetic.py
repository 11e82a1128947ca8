"""Made-up neurons look as a table of Sartorius says, and come out the same each time."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from flowseg import synthetic
from flowseg.errors import OptionError
from flowseg.sources import data_sets, image_files

SHAPE = (120, 160)


@pytest.mark.parametrize("kind", synthetic.KINDS)
def test_cells_are_solid_and_seen(kind: str) -> None:
    made = synthetic.neurons(np.random.default_rng(3), kind, SHAPE)
    assert made.image.shape == SHAPE
    for index in range(len(made.instances)):
        mask = made.instances.mask(index)
        assert ndimage.label(mask)[1] == 1
        assert (ndimage.binary_fill_holes(mask) == mask).all()
    inside = np.any([made.instances.mask(index) for index in range(len(made.instances))], axis=0)
    assert made.image[inside].std() > 1.5 * made.image[~ndimage.binary_dilation(inside, iterations=6)].std()


@pytest.mark.parametrize("kind", synthetic.KINDS)
@pytest.mark.parametrize("shape", [(32, 32), (32, 200), (64, 64), (128, 128)])
def test_small_images_have_contrast_too(kind: str, shape: tuple[int, int]) -> None:
    for seed in range(5):
        image = synthetic.neurons(np.random.default_rng(seed), kind, shape).image
        assert image.std() > 4
        assert 110 < image.mean() < 145
        assert np.count_nonzero((image == 0) | (image == 255)) == 0


def test_kinds_differ_as_the_real_ones_do() -> None:
    def sizes(kind: str) -> tuple[float, float]:
        made = [synthetic.neurons(np.random.default_rng(seed), kind).instances for seed in range(2)]
        return float(np.mean([len(each) for each in made])), float(np.median(made[0].areas()))

    (cort, small), (shsy5y, _), (astro, large) = map(sizes, ("cort", "shsy5y", "astro"))
    assert shsy5y > 3 * max(cort, astro)
    assert large > 1.5 * small
    dense = synthetic.neurons(np.random.default_rng(0), "shsy5y").instances
    assert dense.find_overlap() is not None


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthetic.write_sartorius(tmp_path / name, 3, seed, test=1, shape=SHAPE)
    tables = {name: (tmp_path / name / "train.csv").read_bytes() for name in "abc"}
    assert tables["a"] == tables["b"] != tables["c"]
    images = [{path.name: path.read_bytes() for path in (tmp_path / name / "train").iterdir()} for name in "ab"]
    assert images[0] == images[1]


def test_the_table_is_read_as_sartorius_is(tmp_path: Path) -> None:
    written = synthetic.write_sartorius(tmp_path, 3, 5, test=2, shape=SHAPE)
    with written.train.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == synthetic.COLUMNS
    data = data_sets.open_collection(written.train)
    assert {item.columns["cell_type"] for item in data} == set(synthetic.KINDS)
    for item in data:
        rng = np.random.default_rng([5, synthetic.KINDS.index(item.columns["cell_type"])])
        assert rng.bytes(6).hex() == item.name
        made = synthetic.neurons(rng, item.columns["cell_type"], SHAPE)
        truth = item.instances()
        assert [truth.mask(index).tobytes() for index in range(len(truth))] == [
            made.instances.mask(index).tobytes() for index in range(len(made.instances))
        ]
        assert (image_files.read(written.train.parent / "train" / f"{item.name}.png").pixels[0] == made.image).all()


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="kind is 'rat'"):
        synthetic.neurons(np.random.default_rng(0), "rat")
    with pytest.raises(OptionError, match="at least 32 pixels"):
        synthetic.neurons(np.random.default_rng(0), "cort", (20, 200))
    with pytest.raises(OptionError, match="0 training"):
        synthetic.write_sartorius(tmp_path, 0)
