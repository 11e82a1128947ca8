"""Values as JSON has them, which has no number for what is none."""

import math


def plain(value: object) -> object:
    """Return dictionaries, lists, texts and numbers; named tuples by name, and null for NaN and infinity.

    >>> plain({"ap": (0.5, float("nan"))})
    {'ap': [0.5, None]}
    """
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
