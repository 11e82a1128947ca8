"""TensorBoard reads the reports of a training, those after a stop in place of those before it."""

from pathlib import Path

import pytest

from flowseg.training.events import Events
from flowseg.training.run_folder import Report


def report(step: int, ap50: float) -> Report:
    return Report(step, step * 8, step / 4, 0.5 / step, float("nan"), ap50, ap50 / 2, 1e-3, 10.0, step * 2.0)


def test_events_are_read_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = Events(tmp_path, 0)
    for step in (1, 2, 3):
        first.write(report(step, 0.1 * step))
    first.close()
    again = Events(tmp_path, 2)  # the state kept last was that of step 2
    again.write(report(3, 0.9))
    again.close()
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert "loss/validation" not in read.Tags()["scalars"]
    assert [(one.step, round(one.value, 3)) for one in read.Scalars("validation/AP50")] == [
        (1, 0.1),
        (2, 0.2),
        (3, 0.9),
    ]
    assert [round(one.value, 3) for one in read.Scalars("loss/train")] == [0.5, 0.25, 0.167]


def test_without_tensorboard_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    events = Events(tmp_path, 0)
    events.write(report(1, 0.1))
    events.close()
    assert not list(tmp_path.iterdir())
