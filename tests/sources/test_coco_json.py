"""COCO files: every form of mask, crowds, scores, and all that is wrong told at once."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as pycoco

from flowseg.errors import InputError
from flowseg.instances import Instances
from flowseg.sources import coco_json
from flowseg.sources.collection import Category
from flowseg.sources.data_sets import open_collection

# pycocotools was built against an older NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE = (20, 30)
SQUARE = [2.0, 3.0, 10.0, 3.0, 10.0, 12.0, 2.0, 12.0]


def compressed(mask: np.ndarray) -> dict[str, Any]:
    rle = pycoco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def listed(mask: np.ndarray) -> dict[str, Any]:
    flat = np.concatenate([[0], mask.T.ravel().astype(np.int8), [2]])
    edges = np.flatnonzero(np.diff(flat))
    return {"size": list(mask.shape), "counts": np.diff(edges, prepend=0).tolist()}


def masks() -> np.ndarray:
    found = np.zeros((3, *SHAPE), bool)
    found[0, 3:12, 2:10] = found[1, 5:15, 8:20] = found[2, 0:4, 0:5] = True
    return found


def write(
    folder: Path, annotations: list[dict[str, Any]], *, images: object = None, with_files: bool = True, **more: Any
) -> Path:
    entries = images if images is not None else [{"id": 7, "file_name": "a.png", "height": SHAPE[0], "width": SHAPE[1]}]
    path = folder / "truth.json"
    path.write_text(json.dumps({"images": entries, "annotations": annotations, **more}))
    if with_files:
        Image.fromarray(np.zeros(SHAPE, np.uint8)).save(folder / "a.png")
    return path


def of(number: int, segmentation: object, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 7, "category_id": 1, "iscrowd": 0, "segmentation": segmentation, **more}


def test_polygons_and_both_forms_of_run_lengths(tmp_path: Path) -> None:
    truth = masks()
    write(tmp_path, [of(1, [SQUARE]), of(2, compressed(truth[1])), of(3, listed(truth[2]))])
    data = open_collection(tmp_path)
    data.require_sound()
    assert (data.format, data[0].name, data[0].path, data[0].scores) == ("coco", "a", tmp_path / "a.png", None)
    found = data[0].sample()[1]
    assert [found.mask(k).tolist() for k in range(3)] == truth.tolist()
    assert pickle.loads(pickle.dumps(data[0])).instances().areas().tolist() == found.areas().tolist()


def test_masks_of_an_image_are_read_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done for each of 300,000 polygons by itself takes a minute."""
    calls: list[int] = []
    read = coco_json.read_segmentations

    def counted(segmentations: Sequence[object], shape: tuple[int, int]) -> Instances:
        calls.append(len(segmentations))
        return read(segmentations, shape)

    monkeypatch.setattr(coco_json, "read_segmentations", counted)
    one_form = open_collection(write(tmp_path, [of(number, [SQUARE]) for number in range(9)]))
    assert (len(one_form[0].instances()), calls) == (9, [9])


def test_crowds_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, [of(1, [SQUARE]), of(2, listed(masks()[1]), iscrowd=1)])
    data = open_collection(tmp_path)
    assert (len(data[0].instances()), data[0].columns) == (1, {"crowds": "1"})
    assert data.notes == ("1 annotation is a crowd (iscrowd): several cells under one mask, left out",)


def test_polygons_of_one_or_two_corners_have_no_pixels_and_are_told(tmp_path: Path) -> None:
    """OpenCV gives such contours, of cells of one or two pixels and of crumbs beside a cell."""
    write(tmp_path, [of(1, [SQUARE, [15, 15]]), of(2, [[20, 4, 26, 9]]), of(3, [[], SQUARE])])
    data = open_collection(tmp_path)
    assert len(data.problems) == 1
    assert "a polygon is []; wanted x, y, x, y, ... of its corners" in data.problems[0]
    write(tmp_path, [of(1, [SQUARE, [15, 15]]), of(2, [[20, 4, 26, 9]])])
    data = open_collection(tmp_path)
    data.require_sound()
    found = data[0].instances()
    assert found.mask(0).tolist() == masks()[0].tolist()
    assert found.areas().tolist() == [72, 0]
    assert data.notes == (
        "2 polygons have fewer than three corners, as contours of one or two pixels have: no pixel lies in them",
    )


def test_keypoints_are_told_to_be_left_out(tmp_path: Path) -> None:
    points = [of(2, listed(masks()[1]), keypoints=[4, 5, 2]), of(3, listed(masks()[2]), keypoints=[])]
    assert open_collection(write(tmp_path, [of(1, [SQUARE]), *points])).notes == (
        "1 annotation has keypoints, which are left out",
    )


def test_columns_and_categories(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "x/a.png", "height": 20, "width": 30, "cell_type": "cort", "license": 3}]
    (tmp_path / "x").mkdir()
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(tmp_path / "x/a.png")
    kinds = [{"id": 1, "name": "cell"}, {"id": 2, "name": "nucleus", "supercategory": "organelle"}]
    path = write(tmp_path, [of(1, [SQUARE], category_id=2)], images=images, categories=kinds)
    data, cell, nucleus = open_collection(path), Category("cell", 1), Category("nucleus", 2, "organelle")
    item = data[0]
    assert (item.path, item.columns) == (tmp_path / "x/a.png", {"cell_type": "cort", "category": "nucleus"})
    assert (data.categories, item.categories) == ((cell, nucleus), (nucleus,))
    item = open_collection(write(tmp_path, [of(1, [SQUARE])], categories=kinds[:1]))[0]
    assert (item.columns, item.categories) == ({}, (cell,))
    given = [of(1, [SQUARE], category_id=None), of(2, [SQUARE], category_id=9), of(3, [SQUARE], iscrowd=1)]
    assert open_collection(write(tmp_path, given, categories=kinds))[0].categories == (None, Category("9", 9))
    assert open_collection(write(tmp_path, given[:2]))[0].categories is None


def test_names_stay_apart(tmp_path: Path) -> None:
    images = [
        {"id": number, "file_name": name, "height": 20, "width": 30}
        for number, name in enumerate(["x/a.png", "y/a.png", "b.v2.png"])
    ]
    data = open_collection(write(tmp_path, [], images=images, with_files=False))
    data.require_sound()
    assert [item.name for item in data] == ["b.v2", "x__a.png", "y__a.png"]
    assert [item.path for item in data] == [None] * 3
    assert data[0].instances().shape == SHAPE


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["A.png", "a.png", "b.png"], ["A.png__0", "a.png__1", "b"]),
        (["a.png", "a.tif", "b.png"], ["a.png", "a.tif", "b"]),
        (["x/a.png", "x/a.png", "x__a.png"], ["x__a.png__0", "x__a.png__1", "x__a"]),
        (["x/a.png", "y/a.png", "x__a.png.png"], ["x__a.png__0", "y__a.png", "x__a.png"]),
    ],
)
def test_only_names_that_clash_are_longer(tmp_path: Path, files: list[str], names: list[str]) -> None:
    images = [{"id": number, "file_name": name, "height": 20, "width": 30} for number, name in enumerate(files)]
    data = open_collection(write(tmp_path, [], images=images, with_files=False))
    assert sorted(item.name for item in data) == sorted(names)


def test_names_stay_apart_whatever_the_ids_are(tmp_path: Path) -> None:
    listed = [(0, "x/a.png"), ("0", "x/a.png"), ("/../\n", "x/a.png"), (3, "x__a.png__0.png"), (4, "A.png__4")]
    images = [{"id": number, "file_name": name, "height": 20, "width": 30} for number, name in listed]
    data = open_collection(write(tmp_path, [], images=images, with_files=False))
    assert [item.name for item in data] == sorted(
        ["x__a.png__0_", "x__a.png__0__", "x__a.png__%2F..%2F%0A", "x__a.png__0", "A.png__4"]
    )


def test_two_entries_do_not_share_an_image(tmp_path: Path) -> None:
    entry = {"height": SHAPE[0], "width": SHAPE[1]}
    images = [{**entry, "id": number, "file_name": name} for number, name in enumerate(["x/a.png", "a.png", "a.png"])]
    path = write(tmp_path, [], images=images[1:])
    twice = open_collection(path)
    assert [item.path for item in twice] == [tmp_path / "a.png"] * 2  # the same entry twice
    assert twice.notes == (
        "several entries have the file a.png: each is taken for an image of its own, with its own instances",
    )
    path = write(tmp_path, [], images=images)
    data = open_collection(path)
    assert data.problems == (f"a.png, x/a.png have one image, {tmp_path / 'a.png'}: wanted one each",)
    assert len(data) == 0


def test_detections_have_scores_in_order(tmp_path: Path) -> None:
    truth = masks()
    results = [
        {"image_id": 7, "category_id": 1, "segmentation": compressed(mask), "score": score}
        for mask, score in zip(truth, (0.25, 1.0, 0), strict=True)
    ]
    path = write(tmp_path, [of(1, [SQUARE])])
    (tmp_path / "found.json").write_text(json.dumps(results))
    data = open_collection(tmp_path / "found.json", images=path)
    data.require_sound()
    assert data[0].scores == (0.25, 1.0, 0.0)
    assert data[0].instances().areas().tolist() == truth.sum((1, 2)).tolist()
    with pytest.raises(InputError, match="a list of results, which names images by number"):
        open_collection(tmp_path / "found.json")
    with pytest.raises(InputError, match=r"several COCO files, found\.json, truth\.json"):
        open_collection(tmp_path)
    del results[1]["score"]
    (tmp_path / "found.json").write_text(json.dumps(results))
    problems = open_collection(tmp_path / "found.json", images=path).problems
    assert problems == ("annotation 2 of a: its score is None; wanted a number, as others in the file have",)


def test_all_that_is_wrong_is_told(tmp_path: Path) -> None:
    images: list[Any] = [
        {"id": 7, "file_name": "a.png", "height": 20, "width": 30},
        {"id": 8, "file_name": "../b.png", "height": 20, "width": 30},
        {"id": 9, "file_name": "x/..\\passwd", "height": 20, "width": 30},
        {"id": 7, "file_name": "c.png", "height": 20, "width": 30},
        {"id": 10, "file_name": "gone.png", "height": 20, "width": 30},
        {"id": 11, "file_name": "d.png", "height": -1, "width": 30},
        5,
    ]
    bad: list[Any] = [
        None,
        [],
        [[1, 2, 3]],
        [[1, 2, 3, 4, 5, float("nan")]],
        [["a"] * 6],
        [[0, 0, 1e12, 0, 0, 5]],
        [[0, 0, 1e308, 0, 0, 5]],
        {"size": [20, 30], "counts": "~~"},
        {"size": [30, 20], "counts": [600]},
        {"size": [20, 30], "counts": [5, -1]},
        {"counts": [600]},
    ]
    of_refused = {**of(77, [SQUARE]), "image_id": 8}  # not wrong itself
    path = write(
        tmp_path,
        [*(of(k, one) for k, one in enumerate(bad)), 5, {"image_id": 99}, of_refused],  # type: ignore[list-item]
        images=images,
    )
    data = open_collection(path)
    text = "\n".join(data.problems)
    for place in (2, 3, 4, 6, 7):
        assert f"image {place}: " in text
    for place in range(1, len(bad) + 1):
        assert f"annotation {place} (id {place - 1}) of a: " in text
    assert "annotation 12 is 5" in text
    assert "annotation 13 is of image 99, which is not there" in text
    assert "gone has no image" in text
    assert len(data.problems) == 5 + len(bad) + 2 + 1
    assert not data.items


@pytest.mark.parametrize(
    "file", ["./a.png", "/home/me/data/a.png", "JPEGImages\\a.png", "D:\\data\\a.png", "deep/er/a.png", "//a.png"]
)
def test_folders_of_another_machine_do_not_matter(tmp_path: Path, file: str) -> None:
    path = write(tmp_path, [of(1, [SQUARE])], images=[{"id": 7, "file_name": file, "height": 20, "width": 30}])
    data = open_collection(path)
    data.require_sound()
    assert (data[0].name, data[0].path) == ("a", tmp_path / "a.png")


def test_images_may_lie_in_folders_of_their_folder(tmp_path: Path) -> None:
    picture = Image.fromarray(np.zeros(SHAPE, np.uint8))
    for place in ("images/A172/a.png", "images/.old/a.png", "elsewhere/a.png"):
        (tmp_path / place).parent.mkdir(parents=True)
        picture.save(tmp_path / place)
    path = write(tmp_path, [of(1, [SQUARE])], with_files=False)
    assert open_collection(path)[0].path == tmp_path / "images/A172/a.png"
    assert open_collection(path, images=tmp_path / "elsewhere")[0].path == tmp_path / "elsewhere/a.png"
    (tmp_path / "images/B").mkdir()
    picture.save(tmp_path / "images/B/a.png")
    (problem,) = open_collection(path).problems
    assert problem.startswith("a.png has several images: ")


def test_annotations_that_are_called_otherwise_are_not_taken_for_none(tmp_path: Path) -> None:
    path = write(tmp_path, [of(1, [SQUARE])])
    path.write_text(path.read_text().replace('"annotations"', '"Annotations"'))
    assert open_collection(path, "coco").problems == ("annotations are None; wanted a list",)


def test_a_folder_of_images_that_is_none_is_told_once(tmp_path: Path) -> None:
    path = write(tmp_path, [of(1, [SQUARE])])
    for wrong in (tmp_path / "gone", path):
        with pytest.raises(InputError, match=r"(gone|truth\.json) is not a folder; wanted that of the images"):
            open_collection(path, images=wrong)


def test_ids_may_be_written_as_pandas_writes_them(tmp_path: Path) -> None:
    entry = {"id": 7.0, "file_name": "a.png", "height": 20, "width": 30}
    one = {**of(1, [SQUARE], category_id=3.0), "image_id": 7.0}
    path = write(tmp_path, [one], images=[entry], categories=[{"id": 3, "name": "large"}])
    (item,) = open_collection(path)
    assert item.categories == (Category("large", 3),)
    assert len(item.instances()) == 1


def test_halves_of_letters_are_written_as_question_marks(tmp_path: Path) -> None:
    half = "\ud800"
    entry = {"id": 7, "file_name": "a.png", "height": 20, "width": 30, half: half}
    kinds = [{"id": half, "name": half}]
    (item,) = open_collection(write(tmp_path, [of(1, [SQUARE], category_id=half)], images=[entry], categories=kinds))
    assert (item.columns, item.categories) == ({"?": "?"}, (Category("?", "?"),))


def test_where_a_name_says_comes_before_a_file_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "images/train").mkdir(parents=True)
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(tmp_path / "images/train/a.png")
    entry = {"id": 7, "file_name": "train/a.png", "height": 20, "width": 30}
    data = open_collection(write(tmp_path, [of(1, [SQUARE])], images=[entry]))  # and one beside the file
    assert data[0].path == tmp_path / "images/train/a.png"


@pytest.mark.parametrize("place", [".", "images", "images/below"])
def test_names_may_lack_the_ending_of_a_file(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(tmp_path / place / "a.v2.PNG", "PNG")
    entry = {"id": 7, "file_name": "x/a.v2", "height": 20, "width": 30}
    path = write(tmp_path, [of(1, [SQUARE])], images=[entry], with_files=False)
    assert open_collection(path)[0].path == tmp_path / place / "a.v2.PNG"
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(tmp_path / place / "a.v2.tif", "TIFF")
    (problem,) = open_collection(path).problems
    assert problem.startswith("x/a.v2 has several images: ")


def test_parts_may_be_by_their_number(tmp_path: Path) -> None:
    entries = {"7": {"id": 7, "file_name": "a.png", "height": 20, "width": 30}}
    path = write(tmp_path, {"1": of(1, [SQUARE])}, images=entries)  # type: ignore[arg-type]
    data = open_collection(path)
    data.require_sound()
    assert len(data[0].instances()) == 1


def test_the_image_says_its_size_where_its_entry_does_not(tmp_path: Path) -> None:
    path = write(tmp_path, [of(1, [SQUARE])], images=[{"id": 7, "file_name": "a.png"}])
    assert open_collection(path)[0].instances().shape == SHAPE
    (tmp_path / "a.png").unlink()
    assert open_collection(path).problems == ("a has neither height and width nor an image",)


@pytest.mark.parametrize(
    ("sides", "taken"),
    [
        ((20.0, 30.0), True),
        (("20", " 30.0"), True),
        ((20.5, 30), False),
        (("20 px", 30), False),
        ((20, None), False),
        ((20, float("nan")), False),
        ((20, True), False),
    ],
)
def test_sides_are_whole_numbers_in_any_form(tmp_path: Path, sides: tuple[object, object], taken: bool) -> None:
    entry = {"id": 7, "file_name": "a.png", "height": sides[0], "width": sides[1]}
    data = open_collection(write(tmp_path, [of(1, [SQUARE])], images=[entry], with_files=False))
    if taken:
        data.require_sound()
        assert data[0].instances().shape == SHAPE
    else:
        assert data.problems == (
            f"image 1: a.png: height and width are {sides[0]!r} and {sides[1]!r}; wanted whole numbers",
        )


@pytest.mark.parametrize("size", [[20.0, 30.0], ["20", "30.0"]])
def test_sizes_of_run_lengths_are_too(tmp_path: Path, size: list[object]) -> None:
    truth = masks()
    parts = [{**compressed(truth[1]), "size": size}, {**listed(truth[2]), "size": size}]
    data = open_collection(write(tmp_path, [of(number, part) for number, part in enumerate(parts)]))
    data.require_sound()
    np.testing.assert_array_equal([data[0].instances().mask(index) for index in range(2)], truth[1:])


@pytest.mark.parametrize("size", [[20.5, 30], [20, True], [20, "x"], [20], [20, 30, 1], "20", None, [30, 20]])
def test_sizes_of_run_lengths_that_cannot_be_are_told(tmp_path: Path, size: object) -> None:
    data = open_collection(write(tmp_path, [of(1, {**listed(masks()[0]), "size": size})]))
    assert len(data.problems) == 1
    assert "wanted two whole numbers" in data.problems[0] or "wanted that of the image" in data.problems[0]


def test_an_image_of_another_shape(tmp_path: Path) -> None:
    path = write(tmp_path, [of(1, [SQUARE])])
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / "a.png")
    assert open_collection(path).problems == ("a is said to have 20 x 30 pixels; the image has 5 x 6",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b'{"annotations": [', "cut short"),
        (b'{"annotations": []}', "has no list of images"),
        (b"7", "has no list of images"),
        (b"[" * 200_000, "not JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_collection(tmp_path / "x.json")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["size", "counts"]), inner, max_size=2),
    max_leaves=12,
)


@settings(max_examples=60)
@given(values, values)
def test_any_segmentation_is_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, segmentation: object, number: object
) -> None:
    folder = tmp_path_factory.mktemp("coco")
    path = write(folder, [of(1, segmentation), {**of(2, [SQUARE]), "image_id": number}], with_files=False)
    data = open_collection(path)
    assert len(data.problems) + sum(len(item.instances()) for item in data) >= 1
