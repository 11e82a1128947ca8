"""``flowseg inspect``: what a data set holds, and what looks wrong in it."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from flowseg.cli._options import require_used
from flowseg.cli._progress import late_bar, late_note
from flowseg.words import many

_MOST_TOLD = 10
_MOST_SHAPES = 6


@click.command("inspect")
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "format_", help="Kind of DATA, where it is not recognised: pairs, kaggle, coco, ...")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of the images, where it is elsewhere.")
@click.option("--masks", type=click.Path(path_type=Path), help="Folder of the label images.")
@click.option("--mask-suffix", help="End of the names of label images: _masks.")
@click.option("--order", type=click.Choice(["row", "column"]), help="How a CSV counts pixels; else by its columns.")
@click.option("--axes", help="Axes of TIFF files that do not say them, for the sheet.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Read so many images and masks only, spread evenly: counts, sizes, suspicions and --report are of those. "
    "Which files belong together is looked at for all, and --sheet has --tiles.",
)
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Draw images with outlines to a PNG.")
@click.option(
    "--tiles", type=click.IntRange(1, 400), default=24, show_default=True, help="Images on the sheet, spread evenly."
)
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to look through: x.html.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def command(data: Path, as_json: bool, **settings: Any) -> None:
    """Say what a data set holds: counts, sizes, diameters by group, overlaps, suspicious masks.

    Exits with 1 where something cannot be used.

    \b
    Examples:
      flowseg inspect train.csv --images train/
      flowseg inspect stage1_train/ --sheet sheet.png
      flowseg inspect labelled/ --limit 100 --json
      flowseg inspect labelled/ --report data.html       every image, its masks and its crops, in a browser
    """
    from flowseg import files
    from flowseg.inspection import inspect, sampled
    from flowseg.sources.data_sets import open_collection

    require_used(axes=("sheet", "report"), tiles=("sheet",))
    inputs = (data, settings["images"], settings["masks"])
    for option, begins in (("sheet", files.PNG), ("report", files.HTML)):
        if settings[option] is not None:
            files.check_output(settings[option], begins, inputs)
    with late_note(f"opening {data}", as_json):
        collection = open_collection(
            data,
            settings["format_"],
            masks=settings["masks"],
            mask_suffix=settings["mask_suffix"],
            images=settings["images"],
            order=settings["order"],
        )
    if not collection.problems:
        collection.require_sound()  # there may be nothing at all
    items = sampled(collection, settings["limit"])
    with late_bar("looking", len(items), as_json) as step:
        report = inspect(collection, settings["limit"], step)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _show(report)
    if settings["sheet"] is not None and len(collection):
        _draw(collection, settings, as_json)
    if settings["report"] is not None and len(collection):
        _write_page(collection, report, settings, as_json)
    if report.problems:
        sys.exit(1)


def _write_page(collection: Any, report: Any, settings: dict[str, Any], quiet: bool) -> None:
    from flowseg.inspection import sampled
    from flowseg.report import data_page

    items = sampled(collection, settings["limit"])
    whole = report.whole
    facts = {
        "images": _read(report),
        "masks": f"{whole.instances:,}",
        "median diameter": f"{whole.diameter.median:.1f} px",
        "masks that share pixels": f"{whole.overlapping:,}",
        "problems": f"{len(report.problems):,}",
    }
    column = next(iter(report.groups), "")
    title = collection.root.resolve().name
    with late_bar("drawing", len(items), quiet) as step:
        data_page.write(settings["report"], title, items, facts, settings["axes"], column, report.problems, step)
    if not quiet:
        click.echo(f"\na page of {many(len(items), 'image')}: {settings['report']}")


def _draw(collection: Any, settings: dict[str, Any], quiet: bool) -> None:
    from flowseg import colours, contact_sheet, files
    from flowseg.inspection import sampled

    items = sampled(collection, settings["tiles"])
    with late_bar("drawing", len(items), quiet) as step:
        picture = contact_sheet.draw(items, axes=settings["axes"], tell=step)
    settings["sheet"].parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(settings["sheet"], colours.png(picture))
    if not quiet:
        click.echo(f"\n{many(len(items), 'image')} drawn in {settings['sheet']}")


def _show(report: Any) -> None:
    """Print tables that fit 80 columns."""
    whole = report.whole
    images = "image" if report.images == 1 else "images"
    click.echo(f"{report.root} ({report.format}): {_read(report)} {images}, {many(whole.instances, 'instance')}")
    click.echo(f"sizes    {_told(report.shapes)}")
    if report.types:
        click.echo(f"types    {_told(report.types)}")
    if report.empty:
        click.echo(f"{many(len(report.empty), 'image')} without instances: {', '.join(report.empty[:3])}")
    _show_groups(report)
    _show_suspicions(report)
    for note in report.notes:
        click.echo(f"\nnote: {note}")
    if report.problems:
        click.echo(f"\n{many(len(report.problems), 'problem')}:")
        for problem in report.problems[:_MOST_TOLD]:
            click.echo(f"  {problem}")
        if len(report.problems) > _MOST_TOLD:
            click.echo(f"  and {len(report.problems) - _MOST_TOLD} more (--json lists all)")


def _read(report: Any) -> str:
    """Say how many images what follows is about."""
    looked_at = f"{report.looked_at:,} of " if report.looked_at < report.images else ""
    return f"{looked_at}{report.images:,}"


def _told(counts: dict[str, int]) -> str:
    shown = [f"{text} ({count})" for text, count in list(counts.items())[:_MOST_SHAPES]]
    more = len(counts) - _MOST_SHAPES
    return "; ".join(shown) + (f" and {more} more" if more > 0 else "")


def _show_groups(report: Any) -> None:
    click.echo(f"\n{'':<16}{'images':>7}{'instances':>10} {'an image':>15} {'diameter, px':>18}{'overlapping':>12}")
    rows = [("all", report.whole)]
    for column, groups in report.groups.items():
        rows += [(f"{column}:", None), *((f"  {value or '(without)'}", group) for value, group in groups.items())]
    for name, group in rows:
        if group is None:
            click.echo(name)
            continue
        each, size = group.per_image, group.diameter
        share = group.overlapping / group.instances if group.instances else 0.0
        click.echo(
            f"{name[:15]:<16}{group.images:>7}{group.instances:>10}"
            f" {f'{each.median:.0f} ({each.low:.0f}-{each.high:.0f})':>15}"
            f" {f'{size.median:.1f} ({size.low:.1f}-{size.high:.1f})':>18}{share:>12.1%}"
        )
    click.echo("medians; in brackets 5 % to 95 %")
    if report.whole.overlapping:
        click.echo(
            f"{report.whole.overlapping} instances share pixels with others: {report.whole.shared:.2%} of all "
            "pixels inside instances"
        )


def _show_suspicions(report: Any) -> None:
    from flowseg.inspection import SUSPICIONS

    found = {name: one for name, one in report.suspicions.items() if one.count}
    if not found:
        click.echo("\nno mask looks suspicious")
        return
    click.echo("\nmasks to look at (image #number: how many):")
    for name, one in found.items():
        value = "{:.0%}" if name == "large" else "{:.0f}"
        worst = ", ".join(f"{who.image} #{who.instance}: {value.format(who.value)}" for who in one.worst[:3])
        click.echo(f"{one.count:>8} {SUSPICIONS[name][0]}\n         {worst}")
