"""Column messages: what goes in comes out, bit for bit."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

import columns
from columns import types


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (columns.BOOL, [True, None, False]),
        (columns.INT64, [2**63 - 1, -(2**63), None, 0]),
        (columns.STRING, ["", None, "größer", "CUST00000042"]),
        (columns.FLOAT64, [1.5, None, -math.inf, 5e-324]),
        (columns.FLOAT64, []),
        (columns.FLOAT64, [None] * 9),
        (columns.INT64, list(range(64))),
    ],
)
def test_values_come_out_as_they_went_in(kind: int, values: list) -> None:
    column = types.Column.FromString(columns.encode(kind, values).SerializeToString())
    assert columns.decode(column) == values
    assert bool(column.validity) == any(value is None for value in values)


def test_floats_keep_their_bits() -> None:
    values = [math.nan, -0.0, 0.1, math.inf]
    column = types.Column.FromString(columns.encode(columns.FLOAT64, values).SerializeToString())
    assert struct.pack("4d", *columns.decode(column)) == struct.pack("4d", *values)
    assert columns.as_floats(column).tobytes() == np.array(values).tobytes()


def test_validity_is_least_significant_bit_first() -> None:
    values = [None, 1, None, None, 1, 1, 1, 1, None, 1]
    assert columns.encode(columns.INT64, values).validity == bytes([0b11110010, 0b10])


def test_a_model_gets_numbers() -> None:
    assert columns.as_floats(columns.encode(columns.BOOL, [True, False])).tolist() == [1.0, 0.0]
    assert np.isnan(columns.as_floats(columns.encode(columns.INT64, [7, None]))).tolist() == [False, True]
    with pytest.raises(ValueError, match="no numbers"):
        columns.as_floats(columns.encode(columns.STRING, ["1"]))


def test_lists_are_cut_at_their_lengths() -> None:
    items = columns.encode(columns.INT64, [1, None, 3])
    column = types.Column(kind=types.TYPE_KIND_LIST, length=4, list_lengths=[2, 0, 0, 1], items=items, validity=bytes([0b1011]))
    assert columns.decode(column) == [[1, None], [], None, [3]]


def test_an_unknown_kind_is_null() -> None:
    assert columns.decode(types.Column(kind=999, length=2)) == [None, None]
