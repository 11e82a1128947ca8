"""The loop: batches in, reports out, everything kept so that it can be stopped anywhere."""

import math
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from flowseg import checkpoint, colours, plots, threads
from flowseg.augment import NOTHING
from flowseg.channels import ChannelChoice
from flowseg.dataset import Batch, Crops
from flowseg.errors import TrainingError
from flowseg.instances import Instances
from flowseg.interrupts import held_back
from flowseg.model_config import ModelConfig
from flowseg.network import Network
from flowseg.sources.collection import Item, spread
from flowseg.training import validation
from flowseg.training.ahead import Ahead
from flowseg.training.events import Events
from flowseg.training.options import TrainOptions
from flowseg.training.processes import Processes, shared_normalisation
from flowseg.training.run_folder import Report, RunFolder
from flowseg.training.split import Split
from flowseg.training.step import Losses, Stepper, is_out_of_memory, let_go_of_memory
from flowseg.training.waiting import UNWATCHED, Watch, counted
from flowseg.words import many

_PICTURES = 4
_VALIDATION_CROPS = (16, 64)  # at least, at most: one of each image between
_MOST_SHOWN = 768  # pixels of a side, in samples
_FIRST = "getting ready: the first step takes longest"


class Progress(NamedTuple):
    """What is told after each step.

    Attributes
    ----------
    crops, total
        Seen so far; to be seen.
    loss
        Running mean of the last steps; nan before the first.
    report
        The newest report, at the step that it is made; else None.
    """

    crops: int
    total: int
    loss: float
    report: Report | None

    def about(self) -> str:
        """Return the loss in words; nothing before the first step."""
        return "" if math.isnan(self.loss) else f"loss {self.loss:.3f}"


Tell = Callable[[Progress], object]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Task:
    """What is trained on what.

    Attributes
    ----------
    split
        Items to train and to validate on.
    config
        Of the model.
    options
        Of the training.
    pretrained
        Whether the network has learned before.
    axes, choice
        Axes and channels of the images, where they are not clear.
    by
        A column: scores and thresholds are of each of its groups, too.
    """

    split: Split
    config: ModelConfig
    options: TrainOptions
    pretrained: bool = False
    axes: str | None = None
    choice: ChannelChoice = field(default_factory=ChannelChoice)
    by: str = ""

    def diameter_of(self, truth: Instances) -> float | None:
        """Return the diameter to validate an image at: what training resized it by."""
        if self.options.crop.rescale == "image":
            return validation.median_diameter(truth)
        return self.config.diameter_labels or self.config.diameter_mean


class Loop:
    """A training under way."""

    def __init__(
        self,
        task: Task,
        network: Network,
        folder: RunFolder,
        processes: Processes,
        tell: Tell,
        watch: Watch = UNWATCHED,
    ) -> None:
        self.task, self.folder, self.processes, self._tell = task, folder, processes, tell
        self._bar, self._note = watch.bar, watch.note
        options, split = task.options, task.split
        self._steps = options.steps(len(split.train))
        if processes.count > 1:
            shared_normalisation(network)
        self.stepper = Stepper(network, options, self._steps, task.pretrained, processes.count)
        self._crops = self._make_crops(split.train, options.crop)
        still = replace(options.crop, augment=NOTHING, balance="", evenness=1.0)
        self._still = self._make_crops(split.validation, still) if split.validation else None
        self.history: list[Report] = []
        self.best = -math.inf
        self._events: Events | None = None
        self._losses: list[float] = []
        self._earlier = 0  # of them, from before it was resumed
        self._seconds = 0.0
        self._start = self._clock = self._saved = time.monotonic()

    def _make_crops(self, items: list[Item], options: Any) -> Crops:
        task = self.task
        return Crops(items, task.config, options, task.choice, task.options.seed, task.config.diameter_labels)

    def run(self) -> None:
        """Train to the end, or until nothing has become better for long; a stop loses nothing."""
        self._restore()
        if self.processes.first:
            self._events = Events(self.folder.path, self.stepper.done)
        try:
            self._go_on()
        except KeyboardInterrupt:
            if self.processes.first:
                self._save()
            raise
        finally:
            if self._events is not None:
                self._events.close()

    def _go_on(self) -> None:
        due = self._report_steps()
        if self.stepper.done in due and self._reported() < self.stepper.done:
            report = self._report()  # of what it starts from, or it was stopped while this report was made
            if self.processes.first:
                self._tell(self._progress(report))
        if self.processes.told_by_first(self._is_stuck()):
            return
        with ExitStack() as first:
            if self.processes.first:
                first.enter_context(self._note(_FIRST))
            self._train(due, first)

    def _train(self, due: set[int], first: ExitStack) -> None:
        """Do the steps; ``first`` is closed after one of them."""
        ahead = self._batches()
        for _ in range(self.stepper.done, self._steps):
            batch = self._in_memory(partial(next, ahead))
            with held_back():  # half a step cannot be kept, and cannot be done again
                losses = self._in_memory(partial(self._step, batch, ahead))
                self._losses.append(float(losses.total))
            first.close()
            report = self._report() if self.stepper.done in due else None
            if self.processes.first:
                if report is None and time.monotonic() - self._saved > self.task.options.save_seconds:
                    self._save()
                self._tell(self._progress(report))
            if report is not None and self.processes.told_by_first(self._is_stuck()):
                break

    def _reported(self) -> int:
        """Return the step of the last report; -1: there is none."""
        return self.history[-1].step if self.history else -1

    def _batches(self) -> Ahead:
        size = self.task.options.batch_size
        numbers = [
            self.processes.share(range(step * size, (step + 1) * size))
            for step in range(self.stepper.done, self._steps)
        ]
        return self.stepper.batches(self._crops, numbers)

    def _step(self, batch: Batch, ahead: Ahead) -> Losses:
        try:
            return self.stepper.step(batch, ahead)
        except TrainingError as error:
            raise TrainingError(
                f"{error}: the batch is kept in {self._kept(batch)}. Look for images with extreme values in it, or "
                f"train with a lower learning rate (now {self.stepper.lr:.3g})"
            ) from error

    def _kept(self, batch: Batch) -> Path:
        """Keep a batch, the parts of all processes together; none goes on before it is written."""
        parts = zip(*self.processes.gathered(batch), strict=True)
        whole = {name: each for name, each in zip(Batch._fields, parts, strict=True) if each[0] is not None}
        first = self.processes.first
        path = self.folder.keep_batch(**{name: np.concatenate(each) for name, each in whole.items()}) if first else None
        return Path(self.processes.told_by_first(path))

    def _in_memory(self, make: Callable[[], Made]) -> Made:
        """Call a function; where memory runs out in it, say for which batches there is enough."""
        try:
            return make()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # which hold what was computed so far
            problem = error
        options = self.task.options
        fits = self._crops_that_fit(options.batch_size // self.processes.count // 2) * self.processes.count
        raise TrainingError(
            f"no memory for batches of {many(options.batch_size, 'crop')} of {options.crop.size} pixels; "
            + (f"batch_size {fits} fits (--batch-size {fits})" if fits else "not even for one: train smaller crops")
        ) from problem

    def _crops_that_fit(self, count: int) -> int:
        """Find by halves how many crops the device has memory for."""
        while count:
            let_go_of_memory(self.stepper.device)
            try:
                self.stepper.step(self._crops.batch(range(count)))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                traceback.clear_frames(error.__traceback__)
                count //= 2
            else:
                break
        return count

    def _report_steps(self) -> set[int]:
        """Return the steps to report after; what a pretrained network scores is measured before the first, too."""
        count = min(self.task.options.reports, self._steps)
        first = 0 if self.task.pretrained and self.task.split.validation else 1
        return {round(self._steps * turn / count) for turn in range(first, count + 1)}

    def _report(self) -> Report:
        """Measure, draw and keep; the processes beside the first have nothing to write.

        Nothing of this loop changes before all is written: a stop in between leaves the report to be made again.
        """
        train_loss = float(np.mean(self._losses)) if self._losses else math.nan
        new = (len(self._losses) - self._earlier) * self.task.options.batch_size
        speed = new / max(time.monotonic() - self._clock, 1e-9)
        loss = self._validation_loss() if self.processes.first else math.nan
        score, shown = self._scored() if self.processes.first else (validation.score([]), [])
        crops = self.stepper.done * self.task.options.batch_size
        report = Report(
            self.stepper.done, crops, crops / len(self.task.split.train), train_loss, loss, score.ap50, score.map,
            self.stepper.lr, speed, self._seconds_so_far(),
        )  # fmt: skip
        if self.processes.first:
            self._keep(report, shown)
        self.best = max(self.best, self._value(report))
        self.history.append(report)
        self._losses, self._earlier = [], 0
        if self.processes.first:
            self._save()
        self._clock = time.monotonic()
        return report

    def _validation_loss(self) -> float:
        """Return the loss over crops of the validation images that are the same each time, from all over them."""
        if self._still is None:
            return math.nan
        size = self.task.options.batch_size
        least, most = _VALIDATION_CROPS
        count = min(max(len(self.task.split.validation), least), most)
        parts = [range(start, min(start + size, count)) for start in range(0, count, size)]
        batches = self._still.batches(parts, threads.count())
        with self._bar("measuring the validation loss", len(parts)) as step:
            losses = [float(self.stepper.validate(batch).total) for batch in counted(batches, step)]
        return float(np.average(losses, weights=[len(part) for part in parts]))

    def _scored(self) -> tuple[validation.Score, list[validation.Seen]]:
        """Segment validation images with the weights that would be kept; return their score, and some to be shown."""
        task = self.task
        items = spread(task.split.validation, task.options.validation_images)
        model = validation.model_of(self.stepper.kept, task.config, str(self.stepper.device))
        wanted = set(range(0, len(items), max(1, len(items) // _PICTURES))[:_PICTURES])
        aps, shown = [], []
        with self._bar("validating", len(items)) as step:
            for number, one in enumerate(validation.look(model, items, task.diameter_of, task.axes, task.choice)):
                aps.append(validation.precisions(one))
                shown += [one] if number in wanted else []
                step(one)
        return validation.score(aps), shown

    @staticmethod
    def _value(report: Report) -> float:
        """Return what the best weights are known by: their score, or where there is none, how far they learned."""
        return float(report.step) if math.isnan(report.map) else report.map

    def _keep(self, report: Report, shown: list[validation.Seen]) -> None:
        weights = self.stepper.kept.state_dict()
        if self._value(report) >= self.best:  # of equals, as of reports that all found nothing, what learned longest
            checkpoint.write_flowseg(self.folder.model, self.task.config, weights)
        checkpoint.write_flowseg(self.folder.last, self.task.config, weights)
        if self._events is not None:
            self._events.write(report)
        rows = [dict(zip(Report._fields, one, strict=True)) for one in [*self.history, report]]
        self.folder.write_bytes("curves.png", plots.figure_png(plots.training_curves(rows)))
        for number, one in enumerate(shown):
            self.folder.write_bytes(f"samples/{number}_{report.step:06d}.png", colours.png(_picture(one)))

    def _is_stuck(self) -> bool:
        patience = self.task.options.patience
        scores = [one.map for one in self.history]
        if not patience or len(scores) <= patience or any(math.isnan(score) for score in scores):
            return False
        return max(scores[-patience:]) <= max(scores[:-patience])

    def _progress(self, report: Report | None) -> Progress:
        size = self.task.options.batch_size
        recent = self._losses[-20:]
        loss = float(np.mean(recent)) if recent else (report.train_loss if report else math.nan)
        return Progress(self.stepper.done * size, self._steps * size, loss, report)

    def _seconds_so_far(self) -> float:
        return self._seconds + time.monotonic() - self._start

    def _save(self) -> None:
        losses = [float(loss) for loss in self._losses]
        self.folder.write_state(
            {
                **self.stepper.state(),
                "history": [list(report) for report in self.history],
                "best": self.best,
                "losses": losses,
                "seconds": self._seconds_so_far(),
            }
        )
        self.folder.write_history(self.history)
        self._saved = time.monotonic()

    def _restore(self) -> None:
        state = self.folder.read_state()
        if state is None:
            return
        try:
            self.stepper.restore(state)
            self.history = [Report(*values) for values in state["history"]]
            self.best, self._seconds = float(state["best"]), float(state["seconds"])
            self._losses = [float(loss) for loss in state["losses"]]
            self._earlier = len(self._losses)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise self.folder.unusable_state("it was changed, or is of another network or version") from error
        if self.history and self.processes.first and not self.folder.model.exists():  # somebody took it away
            checkpoint.write_flowseg(self.folder.model, self.task.config, self.stepper.kept.state_dict())


def _picture(one: validation.Seen) -> colours.Colours:
    """Draw the middle of an image: outlines of the truth, outlines of what was found, the flows."""
    ends = [(max(0, side - _MOST_SHOWN) // 2, min(side, _MOST_SHOWN)) for side in one.truth.shape]
    rows, columns = middle = tuple(slice(start, start + length) for start, length in ends)
    planes = one.image.pixels if one.found.planes is None else one.found.planes
    return colours.compared(
        planes[:, rows, columns],
        one.truth_labels()[middle],
        one.found.labels[middle],
        one.found.flows[:, rows, columns],
    )
