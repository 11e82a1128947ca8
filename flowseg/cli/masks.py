"""``flowseg masks``: other thresholds on flows that were kept, without the network."""

import sys
from pathlib import Path

import click


@click.command("masks")
@click.argument("inputs", nargs=-1, required=True, metavar="FLOWS...", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of results.")
@click.option("--cellprob-threshold", type=float, help="Lower finds more and larger cells.")
@click.option("--flow-threshold", type=float, help="Higher keeps more cells of odd shapes; 0 keeps all.")
@click.option("--niter", type=int, help="Steps that pixels follow flows for.")
@click.option("--min-size", type=int, help="Drop cells of fewer pixels.")
def command(inputs: tuple[Path, ...], out: Path, **thresholds: float | int | None) -> None:
    """Make label images from flows that ``flowseg segment --save flows`` kept, with other thresholds.

    A threshold that is not given is the one that the image was segmented with. Results are named as those of
    ``flowseg segment`` and go to a folder of their own.

    \b
    Examples:
      flowseg masks results -o looser --cellprob-threshold -1
      flowseg masks results/a_flows.npz results/b_flows.npz -o strict --flow-threshold 0.2
    """
    from flowseg.errors import FlowsegError
    from flowseg.folder import STATE, named

    if (out / STATE).exists():
        raise click.ClickException(f"{out} holds the results of flowseg segment: choose another folder")
    paths = [path for given in inputs for path in (sorted(given.rglob("*_flows.npz")) if given.is_dir() else [given])]
    if not paths:
        raise click.ClickException(f"no *_flows.npz in {', '.join(map(str, inputs))}")
    failed = 0
    for name, path in named(list(dict.fromkeys(paths)), drop="_flows").items():
        try:
            said = _make(
                path, out / f"{name}_labels.tif", {key: it for key, it in thresholds.items() if it is not None}
            )
            click.echo(f"{name}: {said}")
        except (FlowsegError, OSError) as error:
            failed += 1
            click.echo(f"failed: {error}", err=True)
    if failed:
        click.echo(f"{failed} failed", err=True)
        sys.exit(1)


def _make(path: Path, target: Path, thresholds: dict[str, float | int]) -> str:
    """Make one label image; return what was found, in words."""
    from flowseg import files
    from flowseg.dynamics import find_masks
    from flowseg.exports import flows_file, label_tiff

    kept = flows_file.read(path)
    found = find_masks(kept.flows, kept.cellprob, kept.masks(thresholds))
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(target, label_tiff.encode(found.labels))
    removed = {
        "too large": found.too_large,
        "with flows that do not agree": found.inconsistent,
        "too small": found.too_small,
    }
    taken = ", ".join(f"{count} {why}" for why, count in removed.items() if count)
    return f"{found.labels.max(initial=0)} instances" + (f" (removed: {taken})" if taken else "")
