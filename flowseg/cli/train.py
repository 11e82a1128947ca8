"""``flowseg train``: images and masks in, a model out."""

import errno
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from flowseg.cli._options import spelled
from flowseg.cli._paths import FOLDER
from flowseg.cli._progress import late_bar, late_note
from flowseg.cli._sections import Sectioned
from flowseg.words import many

_SECONDS_BETWEEN_LINES = 30  # where there is no terminal
_PLACES = ("data", "images", "masks", "val", "columns")  # which may have moved when a training goes on
_AUGMENT = "rotate, flip, scale, elastic, contrast, brightness, colour, gamma, noise, blur, drop, invert"

_SECTIONS = {
    "What matters first": ["out", "pretrained", "channels", "val", "epochs", "resume"],
    "The data": ["format", "images", "masks", "mask-suffix", "order", "columns", "axes", "skip-problems"],
    "Images held back, to validate on and to choose thresholds": ["val-part", "folds", "fold", "group", "stratify"],
    "How long, and how fast": [
        "crops",
        "patience",
        "reports",
        "batch-size",
        "workers",
        "device",
        "precision",
        "compile",
    ],
    "How it learns": ["lr", "weight-decay", "ema", "freeze", "seed", "target", "weight"],
    "What it sees": ["crop-size", "diameter-mean", "rescale", "augment", "balance", "evenness"],
    "A network from nothing (--pretrained none)": ["inputs", "widths"],
    "What is written": ["export", "licence", "json", "quiet", "help"],
}


@click.command("train", cls=Sectioned, sections=_SECTIONS)
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option("-o", "--out", type=FOLDER, help="Folder of the run; a new one.")
@click.option("--resume", type=FOLDER, help="Go on with the training in a folder; DATA only if they have moved.")
@click.option("--pretrained", default="cyto2", show_default=True, help="Model to start from: a name, a file, or none.")
@click.option("--inputs", default="two", show_default=True, help="From nothing: grey, two or rgb channels.")
@click.option("--widths", default="32,64,128,256", show_default=True, help="From nothing: size of the network.")
@click.option(
    "--diameter-mean", type=float, help="Diameter of cells at the network; else that of the pretrained model, or 30."
)
@click.option(
    "--format", "format_", help="Kind of DATA, where it is not recognised: pairs, kaggle, folders, coco, cellpose."
)
@click.option("--images", type=click.Path(path_type=Path), help="Folder of the images, where it is not beside DATA.")
@click.option("--masks", type=click.Path(path_type=Path), help="Folder of the label images.")
@click.option("--mask-suffix", help="End of the names of label images: _masks.")
@click.option(
    "--order", type=click.Choice(["row", "column"]), help="How CSVs (DATA, --val) count pixels; else by their columns."
)
@click.option(
    "--columns",
    type=click.Path(exists=True, path_type=Path),
    help="CSV with more about the images; its first column names them.",
)
@click.option("--skip-problems", is_flag=True, help="Train on what can be read, and list what cannot.")
@click.option("--channels", help="Channels of the images, by number from 0 or by name: 1,0.")
@click.option("--axes", help="Axes of TIFF files that do not say them.")
@click.option("--val", type=click.Path(path_type=Path), help="Data to validate on; without it, a part of DATA.")
@click.option("--val-part", type=float, default=0.15, show_default=True, help="Part of DATA to validate on; 0: none.")
@click.option("--folds", type=int, help="Split DATA in so many parts.")
@click.option("--fold", help="Which of --folds to validate on: 0 (default), 1, ...; all: a training for each.")
@click.option("--group", default="", help="Column: images that agree in it stay in one part.")
@click.option(
    "--stratify", default="", help="Column whose values are spread over parts; else cell_type, where there is one."
)
@click.option("--epochs", type=int, default=100, show_default=True, help="Rounds over the images.")
@click.option("--crops", type=int, help="Crops to train on, in place of --epochs: 16000.")
@click.option("--batch-size", type=int, default=8, show_default=True, help="Crops a step.")
@click.option("--crop-size", type=int, default=224, show_default=True, help="Side of the crops in pixels.")
@click.option("--lr", type=float, help="Learning rate; 0.002 from scratch, 0.0005 for a pretrained model.")
@click.option("--weight-decay", type=float, default=1e-4, show_default=True, help="Of AdamW.")
@click.option("--ema", type=float, default=0.0, show_default=True, help="Decay of the mean of weights: 0.999; 0: none.")
@click.option("--freeze", default="none", show_default=True, help="none, encoder or all-but-output: for few images.")
@click.option(
    "--rescale",
    default="image",
    show_default=True,
    help="Resize by the diameter of each image, by that of all data, or none.",
)
@click.option("--target", default="diffusion", show_default=True, help="Flows: diffusion (Cellpose's) or distance.")
@click.option(
    "--weight", default="none", show_default=True, help="none, or area: small cells count more in the loss of flows."
)
@click.option("--balance", default="", help="Column whose groups are drawn equally often.")
@click.option(
    "--evenness", type=float, default=1.0, show_default=True, help="Of --balance. 1: equally often; 0: by size."
)
@click.option("--augment", multiple=True, metavar="NAME=VALUE", help=f"Some of {_AUGMENT}.")
@click.option("--workers", type=int, help="Threads that make crops; without it, one for each processor.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed, the same training.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option("--precision", default="auto", show_default=True, help="auto, fp32 or bf16.")
@click.option("--compile", is_flag=True, help="Let torch compile the network: slow to start, faster on a GPU.")
@click.option("--reports", type=int, default=20, show_default=True, help="How many times to validate.")
@click.option("--patience", type=int, default=0, help="Stop after so many reports without a better score; 0: never.")
@click.option("--export", type=click.Choice(["cellpose"]), help="Write a file that Cellpose 2 and 3 open, too.")
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
      flowseg train moved/cells/ --resume run               the same, with data that have moved
      torchrun --nproc-per-node 4 -m flowseg train cells/ -o run
    """
    as_json, quiet = settings.pop("as_json"), settings.pop("quiet") or os.environ.get("RANK", "0") != "0"
    resume: Path | None = settings.pop("resume")
    if resume is None and (settings["data"] is None or settings["out"] is None):
        raise click.UsageError("wanted DATA and --out RUN, or --resume RUN")
    out = resume or settings["out"]
    try:
        if resume is not None:
            settings = _kept_settings(context, resume, quiet or as_json)
        settings.pop("out", None)
        with _Teller(as_json, quiet) as teller:
            _train(settings, out, resume is not None, teller)
    except KeyboardInterrupt:
        on = f"flowseg train --resume {out} goes on from here" if _has_begun(out) else "the training had not begun"
        click.echo(f"stopped: {on}", err=True)
        sys.exit(130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not _has_begun(out):
            raise
        raise click.ClickException(
            f"the disk is full ({error.strerror}): make room, then flowseg train --resume {out} goes on from here"
        ) from error


def _has_begun(out: Path) -> bool:
    return any((out / name).exists() for name in ("config.json", "folds.json"))


def _load_torch(quiet: bool) -> None:
    """Load what trains; Ctrl-C waits, for torch cannot be stopped while it is loaded."""
    from flowseg.interrupts import held_back

    with held_back(), late_note("loading torch", quiet):
        import flowseg.training  # noqa: F401


def _kept_settings(context: click.Context, run: Path, quiet: bool) -> dict[str, Any]:
    """Return the settings that a training began with; beside them can only be given where its data are now."""
    from flowseg.errors import InputError

    _load_torch(quiet)
    from flowseg.training.folds import Folds
    from flowseg.training.run_folder import RunFolder

    given = {
        each.name: spelled(context.command, each.name)
        for each in context.command.params
        if each.name is not None
        and context.get_parameter_source(each.name) == click.core.ParameterSource.COMMANDLINE
        and each.name not in ("resume", "as_json", "quiet")
    }
    others = [option for name, option in given.items() if name not in _PLACES]
    if others:
        raise click.UsageError(f"--resume goes on with what the training began with; leave out {', '.join(others)}")
    folder = Folds(run) if Folds(run).config.exists() else RunFolder(run)
    began = folder.read_config()
    settings = began.get("command")
    if not isinstance(settings, dict) or not isinstance(settings.get("data"), str):
        raise InputError(f"the training in {run} was not started by this command: continue it from Python")
    defaults = {name: value for name, value in context.params.items() if name not in ("resume", "as_json", "quiet")}
    found = _found_again({**defaults, **settings}, Path(str(began.get("started_in", ""))))
    return {**found, **{name: context.params[name] for name in given}}


def _found_again(settings: dict[str, Any], started_in: Path) -> dict[str, Any]:
    """Return settings with files and folders where they are, as seen from here."""
    named = {name: settings[name] for name in _PLACES if settings[name]}
    moved = {name: str(started_in / text) for name, text in named.items() if not Path(text).exists()}
    return {**settings, **{name: text for name, text in moved.items() if Path(text).exists()}}


def _require_there(settings: dict[str, Any], out: Path) -> None:
    """Say how a training goes on whose data are somewhere else now."""
    from flowseg.errors import InputError

    gone = next((name for name in _PLACES if settings[name] and not Path(settings[name]).exists()), None)
    if gone is not None:
        word = "DATA" if gone == "data" else f"--{gone} PATH"
        raise InputError(
            f"{settings[gone]}, which the training in {out} began with, does not exist; if it has moved, say where it "
            f"is: flowseg train {word} --resume {out}"
        )


def _train(settings: dict[str, Any], out: Path, resume: bool, teller: "_Teller") -> None:
    _load_torch(teller.silent)
    from flowseg.training import Asked, NewModel, run
    from flowseg.training.folds import Folds
    from flowseg.training.from_settings import options_of, splits_of
    from flowseg.training.run_folder import RunFolder

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
        settings["skip_problems"],
        settings["stratify"] or "",
    )
    options = options_of(settings)
    if RunFolder(out).finished and resume:
        teller.finish([RunFolder(out).model])
        return
    if resume:
        _require_there(settings, out)
    if os.path.realpath(out) == os.path.realpath(settings["data"]):
        raise click.UsageError(f"--out {out} is the folder of the data; wanted one for the run alone")
    with late_note(f"opening {settings['data']}", teller.silent):
        splits = splits_of(settings, teller.watch())
    if "" in splits:
        done = run(splits[""], out, options, asked, resume=resume, tell=teller.tell, watch=teller.watch())
        teller.finish([done.model])
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise click.UsageError("several processes train one fold at a time: wanted --fold with a number, not all")
    folds = Folds(out)
    folds.begin(plain, resume)
    models = []
    for name, split in splits.items():
        parts = f"{many(len(split.train), 'image')} to train on, {len(split.validation)} held back"
        teller.say(f"{name} of {len(splits)}: {parts}")
        own = replace(asked, command={**plain, "fold": name.removeprefix("fold")})
        begun = folds.has_begun(name)
        models.append(run(split, out / name, options, own, resume=begun, tell=teller.tell, watch=teller.watch()).model)
    teller.finish(models, folds.summed_up(list(splits)))


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
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.as_json, self.silent = as_json, quiet or as_json
        self.live = not self.silent and sys.stderr.isatty()
        self.progress = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} crops"),
            TextColumn("{task.fields[about]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self.live,
        )
        self.task = self.progress.add_task("training", total=1, about="")
        self.said = time.monotonic()

    def __enter__(self) -> "_Teller":
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()  # whatever ended it: a bar hides the cursor

    def tell(self, now: Any) -> None:
        """Show a step, and a report where there is one."""
        speed = self.progress.tasks[0].speed
        about = now.about() + (f", {speed:.0f} crops/s" if speed else "")
        if self.live:
            self.progress.start()
        self.progress.update(self.task, completed=now.crops, total=now.total, about=about)
        if now.report is not None:
            self._report(now.report)
        elif not self.live and time.monotonic() - self.said > _SECONDS_BETWEEN_LINES:
            self.say(f"{now.crops:>9,} of {now.total:,} crops  {about}")
        if now.crops >= now.total:
            self.progress.stop()

    def _report(self, report: Any) -> None:
        from flowseg.json_values import plain

        if self.as_json:
            click.echo(json.dumps(plain(report)))
        else:
            self.say(report.text())

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.said = time.monotonic()
        if not self.silent:
            self.progress.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def watch(self) -> Any:
        """Return who shows what takes long beside the steps."""
        from flowseg.training.waiting import Watch

        return Watch(self._bar, self.say, partial(late_note, quiet=self.silent))

    @contextmanager
    def _bar(self, what: str, total: int) -> Iterator[Any]:
        under_way = self.progress.live.is_started
        self.progress.stop()  # there is one bar at a time
        with late_bar(what, total, self.silent) as step:
            yield step
        if under_way:
            self.progress.start()

    def finish(self, models: list[Path], summary: str = "") -> None:
        """Say what was made and what to do with it."""
        self.progress.stop()
        if self.silent:
            return
        named = " ".join(f"--model {model}" for model in models)
        ready = f"{models[0]} is" if len(models) == 1 else f"{len(models)} models, to be used together, are"
        click.echo(f"{summary}{ready} ready: flowseg segment IMAGES -o OUT {named}")
