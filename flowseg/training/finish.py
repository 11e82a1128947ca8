"""The end of a training: thresholds chosen for the best weights, and a model card that says what came out."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from flowseg import checkpoint
from flowseg.checkpoint import Checkpoint
from flowseg.model_config import Thresholds
from flowseg.training import tuning, validation
from flowseg.training.loop import Task
from flowseg.training.run_folder import Report, RunFolder
from flowseg.training.validation import THRESHOLDS
from flowseg.training.waiting import Bar, counted, silent
from flowseg.words import many

_WORST = 10
_DRAWS = 2000


#: A mean, and the interval that holds 95 % of the means of redrawn images; one image alone has none.
Interval = tuple[float, float | None, float | None]

_RESIZED = {
    "image": "each image at its own diameter",
    "data": "all images at the diameter of the data",
    "none": "images as they are, not resized",
}


class Row(NamedTuple):
    """Scores of some validation images."""

    group: str
    images: int
    instances: int
    ap50: Interval
    ap75: Interval
    map: Interval


class Looked(NamedTuple):
    """One validation image: its name and group, its instances, AP at each of `THRESHOLDS`."""

    name: str
    group: str
    instances: int
    aps: tuple[float, ...]


def finish(
    task: Task, folder: RunFolder, history: Sequence[Report], about: Mapping[str, Any], bar: Bar = silent
) -> None:
    """Choose thresholds on the validation images, keep them in the model, score it; write the export and the card."""
    precisions = tuning.choose(task, folder, bar)
    kept = checkpoint.read(folder.model)
    with bar("scoring", len(task.split.validation)) as step:
        looked = list(counted(_looked(task, kept, precisions), step))
    rows = summary(looked, task.options.seed) if looked else []
    worst = sorted(looked, key=lambda one: float(np.mean(one.aps)))[:_WORST]
    scores = {
        "rows": [row._asdict() for row in rows],
        "worst": [{"name": one.name, "group": one.group, "map": float(np.mean(one.aps))} for one in worst],
    }
    folder.write_json("scores.json", scores)
    if about.get("export") == "cellpose":
        checkpoint.write_cellpose(folder.path / "cellpose_model", kept.config, kept.arrays)
    folder.write_text(folder.card.name, card(kept, task, rows, worst, history, about))


def beside_start(task: Task, history: Sequence[Report]) -> str:
    """Return, in a sentence, what the weights kept score beside those that a training began with; empty: not known."""
    if not history or history[0].crops:
        return ""
    before, best = history[0].map, max(report.map for report in history)
    held = many(min(len(task.split.validation), task.options.validation_images), "image")
    scored = f"Mean AP on {held} held back: {before:.3f} before the training"
    if best > before:
        return f"{scored}, {best:.3f} with the weights kept."
    kept = [report.crops for report in history if report.map == best][-1]
    return f"{scored}, and nothing learned was better: the weights are those {_when(kept)}."


def _when(crops: int) -> str:
    return f"of {crops:,} crops, which were as good" if crops else "that it began with"


def _looked(task: Task, kept: Checkpoint, precisions: Sequence[tuple[float, ...]]) -> Iterator[Looked]:
    """Score the validation images; the column that parts were stratified or balanced by is their group.

    Most were segmented at the same diameter when thresholds were chosen, but for those without instances: at which
    they are segmented depends on what was chosen.
    """
    column = tuning.group_column(task)
    model = validation.model_of(kept.network(), kept.config, task.options.device)
    for item, known in zip(task.split.validation, precisions, strict=True):
        truth, aps = item.instances(), known
        if task.diameter_of(truth) is None:
            (seen,) = validation.look(model, [item], task.diameter_of, task.axes, task.choice)
            aps = validation.precisions(seen)
        yield Looked(item.name, item.columns.get(column, ""), len(truth), aps)


def summary(looked: Sequence[Looked], seed: int) -> list[Row]:
    """Return scores of all images, and of each group where there are several."""
    groups = sorted({one.group for one in looked})
    rows = [_row("all", looked, seed)]
    if len(groups) > 1:
        rows += [_row(group or "other", [one for one in looked if one.group == group], seed) for group in groups]
    return rows


def _row(group: str, looked: Sequence[Looked], seed: int) -> Row:
    aps = np.array([one.aps for one in looked])
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(aps), (_DRAWS, len(aps)))

    def interval(values: np.ndarray[Any, Any]) -> Interval:
        if len(values) == 1:
            return float(values[0]), None, None
        low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
        return float(values.mean()), float(low), float(high)

    at75 = THRESHOLDS.index(0.75)
    instances = sum(one.instances for one in looked)
    return Row(group, len(looked), instances, interval(aps[:, 0]), interval(aps[:, at75]), interval(aps.mean(axis=1)))


def card(
    kept: Checkpoint,
    task: Task,
    rows: Sequence[Row],
    worst: Sequence[Looked],
    history: Sequence[Report],
    about: Mapping[str, Any],
) -> str:
    """Return the model card as Markdown."""
    config, options = kept.config, task.options
    shape = config.architecture
    lines = [
        f"# {config.name}",
        "",
        f"A residual style U-Net that finds cells by flow fields, trained with flowseg {config.flowseg_version}.",
        "",
        "- Use: `flowseg segment IMAGES -o OUT --model model.safetensors`",
        f"- Input: {', '.join(config.channel_names) or many(shape.channels, 'channel')}; "
        f"percentiles {config.normalisation[0]:g} and {config.normalisation[1]:g} become 0 and 1",
        f"- Diameter: {config.diameter_mean:g} pixels at the network; {_in_the_data(task)}",
        f"- Size: widths {', '.join(map(str, shape.widths))}; sha256 of the weights' file {kept.digest}",
        f"- Thresholds{', chosen on the images held back' if rows else ''}: {_chosen(config.thresholds)}",
        *(f"  - of `--group {name}`: {_chosen(own)}" for name, own in sorted(config.group_thresholds.items())),
        f"- Licence: {config.licence or 'not stated'}",
        "",
        "## Training",
        "",
        f"- Data: {config.training_data}: {many(len(task.split.train), 'image')} to train on, "
        f"{len(task.split.validation)} held back (listed in `config.json`)",
        f"- Start: {about.get('pretrained') or 'random weights'}; seed {options.seed}",
        f"- {history[-1].crops if history else 0:,} crops of {options.crop.size} pixels in batches of "
        f"{options.batch_size}, {many(round(history[-1].seconds / 60) if history else 0, 'minute')}",
    ]
    command = about.get("command")
    if command:
        lines += ["", "```bash", command_line(command), "```"]
    lines += ["", "![curves](curves.png)", ""]
    lines += _scores(rows, worst, _RESIZED[options.crop.rescale])
    beside = beside_start(task, history)
    lines += ["", f"{beside} Both with the thresholds that it began with."] if beside else []
    return "\n".join(lines) + "\n"


def _in_the_data(task: Task) -> str:
    if task.options.crop.rescale == "none":
        return "images were not resized to it"
    diameter = task.config.diameter_labels
    return "not known in the data" if diameter is None else f"{diameter:.1f} in the data"


def _chosen(own: Thresholds) -> str:
    diameter = "estimated from each image" if own.diameter is None else f"{own.diameter:g} pixels"
    return (
        f"probability {own.cellprob_threshold:g}, flow error {own.flow_threshold:g}, at least "
        f"{many(own.min_size, 'pixel')}; diameter {diameter}"
    )


def _scores(rows: Sequence[Row], worst: Sequence[Looked], resized: str) -> list[str]:
    if not rows:
        return ["No images were held back: how good the masks are was not measured."]
    lines = [
        "## Scores on the images held back",
        "",
        f"Average precision, mean over images, with 95 % intervals over images redrawn; {resized}.",
        "",
        "| group | images | instances | AP at 0.5 | AP at 0.75 | mean AP 0.5 to 0.9 |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [with_interval(*score) for score in (row.ap50, row.ap75, row.map)]
        lines.append(f"| {row.group} | {row.images} | {row.instances} | {' | '.join(cells)} |")
    names = ", ".join(f"{one.name} ({np.mean(one.aps):.2f})" for one in worst)
    return [*lines, "", f"Worst images: {names}."]


def with_interval(mean: float, low: float | None, high: float | None) -> str:
    """Return a mean and its interval, if it has one, as a table holds them."""
    return f"{mean:.3f}" if low is None else f"{mean:.3f} ({low:.3f} to {high:.3f})"


def command_line(settings: Mapping[str, Any]) -> str:
    """Return the command with these settings, without those that are None, empty or off, or that others rule out."""
    words = ["flowseg", "train", str(settings.get("data", "DATA")), "-o", "RUN"]
    idle = {"data"} if settings.get("pretrained") == "none" else {"data", "inputs", "widths"}
    for name, value in settings.items():
        if name in idle or value in (None, "", False, (), []):
            continue
        option = f"--{name.rstrip('_').replace('_', '-')}"
        for one in value if isinstance(value, list | tuple) else [value]:
            words += [option] if one is True else [option, str(one)]
    return shlex.join(words)
