"""``flowseg masks``: other thresholds on flows that were kept, without the network."""

import sys
from pathlib import Path
from typing import Any

import click

from flowseg.cli._paths import FOLDER, existing
from flowseg.cli._progress import failure
from flowseg.words import many


@click.command("masks")
@click.argument("inputs", nargs=-1, required=True, metavar="FLOWS...", callback=existing)
@click.option("-o", "--out", type=FOLDER, required=True, help="Folder of results.")
@click.option("--cellprob-threshold", type=float, help="Lower finds more and larger cells.")
@click.option("--flow-threshold", type=float, help="Higher keeps more cells of odd shapes; 0 keeps all.")
@click.option("--niter", type=int, help="Steps that pixels follow flows for.")
@click.option("--min-size", type=int, help="Drop cells of fewer pixels.")
@click.option("--max-size-fraction", type=float, help="Drop cells over this part of the image.")
@click.option(
    "--save",
    default="labels",
    show_default=True,
    help="Some of labels, rle, table, coco, rois, geojson, seg, outlines, parquet, with commas.",
)
@click.option("--rle-order", type=click.Choice(["row", "column"]), default="row", show_default=True, help="Of rle.")
@click.option("--polygons", is_flag=True, help="COCO with polygons instead of run lengths.")
def command(
    inputs: tuple[Path, ...], out: Path, save: str, rle_order: str, polygons: bool, **thresholds: float | int | None
) -> None:
    """Make label images from flows that 'flowseg segment --save flows' kept, with other thresholds.

    A threshold that is not given is the one that the image was segmented with. Results are named as those of
    'flowseg segment' and go to a folder of their own.

    \b
    Examples:
      flowseg masks results -o looser --cellprob-threshold -1
      flowseg masks results/a_flows.npz results/b_flows.npz -o strict --flow-threshold 0.2
      flowseg masks results -o strict --flow-threshold 0.2 --save labels,rois,table
    """
    from flowseg.folder.from_flows import remake

    paths = [path for given in inputs for path in (_below(given) if given.is_dir() else [given])]
    if not paths:
        raise click.ClickException(
            f"no *_flows.npz in {', '.join(map(str, inputs))}: 'flowseg segment --save labels,flows' keeps them"
        )
    lines = remake(
        list(dict.fromkeys(paths)),
        out,
        tuple(each.strip() for each in save.split(",")),
        "row" if rle_order == "row" else "column",
        {key: value for key, value in thresholds.items() if value is not None},
        _tell,
        "polygons" if polygons else "rle",
    )
    failed = sum(line["status"] == "failed" for line in lines)
    if failed:
        click.echo(f"{failed} failed", err=True)
        sys.exit(1)


def _below(folder: Path) -> list[Path]:
    """List the flows of a folder in the order in which a run has its images."""
    from flowseg.sources.image_files import natural_key

    return sorted(folder.rglob("*_flows.npz"), key=natural_key)


def _tell(line: dict[str, Any]) -> None:
    """Say what was found in one image, in words."""
    if line["status"] == "failed":
        click.echo(failure(line), err=True)
        return
    why = {"too_large": "too large", "inconsistent": "with flows that do not agree", "too_small": "too small"}
    taken = ", ".join(f"{count} {why[kind]}" for kind, count in line["removed"].items() if count)
    click.echo(f"{line['name']}: {many(line['instances'], 'instance')}" + (f" (removed: {taken})" if taken else ""))
