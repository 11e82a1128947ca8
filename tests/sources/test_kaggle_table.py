"""Tables of run lengths: which column is what, what is wrong in them, and where their images are."""

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flowseg import rle
from flowseg.errors import InputError
from flowseg.sources.data_sets import open_collection
from tests.shapes import solid_cells
from tests.sources.data import by_name, picture, same, write_table

SARTORIUS = [
    "id",
    "annotation",
    "width",
    "height",
    "cell_type",
    "plate_time",
    "sample_date",
    "sample_id",
    "elapsed_timedelta",
]


def test_sartorius_with_masks_that_overlap(tmp_path: Path) -> None:
    masks = np.zeros((2, 20, 30), bool)
    masks[0, 2:10, 3:12] = masks[1, 6:15, 8:20] = True
    picture(tmp_path / "train/0030fd0e6378.png")
    about = ["cort", "11h30m00s", "2019-06-16", "cort[debris]", "0 days 11:30:00"]
    rows = [["0030fd0e6378", rle.encode(mask), 30, 20, *about] for mask in masks]
    write_table(tmp_path / "train.csv", SARTORIUS, rows)
    for path in (tmp_path / "train.csv", tmp_path):
        data = open_collection(path)
        data.require_sound()
        assert data.format == "kaggle"
        assert data[0].columns["cell_type"] == "cort"
        image, instances = data[0].sample()
        assert image.shape == (20, 30)
        assert all((instances.mask(number) == masks[number]).all() for number in range(2))
    assert pickle.loads(pickle.dumps(data[0])).instances().areas().tolist() == masks.sum((1, 2)).tolist()


@pytest.mark.parametrize("nested", [False, True])
def test_data_science_bowl_counts_down_columns(tmp_path: Path, nested: bool) -> None:
    labels = solid_cells(30, 9, seed=1)[:20]
    picture(tmp_path / ("stage1_train/abc/images/abc.png" if nested else "abc.png"))
    rows = [["abc", text] for text in rle.encode_labels(labels, order="column").values()]
    write_table(tmp_path / "stage1_train_labels.csv", ["ImageId", "EncodedPixels"], rows)
    data = open_collection(tmp_path / "stage1_train_labels.csv")
    data.require_sound()
    assert same(data[0].instances(), labels)
    other = open_collection(tmp_path / "stage1_train_labels.csv", order="row")
    assert other[0].instances().mask(0).tolist() != data[0].instances().mask(0).tolist()


def test_the_order_that_a_column_does_not_tell_is_told(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["id", "rle", "width", "height"], [["a", "1 3", 5, 4]])
    data = open_collection(tmp_path / "t.csv")
    assert data[0].instances().mask(0)[0].tolist() == [True] * 3 + [False] * 2
    (note,) = data.notes
    assert note.startswith("the column rle does not say how pixels are counted: along rows was taken")
    assert "--order column" in note
    for order in ("row", "column"):
        said = open_collection(tmp_path / "t.csv", order=order)  # type: ignore[arg-type]
        assert (said.notes, said[0].instances().mask(0)[0].sum()) == ((), 3 if order == "row" else 1)
    write_table(tmp_path / "t.csv", ["id", "annotation", "width", "height"], [["a", "1 3", 5, 4]])
    assert open_collection(tmp_path / "t.csv").notes == ()


def test_a_submission_needs_images_for_its_sizes(tmp_path: Path) -> None:
    labels = solid_cells(30, 9, seed=1)[:20]
    rows = [["x", text] for text in rle.encode_labels(labels).values()] + [["empty", ""]]
    write_table(tmp_path / "submission.csv", ["id", "predicted"], rows)
    with pytest.raises(InputError, match=r"x, empty have no image, and submission\.csv does not say"):
        open_collection(tmp_path / "submission.csv").require_sound()
    picture(tmp_path / "elsewhere/x.png")
    picture(tmp_path / "elsewhere/empty.png")
    data = open_collection(tmp_path / "submission.csv", images=tmp_path / "elsewhere")
    data.require_sound()
    assert {name: len(found) for name, found in by_name(data).items()} == {"empty": 0, "x": len(rows) - 1}
    with pytest.raises(InputError, match="not a folder"):
        open_collection(tmp_path / "submission.csv", images=tmp_path / "nowhere")


def test_bad_rows_are_listed_with_their_lines(tmp_path: Path) -> None:
    rows = [
        ["../secret", "1 2", 5, 5],
        ["a", "1 2", "five", 5],
        ["a", "1 2"],
        ["b", "1 2", 5, 5],
        ["b", "7 2", 6, 5],
        ["c", "", 5, 5],
        ["", "1 2", 5, 5],
        ["C:\\x", "1 2", 5, 5],
    ]
    write_table(tmp_path / "t.csv", ["id", "annotation", "width", "height"], rows)
    data = open_collection(tmp_path / "t.csv")
    assert [problem[:6] for problem in data.problems] == [f"line {line}" for line in (2, 3, 4, 6, 8, 9)]
    assert data.problems[3] == "line 6 (b): it says 5 x 6 pixels, earlier rows of the image 5 x 5"
    assert [item.name for item in data] == ["c"]
    assert len(data[0].instances()) == 0


@pytest.mark.parametrize("row", ["a,7 1,5", 'a,"7 1,5,5', '"a,7 1,5,5'])
def test_an_image_of_which_a_row_cannot_be_read_is_left_out_whole(tmp_path: Path, row: str) -> None:
    (tmp_path / "t.csv").write_text(f"id,annotation,width,height\na,1 2,5,5\n{row}\nb,1 2,5,5\n")
    data = open_collection(tmp_path / "t.csv")
    assert len(data.problems) == 1
    assert [item.name for item in data] == ["b"]


def test_a_wrong_code_names_its_line(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["id", "annotation", "width", "height"], [["a", "1 2", 5, 5], ["a", "24 9", 5, 5]])
    with pytest.raises(InputError, match=r"line 3 \(a\): run 1 \(24 9\) goes past the end"):
        open_collection(tmp_path / "t.csv").require_sound()


def test_tables_as_spreadsheets_write_them(tmp_path: Path) -> None:
    text = '\ufeffid,annotation,width,height\r\n"a","1 2",5,5\r\n\r\n"a","11 3",5,5\r\n'
    (tmp_path / "t.csv").write_bytes(text.encode())
    data = open_collection(tmp_path / "t.csv")
    data.require_sound()
    assert data[0].instances().areas().tolist() == [2, 3]


def test_a_very_long_code_is_read_and_the_limit_stays(tmp_path: Path) -> None:
    usual = csv.field_size_limit()
    mask = np.zeros((600, 1200), bool)
    mask[:, ::2] = True
    write_table(tmp_path / "t.csv", ["id", "annotation", "width", "height"], [["a", rle.encode(mask), 1200, 600]])
    assert (open_collection(tmp_path / "t.csv")[0].instances().mask(0) == mask).all()
    assert csv.field_size_limit() == usual


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(b"id,annotation,width,height\n" + data)
    try:
        for item in open_collection(path):
            item.instances()
    except InputError:
        pass


def test_missing_images_of_a_table(tmp_path: Path) -> None:
    rows = [[name, "1 2", 30, 20] for name in ("a", "b", "c")]
    write_table(tmp_path / "train.csv", ["id", "annotation", "width", "height"], rows)
    alone = open_collection(tmp_path / "train.csv")
    alone.require_sound()
    assert [item.path for item in alone] == [None] * 3
    picture(tmp_path / "train/a.png")
    picture(tmp_path / "train/b.png", (5, 5))
    data = open_collection(tmp_path / "train.csv")
    assert [item.name for item in data] == ["a"]
    assert data.problems == (
        f"c has no image: looked for c.png and the like in {tmp_path / 'train'}",
        "b is said to have 20 x 30 pixels; the image has 5 x 5",
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../a", "leads out"),
        ("/etc/passwd", "leads out"),
        ("x/../../a.png", "leads out"),
        ("./a", "leads out"),
        ("x//a", "leads out"),
        ("..", "leads out"),
        ("..\\a", "leads out"),
        ("C:\\x", "leads out"),
        ("C:/x", "leads out"),
        ("a\0", "not printed"),
        ("a\x1b[2J", "not printed"),
        ("\udcff", "not UTF-8"),
        ("x" * 300, "300 bytes"),
    ],
)
def test_ids_that_leave_the_folder(tmp_path: Path, name: str, why: str) -> None:
    picture(tmp_path / "train/a.png")
    text = f"id,annotation,width,height\n{name},1 2,30,20\n{name},5 2,30,20\na,1 2,30,20\n"
    (tmp_path / "train.csv").write_bytes(text.encode(errors="surrogateescape"))
    data = open_collection(tmp_path / "train.csv")
    assert [item.name for item in data] == ["a"]
    assert len(data.problems) == 1
    assert data.problems[0].startswith("line 2: the id ")
    assert why in data.problems[0]


@pytest.mark.parametrize("slash", ["/", "\\"])
def test_ids_may_name_folders_below(tmp_path: Path, slash: str) -> None:
    ids = [id_.replace("/", slash) for id_ in ("train/a.png", "val/a.png", "val/b", "c.png", "train/gone.png")]
    for name in ("train/a.png", "val/a.png", "val/b.png", "c.png"):
        picture(tmp_path / "images" / name)
    write_table(tmp_path / "t.csv", ["id", "annotation"], [[id_, f"{place + 1} 1"] for place, id_ in enumerate(ids)])
    wanted = {"train__a": "train/a.png", "val__a": "val/a.png", "b": "val/b.png", "c": "c.png"}
    for where in (None, tmp_path / "images"):
        data = open_collection(tmp_path / "t.csv", images=where)
        assert {item.name: item.path for item in data} == {n: tmp_path / "images" / p for n, p in wanted.items()}
        assert [int(item.instances().starts[0]) for item in data] == [2, 3, 0, 1]
        assert len(data.problems) == 1
        assert data.problems[0].startswith("train/gone.png has no image: looked for train/gone.png and the like in")


def test_a_table_for_spreadsheets_with_wrong_numbers(tmp_path: Path) -> None:
    rows = ['a;"1 2;30;20', "b;1 x;30;20", "c;1 2;30.0;20", "d;1 2;1e2;20", "e;0 2;30;20", "f;1 -2;30;20"]
    (tmp_path / "t.csv").write_text("\n".join(["id;annotation;width;height", *rows]))
    data = open_collection(tmp_path / "t.csv")
    assert [item.name for item in data] == ["c"]
    assert [problem[:6] for problem in data.problems] == [f"line {line}" for line in (2, 5, 3, 6, 7)]


@pytest.mark.slow
def test_a_table_of_the_size_of_sartorius_is_read_whole(tmp_path: Path) -> None:
    text = " ".join(f"{start} 11" for start in range(1, 27 * 704, 704))
    with (tmp_path / "t.csv").open("w") as file:
        file.write("id,annotation,width,height\n")
        for image in range(606):
            file.writelines(f"im{image:03d},{text},704,520\n" for _ in range(122))
    data = open_collection(tmp_path / "t.csv")
    data.require_sound()
    assert [len(item.instances()) for item in data] == [122] * 606


def test_images_that_a_table_does_not_name_are_noted(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "a_overlay"):
        picture(tmp_path / "train" / f"{name}.png")
    write_table(tmp_path / "train.csv", ["id", "annotation"], [["a", "1 3"], ["b", ""]])
    data = open_collection(tmp_path)
    assert data.problems == ()
    (note,) = data.notes
    assert note.startswith(f"1 image in {tmp_path / 'train'} left out, without a row in train.csv: c.png")
    for last in ([""], ["1 3", "too much"]):  # a row that cannot be read, and is told, names its image too
        write_table(tmp_path / "train.csv", ["id", "annotation"], [["a", "1 3"], ["b", ""], ["c", *last]])
        assert open_collection(tmp_path).notes == ()


def test_ids_that_differ_in_their_ending_are_images_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    labels = {name: solid_cells(40, 12, seed=seed) for seed, name in enumerate(("x.png", "x.tif", "y.tif", "z"))}
    rows = [(name, text) for name, one in labels.items() for text in rle.encode_labels(one).values()]
    with (tmp_path / "submission.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "predicted"), *rows])
    for name in ("x.png", "x.tif", "y.tif.png", "z.png"):
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "images" / name)
    data = open_collection(tmp_path / "submission.csv", images=tmp_path / "images")
    data.require_sound()
    found = {item.name: item.instances().to_labels() for item in data}
    assert found.keys() == labels.keys()
    for name, one in labels.items():
        assert np.array_equal(found[name] > 0, one > 0), name
    (tmp_path / "images/y.tif.png").rename(tmp_path / "images/y.png")
    named = [item.name for item in open_collection(tmp_path / "submission.csv", images=tmp_path / "images")]
    assert named == ["x.png", "x.tif", "y", "z"]


def test_values_that_are_not_utf_8_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"id,annotation,width,height,where\na,1 5,24,20,z\xfcrich\n")
    assert open_collection(tmp_path / "t.csv").problems == (
        "line 2: it holds bytes that are not UTF-8: save the table as UTF-8",
    )


def test_names_of_columns_that_are_not_utf_8_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"id,annotation,width,height,gr\xf6\xdfe\na,1 5,24,20,3\n")
    with pytest.raises(InputError, match=r"t\.csv, line 1: it holds bytes that are not UTF-8: save the table as UTF-8"):
        open_collection(tmp_path / "t.csv")
