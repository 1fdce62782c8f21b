"""The proof notices what it claims to notice: every difference of a bit, and every answer that did not occur."""

from __future__ import annotations

import argparse
import stat
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import columns
import generate
import prove
from prove import Asked, serving_pb2, types

PAYLOAD, OTHER_PAYLOAD = np.array([0x7FF8_0000_0000_0001, 0x7FF8_0000_0000_0002], dtype=np.uint64).view(np.float64)
INSTANT = 1_700_000_000_000_000


def served(kind: int, values: list[Any], statuses: list[int] | None = None) -> prove.Values:
    """As an answer brings them: statuses are left out where all are PRESENT, and no value is sent without it."""
    if statuses is None:
        statuses = [1 if value is None else 0 for value in values]
    column = columns.encode(kind, [None if status else value for value, status in zip(values, statuses, strict=True)])
    message = serving_pb2.Feature(name="a", values=column, statuses=bytes(statuses) if any(statuses) else b"")
    return prove.served_values(serving_pb2.Feature.FromString(message.SerializeToString()), Counter())


def trained(kind: pa.DataType, values: list[Any]) -> prove.Values:
    return prove.trained_values(pa.chunked_array([pa.array(values[:1], kind), pa.array(values[1:], kind)]))


@pytest.mark.parametrize(
    ("kind", "arrow_kind", "online", "history", "expected"),
    [
        (columns.FLOAT64, pa.float64(), [1.5, -0.0, 0.0], [1.5, 0.0, 0.0], [False, True, False]),
        (columns.FLOAT64, pa.float64(), [PAYLOAD, PAYLOAD], [PAYLOAD, OTHER_PAYLOAD], [False, True]),
        (columns.FLOAT64, pa.float64(), [float("inf"), None, None], [float("inf"), None, float("nan")], [False, False, True]),
        (types.TYPE_KIND_FLOAT32, pa.float32(), [0.5, -0.0], [0.5, 0.0], [False, True]),
        (columns.INT64, pa.int64(), [2**63 - 1, -(2**63), None], [2**63 - 1, -(2**63), None], [False, False, False]),
        (columns.INT64, pa.int64(), [2**53, 0], [2**53 + 1, None], [True, True]),
        (columns.INT64, pa.float64(), [1, 2], [1.0, 2.0], [True, True]),
        (columns.BOOL, pa.bool_(), [True, False, None], [True, None, False], [False, True, True]),
        (columns.STRING, pa.string(), ["a", "", None], ["a", None, None], [False, True, False]),
        (types.TYPE_KIND_TIMESTAMP, pa.timestamp("us", tz="UTC"), [1, 2], [1, 3], [False, True]),
    ],
)
def test_differences_are_found_by_bits(
    kind: int, arrow_kind: pa.DataType, online: list[Any], history: list[Any], expected: list[bool]
) -> None:
    assert served(kind, online).differs(trained(arrow_kind, history)).tolist() == expected
    assert trained(arrow_kind, history).differs(served(kind, online)).tolist() == expected


@pytest.mark.parametrize("status", [1, 2, 3, 77])
def test_all_but_present_is_null(status: int) -> None:
    assert served(columns.FLOAT64, [1.0, 2.0], [status, 0]).is_there.tolist() == [False, True]


def test_present_without_a_value_is_an_error() -> None:
    feature = serving_pb2.Feature(name="a", values=columns.encode(columns.FLOAT64, [None]))
    with pytest.raises(SystemExit, match="PRESENT"):
        prove.served_values(feature, Counter())


def test_a_row_of_the_near_future_is_judged_at_its_own_time() -> None:
    versions = [types.RowVersion(event_time=INSTANT + 5), types.RowVersion(event_time=INSTANT - 5), types.RowVersion()]
    view = serving_pb2.ViewReplay(name="v", versions=versions, found=[True, True, False])
    replay = serving_pb2.Replay(instant=INSTANT, views=[view])
    assert prove.judged_at(replay, 3).tolist() == [INSTANT + 5, INSTANT, INSTANT]


class FakeServing:
    """Answers the amount that was asked for, as a feature; each answer at an instant of its own."""

    def __init__(self, statuses: bytes) -> None:
        self.statuses, self.calls = statuses, 0

    def GetOnlineFeatures(self, request: serving_pb2.GetOnlineFeaturesRequest, timeout: float) -> serving_pb2.GetOnlineFeaturesResponse:
        assert request.include_replay
        assert timeout > 0
        self.calls += 1
        amount = request.request_data[0].column
        rows = amount.length
        there = columns.is_valid(amount)
        statuses = bytes(self.statuses[row % len(self.statuses)] or (0 if there[row] else 1) for row in range(rows))
        return serving_pb2.GetOnlineFeaturesResponse(
            features=[serving_pb2.Feature(name="amount", values=amount, statuses=statuses)],
            replay=serving_pb2.Replay(instant=INSTANT + self.calls, revision=1),
        )


# A training set whose feature is the spine's amount, but for the rows that were not PRESENT.
FAKE_LARDER = """#!{python}
import sys
import pyarrow as pa, pyarrow.parquet as pq, pyarrow.compute as pc
arguments = dict(zip(sys.argv, sys.argv[1:]))
spine = pq.read_table(arguments["--spine"])
amounts = spine["loan_amount"].to_pylist()
statuses, wrong = {statuses!r}, {wrong!r}
batch = {batch}
features = [None if statuses[row % batch % len(statuses)] else amount for row, amount in enumerate(amounts)]
for row in wrong:
    features[row] = 0.25
pq.write_table(spine.append_column("amount", pa.array(features, pa.float64())), arguments["--out"])
"""


@pytest.mark.parametrize(
    ("statuses", "wrong", "is_proved", "says"),
    [
        ([0, 1, 2, 3], [], True, "compared 20 rows x 1 features: 0 differ\n"),
        ([0, 1, 2, 3], [4, 5], False, "compared 20 rows x 1 features: 2 differ\n"),
        ([0, 1, 2], [], False, "nothing was shown of OUTSIDE_MAX_AGE"),
        ([0], [], False, "nothing was shown of NOT_FOUND, OUTSIDE_MAX_AGE"),
    ],
)
def test_a_whole_proof(
    statuses: list[int], wrong: list[int], is_proved: bool, says: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    larder = tmp_path / "larder"
    larder.write_text(FAKE_LARDER.format(python=sys.executable, statuses=statuses, wrong=wrong, batch=8))
    larder.chmod(larder.stat().st_mode | stat.S_IXUSR)
    options = argparse.Namespace(project="p", batch=8, larder=larder, repository=tmp_path)
    asked = Asked([f"c{row}" for row in range(19)] + [None], [*prove.ODD_AMOUNTS, *map(float, range(14))])
    stub = FakeServing(bytes(statuses))
    assert prove.prove(options, stub, "service", asked) is is_proved
    output = capsys.readouterr().out
    assert says in output
    assert stub.calls == 3
    assert "20 entities at 3 instants, revision 1" in output
    if wrong:
        assert "amount of c4 at 2023-11-14T22:13:20.000001" in output
        assert "trained 0.25 (0x3fd0000000000000)" in output


def test_customers_of_every_kind_are_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "data"
    generate.main(f"history --customers 1000 --rows 4000 --events 200 --spine 500 --out {out}".split())
    generate.main(f"expiring --rows 40 --out {out}".split())
    asked = prove.draw(out, 800, 7)
    assert asked.customers == prove.draw(out, 800, 7).customers
    assert len(asked) >= 800
    assert len(asked.customers) == len(asked.amounts)
    assert None in asked.customers
    expiring = set(pq.read_table(out / "push" / "expiring_events.parquet")["customer_id"].to_pylist())
    assert expiring <= set(asked.customers)
    unknown = [name for name in asked.customers if name and name.startswith("CUST9")]
    assert len(unknown) == 40
    assert len([batch for batch in asked.batches(250)]) == -(-len(asked) // 250)
