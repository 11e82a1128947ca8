"""``flowseg train``: images and masks in, a model out."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

_AUGMENT = "rotate, flip, scale, elastic, contrast, brightness, colour, gamma, noise, blur, drop, invert"


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the run; a new one.")
@click.option("--resume", type=click.Path(file_okay=False, path_type=Path), help="Go on with the training in a folder.")
@click.option("--pretrained", default="cyto2", show_default=True, help="Model to start from: a name, a file, or none.")
@click.option("--inputs", default="two", show_default=True, help="From nothing: grey, two or rgb channels.")
@click.option("--widths", default="32,64,128,256", show_default=True, help="From nothing: size of the network.")
@click.option("--diameter-mean", type=float, help="Diameter at the network; of the pretrained model, or 30.")
@click.option("--format", "format_", help="Kind of DATA, where it is not recognised: pairs, kaggle, coco, ...")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of the images, where it is elsewhere.")
@click.option("--masks", type=click.Path(path_type=Path), help="Folder of the label images.")
@click.option("--mask-suffix", help="End of the names of label images: _masks.")
@click.option("--columns", type=click.Path(exists=True, path_type=Path), help="CSV with more about the images.")
@click.option("--channels", help="Channels of the images, by number from 0 or by name: 1,0.")
@click.option("--axes", help="Axes of TIFF files that do not say them.")
@click.option("--val", type=click.Path(path_type=Path), help="Data to validate on.")
@click.option("--val-part", type=float, default=0.15, show_default=True, help="Part of DATA to validate on; 0: none.")
@click.option("--folds", type=int, help="Split DATA in so many parts.")
@click.option("--fold", help="Which of them to validate on, from 0; all: one training for each.")
@click.option("--group", default="", help="Column: images that agree in it stay in one part.")
@click.option("--stratify", default="", help="Column whose values are spread over parts.")
@click.option("--epochs", type=int, default=100, show_default=True, help="Rounds over the images.")
@click.option("--crops", type=int, help="Crops to train on, in place of --epochs.")
@click.option("--batch-size", type=int, default=8, show_default=True)
@click.option("--crop-size", type=int, default=224, show_default=True, help="Side of the crops in pixels.")
@click.option("--lr", type=float, help="Learning rate; 0.002 from scratch, 0.0005 for a pretrained model.")
@click.option("--weight-decay", type=float, default=1e-4, show_default=True)
@click.option("--ema", type=float, default=0.0, show_default=True, help="Decay of the mean of weights: 0.999; 0: none.")
@click.option("--freeze", default="none", show_default=True, help="none, encoder or all-but-output: for few images.")
@click.option("--rescale", default="image", show_default=True, help="Diameter to resize by: of image, data, none.")
@click.option("--target", default="diffusion", show_default=True, help="Flows: diffusion (Cellpose's) or distance.")
@click.option("--weight", default="none", show_default=True, help="area: small cells count more in the loss of flows.")
@click.option("--balance", default="", help="Column whose groups are drawn equally often.")
@click.option("--evenness", type=float, default=1.0, show_default=True, help="1: quite equally; 0: by size.")
@click.option("--augment", multiple=True, metavar="NAME=VALUE", help=f"Some of {_AUGMENT}.")
@click.option("--workers", type=int, help="Threads that make crops.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option("--precision", default="auto", show_default=True, help="auto, fp32 or bf16.")
@click.option("--compile", is_flag=True, help="Let torch compile the network: slow to start, faster on a GPU.")
@click.option("--reports", type=int, default=20, show_default=True, help="How often to validate.")
@click.option("--patience", type=int, default=0, help="Stop after so many reports without a better score.")
@click.option("--export", type=click.Choice(["cellpose"]), help="Write a file that Cellpose 3 opens, too.")
@click.option("--licence", default="", help="Licence of the weights, for the model card.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line for each report.")
@click.option("--quiet", is_flag=True, help="Print errors alone.")
@click.pass_context
def command(context: click.Context, /, **settings: Any) -> None:
    """Train a model on images with masks.

    DATA is a folder of images and label images (x.tif and x_masks.tif, or images/ and masks/), a Kaggle table with its
    images, a folder with one mask a file, COCO, or Cellpose's _seg.npy files.

    \b
    Examples:
      flowseg train cells/ -o run --pretrained cyto2
      flowseg segment new/ -o out --model run/model.safetensors     uses what came out
      flowseg train train.csv -o run --folds 5 --fold all --stratify cell_type
      flowseg train cells/ -o run --pretrained none --inputs grey --crops 16000 --ema 0.999 --augment scale=0.5
      flowseg train --resume run                            goes on where it was stopped
      torchrun --nproc-per-node 4 -m flowseg train cells/ -o run
    """
    as_json, quiet = settings.pop("as_json"), settings.pop("quiet")
    resume: Path | None = settings.pop("resume")
    if resume is not None:
        settings, out = _kept_settings(context, resume), resume
    else:
        if settings["data"] is None or settings["out"] is None:
            raise click.UsageError("wanted DATA and --out RUN, or --resume RUN")
        out = settings.pop("out")
    try:
        _train(settings, out, resume is not None, _Teller(as_json, quiet))
    except KeyboardInterrupt:
        click.echo(f"stopped: flowseg train --resume {out} goes on from here", err=True)
        sys.exit(130)


def _kept_settings(context: click.Context, run: Path) -> dict[str, Any]:
    """Return the settings that a training began with; others cannot be given beside them."""
    from flowseg.errors import InputError
    from flowseg.training.run_folder import RunFolder

    given = [
        name
        for name in context.params
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
        and name not in ("resume", "as_json", "quiet")
    ]
    if given:
        raise click.UsageError(f"--resume goes on with what the training began with; leave out {', '.join(given)}")
    settings = RunFolder(run).read_config().get("command")
    if not isinstance(settings, dict) or not settings:
        raise InputError(f"the training in {run} was not started by this command: continue it from Python")
    return settings


def _train(settings: dict[str, Any], out: Path, resume: bool, teller: "_Teller") -> None:
    from flowseg.training import Asked, NewModel, run
    from flowseg.training.from_settings import options_of, splits_of

    pretrained = settings["pretrained"]
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    asked = Asked(
        None if pretrained == "none" else pretrained,
        NewModel(settings["inputs"], _numbers(settings["widths"])),
        settings["diameter_mean"],
        settings["axes"],
        _choice(settings["channels"]),
        Path(settings["data"]).resolve().name,
        plain,
        settings["licence"],
        settings["export"] or "",
    )
    for name, split in splits_of(settings).items():
        own = replace(asked, command={**plain, "fold": name.removeprefix("fold")}) if name else asked
        with teller:
            done = run(split, out / name, options_of(settings), own, resume=resume, tell=teller.tell)
        teller.finish(done)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(each) for each in text.split(","))
    except ValueError:
        raise click.UsageError(f"--widths is {text!r}; wanted whole numbers with commas between") from None


def _choice(channels: str | None) -> Any:
    from flowseg.channels import parse

    return parse(channels)


class _Teller:
    """Shows how a training goes: a bar with loss, speed and time left, and a line a report."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self.as_json, self.quiet = as_json, quiet

    def __enter__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} crops"),
            TextColumn("{task.fields[about]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=self.quiet or self.as_json or not sys.stderr.isatty(),
        )
        self.task = self.progress.add_task("training", total=1, about="")
        self.progress.start()

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def tell(self, now: Any) -> None:
        """Show a step, and a report where there is one."""
        speed = self.progress.tasks[0].speed
        about = f"loss {now.loss:.3f}" + (f", {speed:.0f} crops/s" if speed else "")
        self.progress.update(self.task, completed=now.crops, total=now.total, about=about)
        report = now.report
        if report is None or self.quiet:
            return
        if self.as_json:
            click.echo(json.dumps(report._asdict()))
            return
        self.progress.console.print(report.text(), highlight=False, soft_wrap=True)

    def finish(self, done: Any) -> None:
        """Say what was made and what to do with it."""
        if not self.quiet and not self.as_json:
            click.echo(f"{done.model} is ready: flowseg segment IMAGES -o OUT --model {done.model}")
