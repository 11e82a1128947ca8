"""What holds for all tests."""

import signal


def pytest_configure() -> None:
    """Hear Ctrl-C, and let what tests start hear it: what a shell runs in the background ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
