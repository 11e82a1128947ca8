"""A training stopped and gone on with in every way."""

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flowseg import checkpoint
from flowseg.channels import ChannelChoice
from flowseg.dataset import Batch
from flowseg.errors import InputError, OptionError
from flowseg.sources.collection import Item
from flowseg.training import Asked, NewModel, Split, run
from flowseg.training.ahead import Ahead
from flowseg.training.run_folder import RunFolder
from flowseg.training.step import Losses, Stepper
from flowseg.training.waiting import Watch
from tests.training.data import OPTIONS, TINY, Killed, assert_same, items, stopping, weights


def test_the_speed_is_that_of_the_steps_since_it_was_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, step = [0.0], Stepper.step

    def slow(self: Stepper, batch: Batch, ahead: Ahead) -> Losses:
        clock[0] += 1
        return step(self, batch, ahead)

    monkeypatch.setattr(Stepper, "step", slow)
    monkeypatch.setattr("flowseg.training.loop.time.monotonic", lambda: clock[0])
    data, options = items(tmp_path / "data", 4), replace(OPTIONS, save_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "run", options, TINY, tell=stopping(24, KeyboardInterrupt))
    done = run(data, tmp_path / "run", options, TINY, resume=True)
    assert [report.crops_per_second for report in done.history] == [4.0, 4.0, 4.0]


@pytest.mark.parametrize("how", [KeyboardInterrupt, Killed])
@pytest.mark.parametrize("at", [4, 20, 33])
def test_a_resumed_training_equals_one_that_was_not_stopped(tmp_path: Path, how: type[BaseException], at: int) -> None:
    data = Split(items(tmp_path / "data", 4), items(tmp_path / "val", 2))
    options = replace(OPTIONS, ema=0.9, save_seconds=0.0)
    whole = run(data, tmp_path / "whole", options, TINY)
    with pytest.raises(how):
        run(data, tmp_path / "parts", options, TINY, tell=stopping(at, how))
    parts = run(data, tmp_path / "parts", options, TINY, resume=True)
    assert_same(whole.folder / "last.safetensors", parts.folder / "last.safetensors")
    assert_same(whole.model, parts.model)
    columns = ("step", "crops", "train_loss", "validation_loss", "ap50", "map")
    for one, other in zip(whole.history, parts.history, strict=True):
        assert [getattr(one, name) for name in columns] == pytest.approx([getattr(other, name) for name in columns])


def test_images_copied_from_a_mac_are_those_it_began_with(tmp_path: Path) -> None:
    """Accents in names are taken apart there, and put together by some that copy."""
    apart, composed = (
        [replace(one, name=f"{name}{one.name}") for one in items(tmp_path / "data", 4)]
        for name in ("u\u0308", "\u00fc")
    )
    with pytest.raises(KeyboardInterrupt):
        run(apart, tmp_path / "run", OPTIONS, TINY, tell=stopping(8, KeyboardInterrupt))
    assert run(composed, tmp_path / "run", OPTIONS, TINY, resume=True).history[-1].crops == OPTIONS.crops


@pytest.mark.parametrize("where", ["model", "last", "picture", "state"])
def test_a_stop_while_a_report_is_made_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    data = Split(items(tmp_path / "data", 4), items(tmp_path / "val", 2))
    whole = run(data, tmp_path / "whole", OPTIONS, TINY)
    home = {"model": checkpoint, "last": checkpoint, "picture": RunFolder, "state": RunFolder}[where]
    name = {"model": "write_flowseg", "last": "write_flowseg", "picture": "write_bytes", "state": "write_state"}[where]
    real, calls = getattr(home, name), []

    def stopped(*given: object) -> object:
        calls.append(given)
        if len(calls) == (4 if where == "last" else 3):
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(home, name, stopped)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "parts", OPTIONS, TINY)
    monkeypatch.undo()
    parts = run(data, tmp_path / "parts", OPTIONS, TINY, resume=True)
    assert_same(whole.model, parts.model)
    assert_same(whole.folder / "last.safetensors", parts.folder / "last.safetensors")
    columns = ("step", "train_loss", "validation_loss", "ap50", "map")
    for one, other in zip(whole.history, parts.history, strict=True):
        assert [getattr(one, name) for name in columns] == pytest.approx([getattr(other, name) for name in columns])


def test_ctrl_c_waits_for_the_end_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = items(tmp_path / "data", 4)
    options = replace(OPTIONS, ema=0.9)
    whole = run(data, tmp_path / "whole", options, TINY)
    real = Stepper._losses

    def interrupted(self: Stepper, *given: object) -> Losses:
        found = real(self, *given)  # type: ignore[arg-type]
        if self.done == 5:
            signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setattr(Stepper, "_losses", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "parts", options, TINY)
    monkeypatch.undo()
    assert RunFolder(tmp_path / "parts").read_state()["done"] == 6  # type: ignore[index]
    assert_same(whole.model, run(data, tmp_path / "parts", options, TINY, resume=True).model)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_training_that_patience_ended_is_not_gone_on_with(tmp_path: Path) -> None:
    split = Split(items(tmp_path / "train", 3), items(tmp_path / "val", 2))
    options = replace(OPTIONS, lr=1e-9, crops=400, reports=20, patience=2)
    first = run(split, tmp_path / "run", options, TINY)
    (tmp_path / "run/MODEL_CARD.md").unlink()  # stopped before the end
    again = run(split, tmp_path / "run", options, TINY, resume=True)
    assert again.history == first.history
    assert (tmp_path / "run/MODEL_CARD.md").exists()


def test_one_run_at_a_time_writes_to_a_folder_and_leftovers_go(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 3)
    run(data, tmp_path / "run", replace(OPTIONS, crops=8), TINY)
    torn = tmp_path / "run/samples/.1234.flowseg.part"
    torn.parent.mkdir(exist_ok=True)
    torn.write_bytes(b"half")
    with (
        RunFolder(tmp_path / "run").mine(),
        pytest.raises(InputError, match="another run is writing"),
    ):
        run(data, tmp_path / "run", replace(OPTIONS, crops=8), TINY, resume=True)
    assert not torn.exists()


def test_a_finished_training_stays_as_it_is(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 4)
    first = run(data, tmp_path / "run", OPTIONS, TINY)
    before = weights(first.model)
    again = run(data, tmp_path / "run", OPTIONS, TINY, resume=True)
    assert again.history == first.history or np.isnan(first.history[0].map)
    assert all(before[name].equal(tensor) for name, tensor in weights(again.model).items())


def stopped(data: list[Item], folder: Path, asked: Asked = TINY) -> None:
    with pytest.raises(Killed):
        run(data, folder, replace(OPTIONS, save_seconds=0.0), asked, tell=stopping(28, Killed))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("diameter_mean", {"diameter": 20.0}),
        ("licence", {"licence": "MIT"}),
        ("inputs", {"new": NewModel("two", (4, 6, 8))}),
        ("widths", {"new": NewModel("grey", (4, 6))}),
        ("axes", {"axes": "YX"}),
        ("channels", {"choice": ChannelChoice(0)}),
    ],
)
def test_another_model_cannot_be_gone_on_with(tmp_path: Path, name: str, change: dict[str, object]) -> None:
    data = items(tmp_path / "data", 3)
    stopped(data, tmp_path / "run")
    with pytest.raises(OptionError, match=f"began with another {name}"):
        run(data, tmp_path / "run", OPTIONS, replace(TINY, **change), resume=True)  # type: ignore[arg-type]


def test_a_training_goes_on_without_the_model_it_began_with(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 3)
    first = run(data, tmp_path / "first", replace(OPTIONS, crops=8), TINY)
    asked = Asked(pretrained=str(first.model))
    whole = run(data, tmp_path / "whole", OPTIONS, asked)
    stopped(data, tmp_path / "parts", asked)
    first.model.unlink()
    assert_same(whole.model, run(data, tmp_path / "parts", OPTIONS, asked, resume=True).model)


@pytest.mark.parametrize("key", ["history", "network", "optimiser", "done", "best", "losses"])
def test_a_state_that_does_not_fit_is_told(tmp_path: Path, key: str) -> None:
    data = items(tmp_path / "data", 3)
    stopped(data, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    state = folder.read_state()
    assert state is not None
    folder.write_state({name: value for name, value in state.items() if name != key})
    with pytest.raises(InputError, match="it was changed, or is of another network or version"):
        run(data, tmp_path / "run", OPTIONS, TINY, resume=True)


@pytest.mark.parametrize("change", [{"model": {"widths": 3}}, {"train": 5}, {"options": None}, {"model": None}])
def test_a_config_that_was_changed_is_told(tmp_path: Path, change: dict[str, object]) -> None:
    data = items(tmp_path / "data", 3)
    stopped(data, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    folder.write_json("config.json", folder.read_config() | change)
    with pytest.raises(InputError, match="does not say what the training began with"):
        run(data, tmp_path / "run", OPTIONS, TINY, resume=True)


def test_a_model_that_was_taken_away_is_written_again(tmp_path: Path) -> None:
    data = items(tmp_path / "data", 3)
    done = run(data, tmp_path / "run", OPTIONS, TINY)
    before = weights(done.model)
    done.model.unlink()
    again = weights(run(data, tmp_path / "run", OPTIONS, TINY, resume=True).model)
    assert all(before[name].equal(tensor) for name, tensor in again.items())


def test_a_training_that_begins_from_the_start_says_so(tmp_path: Path) -> None:
    data, told = items(tmp_path / "data", 3), list[str]()
    stopped(data, tmp_path / "run")
    (tmp_path / "run/state.pt").unlink()
    run(data, tmp_path / "run", OPTIONS, TINY, resume=True, watch=Watch(say=told.append))
    assert "has kept nothing of the training yet: it begins from the start" in told[0]
