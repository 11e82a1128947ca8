"""Numbers of things in words."""


def many(count: int, one: str, several: str = "") -> str:
    """Return how many there are of what, or of ``several`` where that takes more than an s.

    >>> many(1, "image"), many(0, "image"), many(2, "image has", "images have")
    ('1 image', '0 images', '2 images have')
    """
    return f"{count} {one if count == 1 else several or f'{one}s'}"
