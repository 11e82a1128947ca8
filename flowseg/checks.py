"""Values of options checked: a wrong one raises an `OptionError` that says what came and what was wanted."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, TypeGuard

import numpy as np

from flowseg.errors import OptionError


def known_fields(cls: type, values: object, what: str) -> dict[str, Any]:
    """Return values by name of a field of a class; another name is refused."""
    if not isinstance(values, Mapping):
        raise OptionError(f"the {what} is {short(values)}; wanted names and values")
    unknown = sorted(str(name) for name in set(values) - {item.name for item in fields(cls)})
    if unknown:
        raise OptionError(f"the {what} has the unknown field {unknown[0]!r}; was it written by a newer flowseg?")
    return dict(values)


def known_names(given: Iterable[str], known: Iterable[str], what: str = "option") -> None:
    """Refuse settings by a name that there is not, and say which there are."""
    names = list(known)
    wrong = next((name for name in given if name not in names), None)
    if wrong is not None:
        raise OptionError(f"there is no {what} {wrong!r}; there are {', '.join(names)}")


def plain(record: Any) -> None:
    """Make the numbers of a frozen record that came as NumPy's those of Python, which can be written down."""
    for item in fields(record):
        object.__setattr__(record, item.name, _plain(getattr(record, item.name)))


def _plain(value: object) -> object:
    if type(value) in (list, tuple):  # and not what is derived of them, which may be made otherwise
        values = map(_plain, value)  # type: ignore[call-overload]
        return list(values) if isinstance(value, list) else tuple(values)
    single = isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0)
    return value.item() if single else value  # type: ignore[attr-defined]


def short(value: object) -> str:
    """Return a value as text that fits a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def several(name: str, value: object) -> tuple[Any, ...]:
    """Return what a person wrote as one number, as text with a comma, or as anything to go through, as a tuple."""
    value = _plain(value)
    if isinstance(value, str):
        if not value.strip(" ,"):
            raise OptionError(f"{name} is {value!r}, which names none; leave it out, or name one")
        return tuple(part.strip() for part in value.split(","))
    if isinstance(value, Iterable):
        return tuple(map(_plain, value))
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise OptionError(f"{name} is {short(value)}; wanted a number, a name, or several of them")
    return (int(value),)


def tuple_of(name: str, value: object) -> tuple[Any, ...]:
    """Return a list or a tuple as a tuple."""
    if not isinstance(value, list | tuple):
        raise OptionError(f"{name} is {short(value)}; wanted a list")
    return tuple(value)


def whole(name: str, value: object, low: int, high: int | None = None) -> None:
    """Want a whole number."""
    right = isinstance(value, Integral) and not isinstance(value, bool)
    if not right or not low <= value <= (math.inf if high is None else high):  # type: ignore[operator]
        wanted = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise OptionError(f"{name} is {short(value)}; wanted a whole number {wanted}")


def number(name: str, value: object, low: float, high: float | None = None) -> None:
    """Want a finite number."""
    if not _finite(value) or not low <= value <= (math.inf if high is None else high):
        wanted = f"of at least {low:g}" if high is None else f"from {low:g} to {high:g}"
        raise OptionError(f"{name} is {short(value)}; wanted a number {wanted}")


def part(name: str, value: object) -> None:
    """Want a part that leaves something over."""
    if not _finite(value) or not 0 <= value < 1:
        raise OptionError(f"{name} is {short(value)}; wanted a number from 0 to less than 1")


def _finite(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number; whole ones may be too long for `math.isfinite`."""
    right = isinstance(value, Real) and not isinstance(value, bool)
    return right and bool(-math.inf < value < math.inf)


def percentiles(name: str, pair: tuple[float, float]) -> None:
    """Want two percentiles, the low one first."""
    if len(pair) != 2:
        raise OptionError(f"{name} is {short(pair)}; wanted two percentiles (low, high)")
    low, high = pair
    number(f"the low percentile of {name}", low, 0, 100)
    number(f"the high percentile of {name}", high, 0, 100)
    if low >= high:
        raise OptionError(f"{name} is {pair}; wanted the low percentile below the high one")


def one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    """Want one of a few words."""
    if value not in known:
        raise OptionError(f"{name} is {short(value)}; wanted one of {', '.join(known)}")


def flag(name: str, value: object) -> None:
    """Want true or false."""
    if not isinstance(value, bool):
        raise OptionError(f"{name} is {short(value)}; wanted true or false")


def folder(name: str, value: object) -> None:
    """Want the name of a folder, which an empty text is not: it would mean the current one."""
    if value == "":
        raise OptionError(f"{name} is an empty text; wanted the name of a folder (this one is '.')")


def text(name: str, value: object) -> None:
    """Want text."""
    if not isinstance(value, str):
        raise OptionError(f"{name} is {short(value)}; wanted text")
