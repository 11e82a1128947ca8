"""Measurements as Parquet, for pandas, polars, R and DuckDB: columns keep their types."""

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from flowseg.errors import MissingExtra


def require() -> None:
    """Raise, with the command that installs it, where the library is missing."""
    _library()


def encode(table: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """Return a table of `flowseg.measure`, a row an instance, as a Parquet file.

    Raises
    ------
    MissingExtra
        pyarrow is not installed.
    """
    arrow, parquet = _library()
    buffer = io.BytesIO()
    parquet.write_table(arrow.table({name: np.asarray(column) for name, column in table.items()}), buffer)
    return buffer.getvalue()


def joined(parts: Iterable[tuple[str, bytes]], columns: Iterable[str]) -> Iterator[bytes]:
    """Yield one Parquet file of the tables of many images, each with its name in a column ``image``.

    Parameters
    ----------
    parts
        Name of an image, and its table as `encode` made it.
    columns
        Those of the whole; what an image does not have is null. ``label`` is a whole number, as are ``area`` and the
        corners of boxes; others are double precision.
    """
    arrow, parquet = _library()
    fields = [arrow.field(name, arrow.int64() if _is_whole(name) else arrow.float64()) for name in columns]
    schema = arrow.schema([arrow.field("image", arrow.string()), *fields])
    sink = _Pieces()
    with parquet.ParquetWriter(sink, schema) as writer:
        for name, data in parts:
            table = parquet.read_table(io.BytesIO(data))
            rows = table.num_rows
            own = {field.name: _column(arrow, table, field, rows) for field in fields}
            images = arrow.array([name] * rows, arrow.string())
            if rows:
                writer.write_table(arrow.table({"image": images, **own}, schema=schema))
            yield sink.taken()
    yield sink.taken()


def columns_of(data: bytes) -> list[str]:
    """Return the names of the columns of a Parquet file."""
    _, parquet = _library()
    return list(parquet.read_schema(io.BytesIO(data)).names)


def _column(arrow: Any, table: Any, field: Any, rows: int) -> Any:
    if field.name not in table.column_names:
        return arrow.nulls(rows, field.type)
    return table.column(field.name).cast(field.type)


def _is_whole(name: str) -> bool:
    return name in ("label", "area") or name.startswith("bbox_")


class _Pieces(io.RawIOBase):
    """A file that is only written to, and passed on piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._at += len(piece)
        return len(piece)

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole


def _library() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", extra="parquet") from None
    return pyarrow, pyarrow.parquet
