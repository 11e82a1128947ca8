"""``flowseg evaluate``: how good predictions are."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from flowseg.cli._options import require_used
from flowseg.cli._paths import FOLDER
from flowseg.cli._progress import late_bar, late_note
from flowseg.words import many


@click.command("evaluate")
@click.argument("pred", type=click.Path(path_type=Path))
@click.argument("truth", type=click.Path(path_type=Path))
@click.option("--by", metavar="COLUMN", help="Scores for each value of a column of the truth, such as cell_type.")
@click.option("--worst", type=click.IntRange(0), default=5, show_default=True, help="How many of the worst images.")
@click.option("--overlays", type=FOLDER, help="Folder: draw the worst images.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to look through: x.html.")
@click.option("--csv", "table", type=click.Path(dir_okay=False, path_type=Path), help="Write a row for each image.")
@click.option("--json", "as_json", is_flag=True, help="Print all scores as JSON, those of each image too.")
@click.option("--missing", type=click.Choice(["error", "empty", "skip"]), default="error", show_default=True,
              help="Images that only one side has: count the other as empty, or leave them out.")  # fmt: skip
@click.option("--allow-overlap", is_flag=True, help="Score predicted instances that overlap, too.")
@click.option("--format", "format_", help="Kind of PRED, where it is not recognised: pairs, kaggle, ...")
@click.option("--truth-format", help="Kind of TRUTH, where it is not recognised.")
@click.option("--images", type=click.Path(path_type=Path),
              help="Folder of the images, where it is elsewhere; of COCO results, their COCO file.")  # fmt: skip
@click.option("--order", type=click.Choice(["row", "column"]), help="Of run-length encodings in PRED.")
@click.option("--truth-order", type=click.Choice(["row", "column"]), help="Of run-length encodings in TRUTH.")
@click.option("--recursive", is_flag=True, help="Label images in folders of folders too, matched with their folders.")
@click.option("--axes", help="Axes of TIFF files that do not say them, where images are drawn on.")
@click.option("--plane", help="Plane of images with several, as segment was told: Z=3 or Z=3,T=0.")
@click.option("--resamples", type=click.IntRange(0), default=1000, show_default=True, help="For confidence intervals.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resamples.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(pred: Path, truth: Path, **settings: Any) -> None:
    """Score predicted instances against true ones; images are matched by name.

    PRED and TRUTH are data sets of any kind: a folder of label images, a CSV of run-length encodings, COCO JSON, a
    folder with one mask a file. True instances may overlap, predicted ones must not. A submission needs no images: they
    are as large as TRUTH says.

    \b
    Examples:
      flowseg evaluate results/ data/
      flowseg evaluate submission.csv train.csv --by cell_type --missing skip
      flowseg evaluate results/ data/ --worst 10 --overlays worst --csv scores.csv
      flowseg evaluate results/ data/ --report scores.html
      flowseg evaluate plate/ truth/ --recursive      plate/A1/x_labels.tif against truth/A1/x_masks.tif
    """
    import numpy as np

    from flowseg import evaluate, files
    from flowseg.evaluate.comparison import match_names

    require_used(axes=("overlays", "report"), plane=("overlays", "report"))
    inputs = (pred, truth, settings["images"])
    for option, begins in (("table", f"{_COLUMNS[0]},{_COLUMNS[1]},".encode()), ("report", files.HTML)):
        if settings[option] is not None:
            files.check_output(settings[option], begins, inputs)
    quiet = settings["quiet"] or settings["as_json"]
    with late_note("opening both", quiet):
        predictions, truths = _open(pred, truth, settings)
    _check_apart(settings["overlays"], (predictions, truths), inputs)
    pairs = match_names(predictions, truths, settings["missing"]).both
    with late_bar("scoring", len(pairs), quiet) as step:
        scores = evaluate.compare(
            predictions,
            truths,
            group_by=settings["by"],
            missing=settings["missing"],
            allow_overlap=settings["allow_overlap"],
            rng=np.random.default_rng(settings["seed"]),
            resamples=settings["resamples"],
            progress=lambda done, total: step(done),
        )
    drawn = _draw(pairs, scores, settings)
    if settings["report"] is not None:
        _write_report(pairs, scores, (predictions.root, truths.root), settings, quiet)
    if settings["table"] is not None:
        _write(settings["table"], _rows(scores).encode())
    if settings["as_json"]:
        click.echo(json.dumps(scores.to_dict()))
    else:
        _show(scores, settings["worst"])
        if scores.overall.ap50 < _NEXT_TO_NOTHING:
            _say_order(pairs[:_LOOKED_AT], predictions, truths)
        if drawn:
            click.echo(f"{many(drawn, 'picture')} of the worst images in {settings['overlays']}")
        if settings["report"] is not None:
            click.echo(f"a page of all images, the worst first: {settings['report']}")
        if settings["table"] is not None:
            click.echo(f"scores of all images in {settings['table']}")


def _open(pred: Path, truth: Path, settings: dict[str, Any]) -> tuple[Any, Any]:
    """Open both sides; what is wrong with either is an error, unless images may be missing."""
    from flowseg.sources import coco_json, data_sets, run_results

    images, recursive = settings["images"], settings["recursive"]
    named = coco_json.is_results(pred) and images is not None and images.is_file()  # not a folder: what lists them
    of_truth = data_sets.How(images=None if named else images, order=settings["truth_order"], recursive=recursive)
    truths = data_sets.opened(truth, settings["truth_format"], of_truth, expect_labels=True)
    if coco_json.is_results(pred) and truths.format == "coco" and not named:
        images = truths.root
    elif pred.is_dir():
        images = None  # label images say their size themselves, and some images may be without
    elif images is None and not coco_json.looks_like(pred):  # a table does not say how large its images are
        folders = {item.path.parent for item in truths if item.path is not None}
        images = folders.pop() if len(folders) == 1 else None
    of_pred = data_sets.How(images=images, order=settings["order"], like=truths, recursive=recursive)
    predictions = data_sets.opened(pred, settings["format_"], of_pred, expect_labels=True)
    data_sets.How(order=settings["order"]).require_used(predictions)
    data_sets.How(order=settings["truth_order"]).require_used(truths)
    data_sets.How(images=settings["images"]).require_used(predictions, truths)
    for side in (predictions, truths):
        # What cannot be read is not empty: of the truth, it can only be left out whole.
        if settings["missing"] == "error" or not len(side) or (side is truths and settings["missing"] == "empty"):
            side.require_sound()
        for problem in side.problems[:_MOST_TOLD]:
            click.echo(f"left out: {problem}", err=True)
        if len(side.problems) > _MOST_TOLD:
            click.echo(f"left out: {len(side.problems) - _MOST_TOLD} more", err=True)
        for note in side.notes:
            click.echo(f"note: {note}", err=True)
    if run_results.wrote(truth) and not run_results.wrote(pred):
        click.echo(f"note: {truth} holds results of a run, and is taken for the truth: PRED comes first", err=True)
    return predictions, truths


def _say_order(pairs: Any, predictions: Any, truths: Any) -> None:
    """Say so where next to nothing matches because run lengths were read in the wrong order."""
    from flowseg.evaluate.order import better_otherwise

    for data, side, option in ((predictions, "prediction", "--order"), (truths, "truth", "--truth-order")):
        if data.format == "kaggle" and better_otherwise(pairs, side):
            said = f"the other way ({option} row, or {option} column)"
            click.echo(f"note: the run lengths of {data.root} match far better when they are read {said}", err=True)
            return


def _check_apart(folder: Path | None, sides: Sequence[Any], inputs: Sequence[Path | None]) -> None:
    """Refuse to draw in a folder that is read: pictures would replace what is in it, or be taken for some of it."""
    from flowseg import files
    from flowseg.errors import InputError

    images = {item.path.parent for side in sides for item in side if item.path is not None}
    if folder is not None and files.real(folder) in files.resolved([*inputs, *images]):
        raise InputError(f"{folder} is read, and pictures in it would be read too: choose another for --overlays")


def _draw(pairs: Any, scores: Any, settings: dict[str, Any]) -> int:
    """Draw the worst images, numbered from the worst; return how many."""
    folder = settings["overlays"]
    if folder is None:
        return 0
    from flowseg import colours, files
    from flowseg.evaluate import pictures
    from flowseg.names import as_one

    by_name = {pair.name: pair for pair in pairs}
    worst = scores.images[: settings["worst"]]
    files.make_folder(folder)
    for number, image in enumerate(worst, start=1):
        picture = pictures.overlay(by_name[image.name], settings["axes"], settings["plane"])
        name = f"{number:0{len(str(len(worst)))}d}_{as_one(image.name)}.png"
        _write(folder / name, colours.png(picture))
    return len(worst)


def _write_report(pairs: Any, scores: Any, roots: tuple[Path, Path], settings: dict[str, Any], quiet: bool) -> None:
    from flowseg.evaluate import report

    title = " against ".join(root.resolve().name for root in roots)
    results = roots[0] if roots[0].is_dir() else roots[0].parent
    with late_bar("drawing", len(pairs), quiet) as step:
        report.write(settings["report"], title, pairs, scores, settings["axes"], step, results, settings["plane"])


def _write(path: Path, data: bytes) -> None:
    from flowseg import files

    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, data)


_MOST_TOLD = 20
_NEXT_TO_NOTHING = 0.1  # of AP at IoU 0.5: of run lengths read in the wrong order, hardly an instance is met by chance
_LOOKED_AT = 5  # images, to see why
_COLUMNS = ("name", "group", "truths", "predicted", "map", "f1", "pq", "kaggle_map", "splits", "merges")


def _rows(scores: Any) -> str:
    """Return a CSV with a row for each image, the worst first."""
    from flowseg.metrics import KAGGLE_THRESHOLDS

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    lists = ("ap", "tp", "fp", "fn")
    writer.writerow([*_COLUMNS, *(f"{name}_{level:.2f}" for name in lists for level in KAGGLE_THRESHOLDS)])
    for image in scores.images:
        values = [getattr(image, name) for name in _COLUMNS]
        numbers = [value for name in lists for value in getattr(image, name)]
        writer.writerow([round(value, 6) if isinstance(value, float) else value for value in values + numbers])
    return text.getvalue()


_NAMES = {
    "map": "mAP, IoU 0.50 to 0.95",
    "ap50": "AP at IoU 0.5",
    "ap75": "AP at IoU 0.75",
    "f1": "F1 at IoU 0.5",
    "pq": "panoptic quality",
    "kaggle_map": "Kaggle mAP (IoU above)",
}


def _show(scores: Any, worst: int) -> None:
    """Print tables that fit 80 columns."""
    from rich.console import Console

    console = Console(highlight=False)
    overall = scores.overall
    console.print(
        f"{many(overall.images, 'image')}, {many(overall.truths, 'true instance')}, {overall.predicted} found; "
        f"{overall.splits} split, {overall.merges} merged"
    )
    for names, what in ((scores.missing_predictions, "prediction"), (scores.missing_truths, "truth")):
        if names:
            console.print(f"{many(len(names), 'image has', 'images have')} no {what}: {', '.join(names[:5])}"
                          + ", ..." * (len(names) > 5), markup=False)  # fmt: skip
    console.print(_overall_table(scores))
    if scores.groups:
        console.print(_many_table("group", list(scores.groups.values()), "group", "images"))
    if worst:
        console.print(_many_table("worst images", scores.images[:worst], "name", "truths"))


def _overall_table(scores: Any) -> Any:
    from rich import box
    from rich.table import Table

    overall = scores.overall
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", "mean of images", "95 %", "all instances"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    pooled = {"map": overall.pooled_map, "ap50": overall.pooled_ap[0], "ap75": overall.pooled_ap[5],
              "f1": overall.pooled_f1, "pq": overall.pooled_pq}  # fmt: skip
    for name, title in _NAMES.items():
        interval = overall.intervals.get(name)
        between = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
        together = f"{pooled[name]:.3f}" if name in pooled else ""
        table.add_row(title, f"{getattr(overall, name):.3f}", between, together)
    for coco in scores.coco:
        most = f"{coco.most_detections} an image" if coco.most_detections else "no limit"
        table.add_row(f"COCO mAP ({most})", "", "", f"{coco.map:.3f}")
    return table


def _many_table(title: str, rows: Any, name: str, count: str) -> Any:
    """Return a table with a row for each group or image."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=0)
    table.add_column(title, no_wrap=True, overflow="ellipsis", max_width=14 if count == "images" else 22)
    first = {"images": ("images", "true", "found"), "truths": ("true", "found")}[count]
    for heading in (*first, "mAP", "AP50", "AP75", "F1", "PQ", "split", "merged"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        counts = [row.truths, row.predicted] if count == "truths" else [row.images, row.truths, row.predicted]
        numbers = [f"{value:.3f}" for value in (row.map, row.ap50, row.ap75, row.f1, row.pq)]
        wrong = [row.splits, row.merges]
        table.add_row(Text(getattr(row, name)), *map(str, counts), *numbers, *map(str, wrong))
    return table
