"""The command that scores predictions."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from PIL import Image

from flowseg import evaluate, metrics, rle
from flowseg.cli import main
from tests.shapes import solid_cells

COUNT = 4


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Truth in two folders, the same as a Kaggle table, and predictions that get worse from image to image."""
    for folder in ("truth/images", "truth/masks", "pred"):
        (tmp_path / folder).mkdir(parents=True)
    rows, codes = [], []
    for number in range(COUNT):
        labels = solid_cells(70, 16, seed=number)
        found = np.roll(labels, number, axis=1)
        Image.fromarray((labels % 200 + 50).astype(np.uint8)).save(tmp_path / f"truth/images/im{number}.png")
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / f"truth/masks/im{number}.png")
        Image.fromarray(found.astype(np.uint8)).save(tmp_path / f"pred/im{number}_labels.png")
        kind = "round" if number % 2 else "long"
        rows += [(f"im{number}", text, 70, 70, kind) for text in rle.encode_labels(labels).values()]
        codes += [(f"im{number}", text) for text in rle.encode_labels(found).values()]
    write(tmp_path / "train.csv", ("id", "annotation", "width", "height", "cell_type"), rows)
    write(tmp_path / "submission.csv", ("id", "predicted"), codes)
    return tmp_path


def write(path: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def test_the_tables_fit_80_columns(data: Path) -> None:
    result = run(data / "submission.csv", data / "train.csv", "--images", data / "truth/images", "--by", "cell_type")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("4 images, ")
    for word in ("mAP", "panoptic quality", "Kaggle", "round", "long", "worst images", "im3"):
        assert word in result.output, word
    assert "…" not in result.output


def test_large_numbers_and_long_names_fit(capsys: pytest.CaptureFixture[str]) -> None:
    from flowseg.cli import evaluate as command
    from flowseg.evaluate import records

    image = records.ImageScore("a" * 40, "g" * 40, 99999, 99999, *[(1,) * 10] * 4, 1.0, 1.0, 1.0, 1.0, 9999, 9999)
    names = ("f1", "pq", "kaggle_map", "pooled_map", "pooled_f1", "pooled_pq", "map", "ap50", "ap75")
    means = dict.fromkeys(names, 1.0)
    group = records.Summary(
        group="g" * 40, images=9999, truths=999999, predicted=999999, splits=99999, merges=99999,
        ap=(1.0,) * 10, pooled_ap=(1.0,) * 10, intervals={"map": (0.0, 1.0)}, **means,
    )  # fmt: skip
    command._show(records.Scores(group, {"g" * 40: group}, (image,)), 5)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for word in ("merged", "split", "999999", "99999", "g…", "a…"):
        assert word in shown, word


def test_json_holds_the_scores_and_nothing_else_is_printed(data: Path) -> None:
    result = run(data / "pred", data / "truth", "--json", "--resamples", 50)
    assert result.exit_code == 0, result.output
    scores = json.loads(result.output)
    truths = [solid_cells(70, 16, seed=number) for number in range(COUNT)]
    preds = [np.roll(labels, number, axis=1) for number, labels in enumerate(truths)]
    assert scores["overall"]["kaggle_map"] == pytest.approx(metrics.kaggle_map(truths, preds))
    assert [image["name"] for image in scores["images"]] == ["im3", "im2", "im1", "im0"]
    assert set(scores["overall"]["intervals"]) >= {"map", "pq", "f1"}
    assert scores == json.loads(run(data / "pred", data / "truth", "--json", "--resamples", 50).output)


def test_any_two_kinds_score_the_same(data: Path) -> None:
    pairs = [("pred", "truth"), ("submission.csv", "truth"), ("pred", "train.csv")]
    results = [json.loads(run(data / pred, data / truth, "--json").output)["overall"] for pred, truth in pairs]
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_coco_says_how_large_images_are_whatever_files_the_truth_has(data: Path, ending: str) -> None:
    """With other files in the truth it was said that images are missing; of the same names they are found there."""
    sizes = {"height": 70, "width": 70}
    listed = [{"id": number, "file_name": f"im{number}.{ending}", **sizes} for number in range(COUNT)]
    annotations = []
    for number in range(COUNT):
        found = np.roll(solid_cells(70, 16, seed=number), number, axis=1)
        for segmentation in rle.labels_to_coco(found, "list").values():
            annotations.append({"id": len(annotations) + 1, "image_id": number, "segmentation": segmentation})
    (data / "coco").mkdir()
    (data / "coco/pred.json").write_text(json.dumps({"images": listed, "annotations": annotations}))
    result = run(data / "coco/pred.json", data / "truth", "--json")
    assert result.exit_code == 0, result.output
    expected = run(data / "pred", data / "truth", "--json")
    assert json.loads(result.output)["overall"]["map"] == json.loads(expected.output)["overall"]["map"]


@pytest.mark.parametrize("truth", ["train.csv", "masks"])
def test_a_submission_needs_no_images_where_the_truth_says_their_size(data: Path, truth: str) -> None:
    with_images = run(data / "submission.csv", data / "train.csv", "--images", data / "truth/images", "--json")
    (data / "truth/masks").rename(data / "masks")
    result = run(data / "submission.csv", data / truth, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["overall"] == json.loads(with_images.output)["overall"]
    scores = evaluate.compare(data / "submission.csv", data / truth)
    assert scores.overall.kaggle_map == json.loads(result.output)["overall"]["kaggle_map"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pred", "truth", "--order", "row"), "pred (read as pairs) has no use for an order of run lengths"),
        (("pred", "truth", "--truth-order", "row"), "truth (read as pairs) has no use for an order of run lengths"),
        (("pred", "truth", "--axes", "YX"), "--axes is for --overlays or --report: give that too, or leave it out"),
        (("pred", "truth", "--plane", "Z=1"), "--plane is for --overlays or --report"),
    ],
)
def test_what_nothing_would_read_is_refused(data: Path, words: tuple[str, ...], message: str) -> None:
    result = run(*(data / word if (data / word).exists() else word for word in words))
    assert result.exit_code != 0
    assert message in " ".join(result.output.split())


def test_what_one_side_reads_is_of_use(data: Path) -> None:
    for words in (("train.csv", "pred", "--order", "row"), ("pred", "train.csv", "--truth-order", "row")):
        result = run(data / words[0], data / words[1], *words[2:])
        assert result.exit_code == 0, result.output


def test_a_row_for_each_image(data: Path) -> None:
    result = run(data / "pred", data / "truth", "--csv", data / "new/scores.csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader((data / "new/scores.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["im3", "im2", "im1", "im0"]
    assert (rows[-1]["map"], rows[-1]["ap_0.95"], rows[-1]["fn_0.50"]) == ("1.0", "1.0", "0")
    assert int(rows[0]["tp_0.75"]) + int(rows[0]["fn_0.75"]) == int(rows[0]["truths"])


def test_pictures_of_the_worst(data: Path) -> None:
    result = run(data / "pred", data / "truth", "--worst", 2, "--overlays", data / "worst")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (data / "worst").iterdir()) == ["1_im3.png", "2_im2.png"]
    with Image.open(data / "worst/1_im3.png") as picture:
        assert picture.size[0] >= 1400
    assert "2 pictures of the worst images" in " ".join(result.output.split())


def test_pictures_have_names_that_windows_takes(tmp_path: Path) -> None:
    """Ids of tables may hold anything."""
    for name, columns in (("pred", "id,predicted\n{}"), ("truth", "id,annotation,width,height\n{},20,20")):
        (tmp_path / f"{name}.csv").write_text(columns.format("a?b|c,5 5 25 5") + "\n")
    result = run(tmp_path / "pred.csv", tmp_path / "truth.csv", "--overlays", tmp_path / "worst")
    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "worst").iterdir()] == ["1_a_b_c.png"]


def test_missing_images(data: Path) -> None:
    (data / "pred/im2_labels.png").unlink()
    refused = run(data / "pred", data / "truth")
    assert refused.exit_code == 1
    assert "without a prediction (1): im2" in refused.output
    assert "--missing skip" in refused.output
    skipped = run(data / "pred", data / "truth", "--missing", "skip")
    assert "1 image has no prediction: im2" in skipped.output
    assert "3 images, " in skipped.output
    empty = json.loads(run(data / "pred", data / "truth", "--missing", "empty", "--json").output)
    assert {image["name"]: image["predicted"] for image in empty["images"]}["im2"] == 0


def test_run_lengths_in_the_wrong_order_are_told(data: Path) -> None:
    rows = [
        (f"im{number}", text)
        for number in range(COUNT)
        for text in rle.encode_labels(solid_cells(70, 16, seed=number), order="column").values()
    ]
    write(data / "down.csv", ("id", "predicted"), rows)
    wrong = run(data / "down.csv", data / "train.csv", "--images", data / "truth/images")
    assert f"the run lengths of {data / 'down.csv'} match far better when they are read the other way" in wrong.output
    right = run(data / "down.csv", data / "train.csv", "--images", data / "truth/images", "--order", "column")
    assert "far better" not in right.output
    turned = run(data / "pred", data / "train.csv", "--truth-order", "column")
    assert "read the other way (--truth-order row" in turned.output


def test_predictions_that_overlap(data: Path) -> None:
    with (data / "submission.csv").open("a") as file:
        file.write("im1,1 4000\n")
    refused = run(data / "submission.csv", data / "truth")
    assert refused.exit_code == 1
    assert "overlap in 1 of 4 images" in refused.output
    assert "im1: instances" in refused.output
    assert run(data / "submission.csv", data / "truth", "--allow-overlap").exit_code == 0


def test_problems_of_a_side_are_told(data: Path) -> None:
    (data / "truth/masks/im0.png").unlink()
    refused = run(data / "pred", data / "truth")
    assert refused.exit_code == 1
    assert "im0.png has no masks" in refused.output
    allowed = run(data / "pred", data / "truth", "--missing", "skip")
    assert allowed.exit_code == 0
    assert "left out: " in allowed.output


def test_results_of_a_run_in_place_of_the_truth_are_told(data: Path) -> None:
    told = "holds results of a run, and is taken for the truth: PRED comes first"
    (data / "pred/run.jsonl").touch()
    (data / "other").mkdir()
    (data / "pred/submission.csv").write_bytes((data / "submission.csv").read_bytes())
    assert f"note: {data / 'pred'} {told}" in run(data / "truth", data / "pred").output
    assert told not in run(data / "pred", data / "truth").output
    assert told not in run(data / "pred/submission.csv", data / "pred").output  # of two runs, either may come first


def test_what_is_not_there(data: Path) -> None:
    result = run(data / "nowhere", data / "truth")
    assert result.exit_code == 1
    assert "nowhere does not exist" in result.output
    result = run(data / "pred", data / "truth", "--by", "kind")
    assert result.exit_code == 1
    assert "no column 'kind'" in result.output


def test_nothing_that_is_read_is_written_over(data: Path) -> None:
    truth, image = data / "truth/masks/im0.png", data / "truth/images/im0.png"
    table, page = data / "scores.csv", data / "page.html"
    before = {path: path.read_bytes() for path in (truth, image, data / "submission.csv", data / "train.csv")}
    asked = [("--csv", path) for path in before] + [("--report", path) for path in before]
    for option, path in asked:
        result = run(data / "pred", data / "truth", option, path)
        assert result.exit_code == 1, path
        assert f"{path}" in result.output
    for folder in (data / "pred", data / "truth", image.parent):
        result = run(data / "pred", data / "truth", "--overlays", folder)
        assert f"{folder} is read, and pictures in it would be read too" in result.output
        assert not list(folder.glob("1_*"))
    predicted = data / "submission.csv"
    result = run(predicted, data / "train.csv", "--images", image.parent, "--csv", predicted)
    assert "would be replaced while it is read" in result.output
    assert {path: path.read_bytes() for path in before} == before
    for _ in range(2):  # its own are replaced
        result = run(data / "pred", data / "truth", "--csv", table, "--report", page)
        assert result.exit_code == 0, result.output


def test_truth_that_cannot_be_read_is_not_taken_for_empty(data: Path) -> None:
    with (data / "train.csv").open("a") as file:
        file.write("im0,9 9 9,70,70,long\n")
    words = [data / "submission.csv", data / "train.csv", "--images", data / "truth/images"]
    result = run(*words, "--missing", "empty")
    assert result.exit_code == 1
    assert "(im0): run 2 (9) starts before" in result.output
    assert run(*words, "--missing", "skip").exit_code == 0


def test_a_list_of_results_takes_its_images_from_the_truth_or_from_a_file_that_is_named(data: Path) -> None:
    listing, results = data / "t.json", data / "r.json"
    words = ["convert", str(data / "train.csv"), str(listing), "--images", str(data / "truth/images")]
    assert CliRunner().invoke(main, words).exit_code == 0
    content = json.loads(listing.read_text())
    results.write_text(json.dumps([{**each, "score": 0.5} for each in content["annotations"]]))
    for words in ((listing,), (data / "train.csv", "--images", listing), (data / "truth", "--images", listing)):
        result = run(results, *words, "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["overall"]["kaggle_map"] == 1
    assert "give the COCO file of the images with --images" in run(results, data / "train.csv").output


def test_folders_below_are_matched_with_their_folders(data: Path) -> None:
    flat = {each["name"]: each for each in json.loads(run(data / "pred", data / "truth", "--json").output)["images"]}
    for number in range(COUNT):
        below = f"p{number % 2}"  # the same name in both
        for source, target in (
            (f"pred/im{number}_labels.png", f"nested/pred/{below}/{number // 2}_labels.png"),
            (f"truth/images/im{number}.png", f"nested/truth/{below}/images/{number // 2}.png"),
            (f"truth/masks/im{number}.png", f"nested/truth/{below}/masks/{number // 2}.png"),
            (f"truth/masks/im{number}.png", f"nested/alone/{below}/{number // 2}.png"),
        ):
            (data / target).parent.mkdir(parents=True, exist_ok=True)
            (data / target).write_bytes((data / source).read_bytes())
    (data / "nested/pred/p0/loop").symlink_to(data / "nested/pred", target_is_directory=True)
    pred, worst = data / "nested/pred", data / "worst"
    assert "or take all their label images with --recursive" in run(pred, data / "nested/truth").output
    for truth in (data / "nested/truth", data / "nested/alone"):
        nested = run(pred, truth, "--recursive", "--json", "--overlays", worst, "--worst", 1)
        assert nested.exit_code == 0, nested.output
        found = {each["name"]: each for each in json.loads(nested.output)["images"]}
        wanted = {"p0/0": "im0", "p1/0": "im1", "p0/1": "im2", "p1/1": "im3"}
        assert found == {name: {**flat[old], "name": name} for name, old in wanted.items()}
    assert [path.name for path in worst.iterdir()] == ["1_p1__1.png"]
    for number in range(COUNT):
        image = data / f"nested/images/p{number % 2}/{number // 2}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes((data / f"truth/images/im{number}.png").read_bytes())
    made = {"images": [], "categories": [], "annotations": []}
    for place, name in enumerate(wanted):  # two files are called 0.png, two 1.png
        made["images"].append({"id": place, "file_name": f"{name}.png", "height": 70, "width": 70})
    (data / "nested/coco.json").write_text(json.dumps(made))
    words = (data / "nested/coco.json", data / "nested/alone", "--recursive")
    assert "some are on one side alone" in run(*words).output
    by_file = run(*words, "--images", data / "nested/images", "--json")
    assert {each["name"] for each in json.loads(by_file.output)["images"]} == set(wanted)
    (data / "nested/truth/p0/images/more.png").write_bytes((data / "truth/images/im0.png").read_bytes())
    assert (
        f"{data}/nested/truth/p0: more.png has no masks more" in run(pred, data / "nested/truth", "--recursive").output
    )
    (data / "nested/pred/p2").mkdir()
    (data / "nested/pred/p2/picture.png").write_bytes((data / "truth/images/im0.png").read_bytes())
    left = run(pred, data / "nested/alone", "--recursive")
    assert f"no label images are known by their names in {pred / 'p2'}: left out" in left.output
    (data / "empty").mkdir()
    assert "the folders below it have no label images" in run(data / "empty", data / "truth", "--recursive").output


def test_results_of_images_in_folders_of_their_own_meet_masks_a_file(data: Path) -> None:
    """The layout of the Data Science Bowl 2018, segmented with --recursive."""
    truth, pred = data / "stage1_train", data / "bowl"
    lines = []
    for number in range(2):
        image, name = data / f"truth/images/im{number}.png", f"im{number}/images/im{number}"
        labels = np.array(Image.open(data / f"truth/masks/im{number}.png"))
        for below in (truth / f"im{number}/images", truth / f"im{number}/masks", (pred / name).parent):
            below.mkdir(parents=True)
        (truth / f"{name}.png").write_bytes(image.read_bytes())
        for label in np.unique(labels[labels > 0]):
            Image.fromarray((labels == label).astype(np.uint8)).save(truth / f"im{number}/masks/{label}.png")
        tifffile.imwrite(pred / f"{name}_labels.tif", labels.astype(np.uint16))
        lines.append(json.dumps({"name": name, "source": str(truth / f"{name}.png")}))
    (pred / "run.jsonl").write_text("\n".join(lines))
    assert "results of a run in the folders of folders: take them with --recursive" in run(pred, truth).output
    result = run(pred, truth, "--recursive", "--json")
    assert result.exit_code == 0, result.output
    scores = json.loads(result.output)
    assert {each["name"] for each in scores["images"]} == {"im0", "im1"}
    assert scores["overall"]["kaggle_map"] == 1


def test_stacks_are_drawn_on_by_plane(data: Path) -> None:
    for path in sorted((data / "truth/images").iterdir()):
        picture = np.asarray(Image.open(path))
        tifffile.imwrite(path.with_suffix(".tif"), np.stack([picture * 0, picture]), metadata={"axes": "ZYX"})
        path.unlink()
    given = (
        data / "pred",
        data / "truth",
        "--worst",
        1,
        "--report",
        data / "scores.html",
        "--overlays",
        data / "worst",
    )
    assert "plane" in run(*given).output
    drawn = []
    for plane in ("Z=0", "Z=1"):
        result = run(*given, "--plane", plane)
        assert result.exit_code == 0, result.output
        views = sorted((data / "scores_files").iterdir())
        drawn.append([path.read_bytes() for path in (*views, *(data / "worst").iterdir())])
    assert len(drawn[0]) == COUNT + 1
    assert all(one != other for one, other in zip(*drawn, strict=True))
