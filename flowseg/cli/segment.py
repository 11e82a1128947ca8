"""``flowseg segment``: images in, instances out."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from flowseg.cli._paths import FOLDER
from flowseg.cli._progress import failure
from flowseg.words import many

_MODELS = "what the model says"  # or the group of it


@click.command("segment")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("-o", "--out", type=FOLDER, required=True, help="Folder of results.")
@click.option(
    "--model",
    "models",
    multiple=True,
    default=("nuclei",),
    show_default="nuclei",
    help="Name (see 'flowseg models list') or model file; given several times, an ensemble.",
)
@click.option("--diameter", type=float, help="Diameter of the cells in pixels; without it, estimated.")
@click.option("--channels", help="Channels for the network, by number from 0 or by name: 1,0 or GFP,DAPI.")
@click.option("--axes", help="Axes of TIFF files that do not say them: CYX, YXC, ...")
@click.option("--plane", help="Which slice or time of deeper files: Z=3 or Z=3,T=0, counted from 0.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--precision", default="auto", show_default=True, help="auto, fp32, bf16, or fp16 (GPUs).")
@click.option("--tile", type=int, help="Cut tiles of this side as Cellpose does (224); without it, as few as can be.")
@click.option("--overlap", type=float, default=0.1, show_default=True, help="Part of a tile that neighbours share.")
@click.option("--tta", is_flag=True, help="Predict every image in eight positions and take the mean.")
@click.option("--invert", is_flag=True, help="Cells are darker than what is around them.")
@click.option(
    "--percentiles",
    metavar="LOW,HIGH",
    show_default=_MODELS,
    help="Those of each channel that become 0 and 1: 1,99.",
)
@click.option("--normalise-tile", type=int, default=0, help="Normalise in blocks of this side, for uneven light.")
@click.option("--cellprob-threshold", type=float, show_default=_MODELS, help="Lower finds more and larger cells.")
@click.option(
    "--flow-threshold",
    type=float,
    show_default=_MODELS,
    help="Higher keeps more cells of odd shapes; 0 keeps all.",
)
@click.option("--group", default="", help="Thresholds of a group that the model was tuned for, such as a cell type.")
@click.option(
    "--niter", type=int, show_default="200 at the network's scale", help="Steps that pixels follow flows for."
)
@click.option("--min-size", type=int, show_default=_MODELS, help="Drop cells of fewer pixels.")
@click.option(
    "--max-size-fraction", type=float, default=0.4, show_default=True, help="Drop cells over this part of the image."
)
@click.option(
    "--save",
    default="labels",
    show_default=True,
    help="What to write, of the list above, with commas: labels,report,rois.",
)
@click.option("--rle-order", type=click.Choice(["row", "column"]), default="row", show_default=True, help="Of rle.")
@click.option("--polygons", is_flag=True, help="COCO with polygons instead of run lengths.")
@click.option("--recursive", is_flag=True, help="Look into the folders of folders too.")
@click.option("--max-memory", type=float, metavar="GIB", help="Refuse images that would take more.")
@click.option("--overwrite", is_flag=True, help="Do again what is done; replace files that no run made.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line for each image.")
@click.option("--quiet", is_flag=True, help="Print errors alone.")
def command(inputs: tuple[str, ...], out: Path, as_json: bool, quiet: bool, **settings: Any) -> None:
    """Segment images: files, folders, or patterns in quotes.

    Results are named after the images: OUT/<name>_labels.tif and so on. A run can be stopped anywhere; the same command
    goes on where it stopped, and does again what has changed.

    \b
    Examples:
      flowseg segment plate1/ -o results --model cyto3 --diameter 30
      flowseg segment "day*/*.tif" -o results --model mine --channels 1,0 --save labels,table
      flowseg segment test/ -o results --model mine --save rle      writes submission.csv
      flowseg segment plate1/ -o results --save labels,report       a page to look through, report.html
      flowseg segment plate1/ -o results --save rois,geojson        for Fiji and QuPath

    
    What --save makes:
      labels    <name>_labels.tif       label image, 16 or 32 bits
      rle       submission.csv          Kaggle run-length encodings of all images
      table     measurements.csv        a row a cell;  parquet: the same as measurements.parquet
      coco      annotations.json        COCO, all images, with run lengths or --polygons
      rois      <name>_rois.zip         ImageJ and Fiji
      geojson   <name>.geojson          QuPath, with measurements
      seg       <name>_seg.npy          Cellpose;  outlines: <name>_cp_outlines.txt
      overlay   <name>_overlay.png      outlines on the image;  overlay-jpeg: smaller, <name>_overlay.jpg
      report    report.html             a page to look through all of it, in any browser
      flows     <name>_flows.npz        for flowseg masks
    """
    try:
        summary = _run(inputs, out, as_json, quiet, settings)
    except KeyboardInterrupt:
        click.echo("stopped: the same command goes on from here", err=True)
        sys.exit(130)
    if summary.problem:
        click.echo(f"Error: {summary.problem}", err=True)
    if summary.stopped:
        click.echo("stopped: the same command goes on from here", err=True)
        sys.exit(130)
    if summary.problem or summary.count("failed"):
        sys.exit(1)


def _run(inputs: tuple[str, ...], out: Path, as_json: bool, quiet: bool, settings: dict[str, Any]) -> Any:
    from flowseg.cli.models import fetch_missing
    from flowseg.doctor import compiles_first
    from flowseg.folder import Job, run
    from flowseg.segment import load_model
    from flowseg.sources import image_files

    most = settings["max_memory"]
    job = Job(
        out,
        tuple(each.strip() for each in settings["save"].split(",")),
        settings["rle_order"],
        settings["axes"],
        settings["plane"],
        settings["overwrite"],
        None if most is None else _bytes(most),
        "polygons" if settings["polygons"] else "rle",
    )
    options = _options(settings)
    paths = image_files.find(inputs, settings["recursive"])
    fetch_missing(settings["models"], quiet or as_json)
    model = load_model(settings["models"], device=settings["device"], precision=settings["precision"])
    if not quiet and not as_json and compiles_first():
        click.echo("compiling first, half a minute; later runs start at once", err=True)
    with _Teller(len(paths), as_json, quiet) as teller:
        summary = run(model, paths, job, options, teller.tell)
    if not quiet and not as_json:
        about = model.description
        cells = sum(line["instances"] for line in summary.lines if line["status"] != "failed")
        click.echo(
            f"{many(summary.count('done'), 'image')} segmented, {summary.count('kept')} kept from earlier, "
            f"{summary.count('failed')} failed, in {summary.seconds:.1f} s "
            f"({about['engine']} on {about['device']}, {about['precision']}); {many(cells, 'cell')}; results in {out}"
        )
        if "report" in job.save and not summary.stopped and summary.problem is None:
            click.echo(f"a page to look through them, in any browser: {out / 'report.html'}")
    return summary


def _bytes(most: float) -> int:
    if not 0 < most < 2**30:
        raise click.BadParameter(f"{most:g} is not a number of GiB above 0", param_hint="--max-memory")
    return int(most * 2**30)


def _options(settings: dict[str, Any]) -> Any:
    from flowseg.options import SegmentOptions

    return SegmentOptions(
        diameter=settings["diameter"],
        channels=settings["channels"],
        tile=settings["tile"],
        overlap=settings["overlap"],
        tta=settings["tta"],
        cellprob_threshold=settings["cellprob_threshold"],
        flow_threshold=settings["flow_threshold"],
        min_size=settings["min_size"],
        group=settings["group"],
        niter=settings["niter"],
        max_size_fraction=settings["max_size_fraction"],
        percentiles=_percentiles(settings["percentiles"]),
        normalise_tile=settings["normalise_tile"],
        invert=settings["invert"],
    )


def _percentiles(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = text.split(",")
        return float(low), float(high)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not two numbers such as 1,99", param_hint="--percentiles") from None


class _Teller:
    """Shows how a run goes: a bar with rate and time left, JSON lines, or errors alone."""

    def __init__(self, total: int, as_json: bool, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.as_json, self.quiet = as_json, quiet
        self.channels = ""
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=quiet or as_json or not sys.stderr.isatty(),
        )
        self.task = self.progress.add_task("segmenting", total=total, rate="")

    def __enter__(self) -> "_Teller":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def tell(self, line: dict[str, Any]) -> None:
        speed = self.progress.tasks[0].speed
        self.progress.update(self.task, advance=1, rate=f"{speed:.1f}/s" if speed else "")
        if self.as_json:
            click.echo(json.dumps(line))
        elif line["status"] == "failed":
            self._say(failure(line))
        elif not self.quiet:
            if line["channels"] != self.channels:
                self.channels = line["channels"]
                self._say(f"channels of {line['name']} and what follows: {self.channels}")
            for note in line["notes"]:
                self._say(f"{line['name']}: {note}")

    def _say(self, text: str) -> None:
        if self.progress.disable:
            click.echo(text, err=True)
        else:
            self.progress.console.print(text, markup=False, highlight=False)
