"""Work on threads: all of it done once, errors passed on, safe after a fork and from several threads."""

import multiprocessing
import threading as real_threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowseg import FlowsegError, masks_to_flows, threads
from tests.shapes import solid_cells


@given(st.integers(0, 200), st.integers(1, 9))
def test_even_bounds_cover_all(items: int, parts: int) -> None:
    bounds = threads.even_bounds(items, parts)
    assert (bounds[0], bounds[-1], len(bounds)) == (0, items, parts + 1)
    lengths = np.diff(bounds)
    assert lengths.min() >= 0
    assert lengths.max() - lengths.min() <= 1


@given(st.lists(st.floats(0, 1e6), max_size=60), st.integers(1, 9))
def test_cost_bounds_cover_all(costs: list[float], parts: int) -> None:
    bounds = threads.cost_bounds(np.array(costs), parts)
    assert (bounds[0], bounds[-1]) == (0, len(costs))
    assert (np.diff(bounds) >= 0).all()


@pytest.mark.parametrize("count", ["1", "4", "64"])
def test_each_range_is_done_once(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    monkeypatch.setenv("FLOWSEG_THREADS", count)
    done = np.zeros(1000, int)

    def task(start: int, stop: int) -> None:
        done[start:stop] += 1

    threads.over_ranges(task, threads.blocks(1000, 7))
    assert (done == 1).all()


def test_an_error_in_a_task_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSEG_THREADS", "3")

    def task(start: int, stop: int) -> None:
        if start == 50:
            raise KeyError("fifty")

    for _ in range(20):
        with pytest.raises(KeyError, match="fifty"):
            threads.over_ranges(task, threads.blocks(100, 10))


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_threads_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FLOWSEG_THREADS", text)
    with pytest.raises(FlowsegError, match="FLOWSEG_THREADS"):
        threads.count()


def test_several_threads_may_call_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSEG_THREADS", "2")
    labels = solid_cells(300, 20, seed=1)
    wanted, results = masks_to_flows(labels), []
    callers = [real_threading.Thread(target=lambda: results.append(masks_to_flows(labels))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 8
    assert all((result == wanted).all() for result in results)


def _sum_of_flows(labels: np.ndarray) -> float:
    return float(np.abs(masks_to_flows(labels)).sum())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_works_after_the_parent_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSEG_THREADS", "2")
    labels = solid_cells(300, 20, seed=1)
    wanted = _sum_of_flows(labels)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(_sum_of_flows, [labels] * 2).get(timeout=60) == [wanted] * 2


def test_alone_holds_for_this_thread_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSEG_THREADS", "3")
    seen = []
    with threads.alone():
        other = real_threading.Thread(target=lambda: seen.append(threads.count()))
        other.start()
        other.join()
        assert threads.count() == 1
        with threads.alone():
            pass
        assert threads.count() == 1
    assert threads.count() == 3
    assert seen == [3]


def test_things_are_made_beside_one_another_and_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSEG_THREADS", "3")
    together = real_threading.Barrier(3, timeout=60)

    def made(number: int) -> tuple[int, int]:
        together.wait()
        return number, threads.count()

    assert list(threads.mapped(made, range(6))) == [(number, 1) for number in range(6)]
    halves = threads.mapped(lambda number: 1 / number, [2, 0, 1])
    assert next(halves) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(halves)
