"""Images that are validated on while a network trains."""

import pytest

from flowseg.training.validation import spread


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 76, 127, 128, 500])
def test_as_many_as_are_asked_for_from_everywhere(count: int) -> None:
    items = list(range(count))
    found = spread(items, 64)  # type: ignore[arg-type]
    assert len(found) == min(count, 64)
    assert found == sorted(set(found))
    gaps = [after - before for before, after in zip(found, [*found[1:], count], strict=True)]
    assert max(gaps) - min(gaps) <= 1


def test_nothing_of_nothing() -> None:
    assert spread([], 64) == []
