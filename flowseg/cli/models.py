"""``flowseg models``: which models there are, which are here, and how they come here."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from flowseg.cli._paths import filled_in
from flowseg.cli._progress import FetchBar
from flowseg.words import many


@click.group("models")
def command() -> None:
    """List, fetch and verify models, and write them for Cellpose.

    A model that is needed and not here is fetched by itself; Cellpose's own folder is used in place. Folders and
    address are set by FLOWSEG_HOME, CELLPOSE_LOCAL_MODELS_PATH and FLOWSEG_MODELS_URL.

    \b
    Examples:
      flowseg models list
      flowseg models fetch cyto3 cyto2         before going offline
      flowseg models export mine.safetensors mine_cellpose
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """List every model that has a name, and where those are that are here.

    \b
    Examples:
      flowseg models list
      flowseg models list --json
    """
    from flowseg import zoo

    rows = [_row(entry) for entry in zoo.entries()]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    wide = max(len(row["name"]) for row in rows)
    for row in rows:
        here = "here" if row["path"] else "-   "
        click.echo(f"{row['name']:<{wide}}  {here}  {row['diameter']:>4g} px  {row['description']}")
    click.echo(f"\nModels are fetched to {zoo.folder()}")
    elsewhere = [row["name"] for row in rows if row["path"] and Path(row["path"]).parent == zoo.cellpose_folder()]
    if elsewhere:
        click.echo(f"Used in place from {zoo.cellpose_folder()}: {', '.join(elsewhere)}")


@command.command("show")
@click.argument("name", metavar="NAME|PATH")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show what is known of a model: files, channels, terms, whom to cite; of a file, what it says about itself.

    \b
    Examples:
      flowseg models show cyto3
      flowseg models show run/model.safetensors       network, diameter, thresholds
    """
    from flowseg import zoo

    path = zoo.existing(name)
    if path is not None:
        _show_file(path, as_json)
        return
    entry = zoo.find(name)
    row = asdict(entry) | {"path": _row(entry)["path"]}
    if as_json:
        click.echo(json.dumps(row, indent=1))
        return
    size_model = entry.size_model.name if entry.size_model else "none: the diameter is found from what is segmented"
    lines = {
        "name": ", also ".join([entry.name, ", ".join(entry.aliases)] if entry.aliases else [entry.name]),
        "what": entry.description,
        "here": row["path"] or "no",
        "file": entry.file.name + (f", {entry.file.size} bytes" if entry.file.size else ""),
        "sha256": entry.file.sha256 or "none is published: the first one seen is kept, and compared with later ones",
        "size model": size_model,
        "diameter": f"cells are resized to {entry.diameter_mean:g} pixels for the network",
        "channels": ", ".join(entry.channels),
        **_chosen_for(entry),
        "trained on": entry.data,
        "licence": f"{entry.licence}. {entry.licence_note}",
        "cite": "\n".join(entry.citations),
    }
    _print(lines)


def _show_file(path: Path, as_json: bool) -> None:
    from flowseg import zoo

    located = zoo.resolve(path)
    found = zoo.read(located)
    config, network = found.config, found.config.architecture
    if as_json:
        about = {"path": str(path), "sha256": found.digest, "format": found.source}
        click.echo(json.dumps(about | config.to_dict(), indent=1))
        return
    said = "" if found.diameter_known else ", as is assumed: the file does not say"
    missing = [name for name in ("residual", "style") if not getattr(network, name)]
    lines = {
        "name": config.name or "the file does not say",
        "file": f"{path}, {path.stat().st_size} bytes, of {found.source} {config.flowseg_version}".rstrip(),
        "sha256": found.digest,
        "size model": located.size_model_path or "none: the diameter is found from what is segmented",
        "network": f"{many(network.channels, 'channel')} in, {many(network.outputs, 'map')} out, "
        f"{network.kernel} x {network.kernel} kernels, levels of {', '.join(map(str, network.widths))}"
        + "".join(f", not {name}" for name in missing),
        "diameter": f"cells are resized to {config.diameter_mean:g} pixels for the network{said}",
        "channels": ", ".join(config.channel_names) or "the file does not say",
        "flows": f"target {config.target}",
        **_all_thresholds(config),
        "trained on": config.training_data,
        "licence": config.licence,
        "cite": config.citation,
    }
    _print({key: value for key, value in lines.items() if value})


def _chosen_for(entry: Any) -> dict[str, str]:
    """Return the thresholds in the file of a model of flowseg's own; those of Cellpose hold none."""
    from flowseg import zoo

    if entry.kind != "shipped" or zoo.where(entry) is None:
        return {}
    return _all_thresholds(zoo.read(zoo.resolve(entry.name)).config)


def _all_thresholds(config: Any) -> dict[str, str]:
    """Return thresholds as lines: those for all images, and those of each group."""
    groups = {f"  {name}": _thresholds(own) for name, own in config.group_thresholds.items()}
    return {"thresholds": _thresholds(config), **groups}


def _thresholds(own: Any) -> str:
    """Return what is chosen for images, or a group of them, where nothing else is asked for."""
    diameter = f"{own.diameter:g} pixels" if own.diameter else "estimated from each image"
    return (
        f"cell probability {own.cellprob_threshold:g}, flow error {own.flow_threshold:g}, smallest {own.min_size} "
        f"pixels, diameter {diameter}"
    )


def _print(lines: Mapping[str, object]) -> None:
    width = max(map(len, lines))
    for key, value in lines.items():
        below = str(value).replace("\n", "\n" + " " * (width + 2))
        click.echo(f"{key:<{width}}  {below}")


@command.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--url", help="Base address to fetch from, such as an institute's mirror (or set FLOWSEG_MODELS_URL).")
def fetch(names: tuple[str, ...], url: str | None) -> None:
    """Fetch models and their size models, unless they are here.

    A download that was cut goes on where it stopped. Without a network, the message says which file to put where.

    \b
    Examples:
      flowseg models fetch cyto3
      flowseg models fetch cyto2 cellpose/nuclei --url https://mirror.example.org/cellpose/
    """
    from flowseg import zoo

    entries = [zoo.find(name) for name in names]
    for entry in entries:
        with FetchBar() as bar:
            located = zoo.fetch(entry.name, url=url, progress=bar.tell)
        click.echo(f"{entry.name}: {located.path}")


@command.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME|PATH...]")
def verify(names: tuple[str, ...]) -> None:
    """Check models against their digests, and read files that are no model's of the list; without names, all here.

    \b
    Examples:
      flowseg models verify
      flowseg models verify cyto3
      flowseg models verify run/model.safetensors
    """
    from flowseg import zoo
    from flowseg.errors import ModelError

    failed = False
    chosen = [(name, zoo.existing(name)) for name in filled_in(names)]
    if not names:
        chosen = [(entry.name, None) for entry in zoo.entries() if zoo.where(entry)]
    for name, path in chosen:
        begins = "" if path else f"{name}: "  # what is said of a file names it
        try:
            for each in [zoo.verify_file(path)] if path else zoo.verify(name):
                click.echo(f"{begins}{each.path} {_VERDICTS[each.against]} ({each.sha256})")
        except ModelError as error:
            click.echo(f"{begins}{error}", err=True)
            failed = True
    if not chosen:
        click.echo("no model is here")
    if failed:
        sys.exit(1)


_VERDICTS = {
    "registry": "is right",
    "first seen": "is the one first seen",
    "nothing": "has no digest to compare with",
    "its header": "reads whole, and has no digest to compare with",
}


@command.command("export")
@click.argument("model", metavar="NAME|PATH")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
def export(model: str, out: Path, overwrite: bool) -> None:
    """Write a model as a file of Cellpose, or of flowseg where OUT ends in .safetensors.

    \b
    Examples:
      flowseg models export run/model.safetensors mine        opens in Cellpose 2 and 3
      flowseg models export cyto3 cyto3.safetensors           with its diameter, terms and citation inside
    """
    from flowseg import checkpoint, zoo
    from flowseg.errors import InputError

    if out.exists() and not overwrite:
        raise InputError(f"{out} is there already: choose another name, or replace it with --overwrite")
    with FetchBar() as bar:
        located = zoo.resolve(model, progress=bar.tell)
    found = zoo.read(located)
    write = checkpoint.write_flowseg if out.suffix.lower() == ".safetensors" else checkpoint.write_cellpose
    digest = write(out, found.config, found.arrays)
    click.echo(f"{out}: sha256 {digest}")
    inputs = found.config.architecture.channels
    if write is checkpoint.write_cellpose and inputs != 2:
        click.echo(
            f"note: the network takes {many(inputs, 'channel')}; Cellpose opens it from Python alone, with "
            f"nchan={inputs}: "
            f'models.CellposeModel(pretrained_model="{out}", nchan={inputs})'
        )


def _row(entry: Any) -> dict[str, Any]:
    from flowseg import zoo

    path = zoo.where(entry)
    return {
        "name": entry.name,
        "path": str(path) if path else None,
        "diameter": entry.diameter_mean,
        "size_model": entry.size_model.name if entry.size_model else None,
        "licence": entry.licence,
        "description": entry.description,
    }


def fetch_missing(names: Sequence[str], quiet: bool = False) -> None:
    """Fetch those of the models named that are not here, so that it shows."""
    from flowseg import zoo

    for name in names:
        with FetchBar(quiet) as bar:
            zoo.resolve(name, progress=bar.tell)
