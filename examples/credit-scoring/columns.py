"""Larder's `Column` messages: decoded into Python values or into numbers for a model, and made of Python values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import stubs

stubs.load()

from larder.types.v1 import types_pb2 as types  # noqa: E402

BOOL, INT64, FLOAT64, STRING = (
    types.TYPE_KIND_BOOL,
    types.TYPE_KIND_INT64,
    types.TYPE_KIND_FLOAT64,
    types.TYPE_KIND_STRING,
)

# Where the values of each kind stand in the message.
FIELDS = {
    types.TYPE_KIND_BOOL: "bools",
    types.TYPE_KIND_INT32: "int32s",
    types.TYPE_KIND_INT64: "int64s",
    types.TYPE_KIND_TIMESTAMP: "int64s",
    types.TYPE_KIND_FLOAT32: "floats",
    types.TYPE_KIND_FLOAT64: "doubles",
    types.TYPE_KIND_STRING: "strings",
    types.TYPE_KIND_BYTES: "blobs",
}

# What stands at a null.
FILLERS = {BOOL: False, INT64: 0, FLOAT64: 0.0, STRING: ""}


def encode(kind: int, values: Sequence[Any]) -> types.Column:
    """A column of bools, integers, floats or strings; None is null."""
    column = types.Column(kind=kind, length=len(values))
    getattr(column, FIELDS[kind]).extend(FILLERS[kind] if value is None else value for value in values)
    if any(value is None for value in values):
        column.validity = np.packbits([value is not None for value in values], bitorder="little").tobytes()
    return column


def named(name: str, kind: int, values: Sequence[Any]) -> types.NamedColumn:
    return types.NamedColumn(name=name, column=encode(kind, values))


def is_valid(column: types.Column) -> np.ndarray:
    """For each row, whether it has a value."""
    if not column.validity:
        return np.ones(column.length, dtype=bool)
    bits = np.unpackbits(np.frombuffer(column.validity, dtype=np.uint8), bitorder="little", count=column.length)
    return bits.astype(bool)


def decode(column: types.Column) -> list[Any]:
    """The values row by row; None is null. A kind that this module does not know is null in every row."""
    if column.kind == types.TYPE_KIND_LIST:
        values = split(decode(column.items), column.list_lengths)
    elif column.kind in FIELDS:
        values = list(getattr(column, FIELDS[column.kind]))
    else:
        return [None] * column.length
    return [value if valid else None for value, valid in zip(values, is_valid(column), strict=True)]


def split(items: list[Any], lengths: Sequence[int]) -> list[list[Any]]:
    ends = np.cumsum(lengths, dtype=np.int64)
    return [items[end - length : end] for end, length in zip(ends, lengths)]


def as_floats(column: types.Column) -> np.ndarray:
    """The values as a model takes them: float64, yes and no as 1 and 0, null as NaN."""
    field = FIELDS.get(column.kind)
    if field is None or field in ("strings", "blobs"):
        raise ValueError(f"values of kind {column.kind} are no numbers")
    floats = np.array(getattr(column, field), dtype=np.float64)
    floats[~is_valid(column)] = np.nan
    return floats
