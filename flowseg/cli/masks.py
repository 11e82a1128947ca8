"""``flowseg masks``: other thresholds on flows that were kept, without the network."""

from pathlib import Path

import click


@click.command("masks")
@click.argument("inputs", nargs=-1, required=True, metavar="FLOWS...", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of results.")
@click.option("--cellprob-threshold", type=float, default=0.0, show_default=True)
@click.option("--flow-threshold", type=float, default=0.4, show_default=True)
@click.option("--niter", type=int, default=200, show_default=True)
@click.option("--min-size", type=int, default=15, show_default=True)
def command(
    inputs: tuple[Path, ...],
    out: Path,
    cellprob_threshold: float,
    flow_threshold: float,
    niter: int,
    min_size: int,
) -> None:
    """Make label images from flows that ``flowseg segment --save flows`` kept, with other thresholds.

    \b
    Examples:
      flowseg masks results/*_flows.npz -o looser --cellprob-threshold -1
      flowseg masks results -o strict --flow-threshold 0.2
    """
    from flowseg import files
    from flowseg.dynamics import find_masks
    from flowseg.exports import flows_file, label_tiff
    from flowseg.options import MaskOptions

    options = MaskOptions(cellprob_threshold, flow_threshold, niter, min_size)
    paths = [path for given in inputs for path in (sorted(given.rglob("*_flows.npz")) if given.is_dir() else [given])]
    if not paths:
        raise click.ClickException(f"no *_flows.npz in {', '.join(map(str, inputs))}")
    out.mkdir(parents=True, exist_ok=True)
    for path in paths:
        kept = flows_file.read(path)
        found = find_masks(kept.flows, kept.cellprob, options)
        name = path.name.removesuffix(".npz").removesuffix("_flows")
        files.write_whole(out / f"{name}_labels.tif", label_tiff.encode(found.labels))
        click.echo(f"{name}: {found.labels.max(initial=0)} instances")
