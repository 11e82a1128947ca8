"""``flowseg convert``: instances from any format to any other."""

import sys
from pathlib import Path
from typing import Any

import click

from flowseg.cli._progress import late_bar, late_note
from flowseg.words import many

_PATH = click.Path(exists=True, path_type=Path)


@click.command("convert")
@click.argument("source", metavar="IN", type=_PATH)
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--to", default="", help="What to make (see below); without it, what the ending of OUT says.")
@click.option("--order", type=click.Choice(["row", "column"]), default="row", show_default=True, help="Of Kaggle CSV.")
@click.option("--polygons", is_flag=True, help="COCO with polygons instead of run lengths.")
@click.option(
    "--contested-to",
    type=click.Choice(["smaller", "larger", "first", "last"]),
    default="smaller",
    show_default=True,
    help="Which instance gets a pixel that several claim, in formats that cannot hold both.",
)
@click.option("--pieces", is_flag=True, help="A cell for each piece: for masks of all cells together, not told apart.")
@click.option("--copy-images", is_flag=True, help="Put the images beside what is made of them.")
@click.option("--format", "format_", help="What IN is; without it, recognised.")
@click.option("--images", type=_PATH, help="Folder of the images of IN, where they are not beside it.")
@click.option("--masks", type=_PATH, help="Folder of the label images of IN, where they are not beside the images.")
@click.option("--mask-suffix", help="What follows the name of an image in that of its label image: _masks.")
@click.option("--axes", help="Axes of TIFF files that do not say them, where images are measured or drawn on.")
@click.option("--plane", help="Plane of images with several, as segment was told: Z=3 or Z=3,T=0.")
@click.option("--in-order", type=click.Choice(["row", "column"]), help="Of run lengths in IN; without it, recognised.")
@click.option("--skip-problems", is_flag=True, help="Convert what can be read, and list what cannot.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@click.option("--quiet", is_flag=True, help="Print errors alone.")
def command(source: Path, out: Path, quiet: bool, skip_problems: bool, **settings: Any) -> None:
    """Convert instances from any format that flowseg reads to any that it writes.

    Instances that overlap stay whole where the format can hold them; label images cannot, and how many pixels were
    contested is told. Categories of instances are kept in COCO and GeoJSON.

    \b
    Examples:
      flowseg convert train.csv annotations.json --images train
      flowseg convert stage1_train labels --to labels --copy-images
      flowseg convert annotations.json submission.csv --order column
      flowseg convert labels rois --to rois                             for Fiji
      flowseg convert binary labels --to labels --pieces --copy-images  black and white masks to one number a cell

    \b
    What --to makes:
      kaggle    OUT.csv                 a row an instance, run lengths; keeps columns such as cell_type
      coco      OUT.json                COCO with run lengths, or --polygons; keeps categories
      labels    OUT/<name>_labels.tif   label images
      masks     OUT/<name>/masks/*.png  one PNG an instance
      rois      OUT/<name>_rois.zip     ImageJ and Fiji
      geojson   OUT/<name>.geojson      QuPath, with measurements and classes
      seg       OUT/<name>_seg.npy      Cellpose
      outlines  OUT/<name>_cp_outlines.txt
      overlay   OUT/<name>_overlay.png  outlines on the images;  overlay-jpeg: smaller, .jpg
      table     OUT.csv                 measurements; parquet: the same as OUT.parquet
    """
    from flowseg.convert import Conversion, convert
    from flowseg.options import OverlapOptions
    from flowseg.sources.data_sets import open_collection

    conversion = Conversion(
        out,
        settings["to"],
        settings["order"],
        "polygons" if settings["polygons"] else "rle",
        OverlapOptions(contested_to=settings["contested_to"]),
        settings["copy_images"],
        settings["pieces"],
        settings["overwrite"],
        settings["axes"],
        settings["plane"],
    )
    with late_note(f"opening {source}", quiet):
        collection = open_collection(
            source,
            settings["format_"],
            masks=settings["masks"],
            mask_suffix=settings["mask_suffix"],
            images=settings["images"],
            order=settings["in_order"],
        )
    if not quiet:
        for note in collection.notes:
            click.echo(f"note: {note}", err=True)
    if skip_problems:
        for problem in collection.problems:
            _left_out(problem)
    else:
        collection.require_sound()
    try:
        with late_bar("converting", len(collection), quiet) as step:
            told = convert(collection, conversion, step, _left_out if skip_problems else None)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
        sys.exit(130)
    if not quiet:
        _tell(told, conversion)
        _tell_categories(collection, conversion)


def _left_out(problem: str) -> None:
    click.echo(f"left out: {problem}", err=True)


def _tell(told: Any, conversion: Any) -> None:
    """Say what was made, and what overlaps cost."""
    contested = [one for one in told if one.contested]
    count = sum(one.instances for one in told)
    click.echo(f"{many(count, 'instance')} of {many(len(told), 'image')} to {conversion.out} ({conversion.to})")
    if contested:
        click.echo(
            f"{many(sum(one.contested for one in contested), 'pixel')} in {many(len(contested), 'image')}, "
            f"claimed by several instances, went to the {conversion.overlap.contested_to} one, which left "
            f"{many(sum(one.gone for one in contested), 'instance')} with none",
            err=True,
        )


def _tell_categories(collection: Any, conversion: Any) -> None:
    """Say that the format has none, where there are several."""
    names = sorted({kind.name for item in collection for kind in item.categories or () if kind is not None})
    if len(names) > 1 and conversion.to not in ("coco", "geojson"):
        click.echo(
            f"instances are of {len(names)} categories, {', '.join(names[:3])}{', ...' * (len(names) > 3)}, which "
            f"{conversion.to} does not keep for each: --to coco does",
            err=True,
        )
