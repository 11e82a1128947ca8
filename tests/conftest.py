"""What holds for all tests."""

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings


def pytest_configure() -> None:
    """Hear Ctrl-C, and let what tests start hear it: what a shell runs in the background ignores it.

    How fast examples are made and tried is that of the machine, and no fault.
    """
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import only what is beside the peer in an environment made for it: other tests want other libraries."""
    if config.option.markexpr != "peer" or collection_path.suffix != ".py":
        return None
    return True if "mark.peer" not in collection_path.read_text(encoding="utf-8") else None
