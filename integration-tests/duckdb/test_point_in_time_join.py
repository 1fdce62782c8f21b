"""Training sets of random histories of a million rows, beside what DuckDB says they should be.

Needs the `larder` binary: LARDER_BIN=target/debug/larder pytest integration-tests/duckdb
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from larder_process import LarderProcess

pytestmark = pytest.mark.skipif("LARDER_BIN" not in os.environ, reason="LARDER_BIN does not name a larder binary")

HISTORY_ROWS, SPINE_ROWS = 1_000_000, 200_000
START, SPAN = 1_767_225_600_000_000, 60 * 24 * 3_600_000_000
TTL = 9 * 24 * 3_600_000_000

DEFINITIONS = """\
project: random
entities:
  - { name: card, join_keys: [{ name: card, type: string }] }
  - { name: pair, join_keys: [{ name: card, type: string }, { name: shop, type: int64 }] }
sources:
  - { name: cards, parquet: { path: cards }, event_time: happened, created_time: made }
  - { name: pairs, parquet: { path: pairs.parquet }, event_time: happened }
feature_views:
  - name: by_card
    entities: [card]
    source: cards
    ttl: 9d
    features:
      - { name: amount, type: float64 }
      - { name: count, type: int64 }
      - { name: city, type: string }
      - { name: seen, type: timestamp }
  - name: by_pair
    entities: [pair]
    source: pairs
    features:
      - { name: score, type: float32 }
      - { name: trusted, type: bool }
feature_services:
  - { name: everything, features: [{ view: by_card }, { view: by_pair }] }
"""

# The latest row not later than the spine's, of one event time the one created last; then the ttl. Keys with a null match
# nothing, since nothing is equal to null.
EXPECTED = f"""
    WITH cards AS (
        SELECT *, epoch_us(happened) AS us FROM read_parquet('cards/*.parquet') WHERE happened IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY card, happened ORDER BY made DESC NULLS LAST) = 1
    ), pairs AS (
        SELECT *, epoch_us(happened) AS us FROM 'pairs.parquet' WHERE happened IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY card, shop, happened) = 1
    ), spine AS (
        FROM 'spine.parquet'
    ), by_card AS (
        SELECT s.row, c.* FROM spine s ASOF JOIN cards c ON s.card = c.card AND s.us >= c.us WHERE s.us - c.us <= {TTL}
    ), by_pair AS (
        SELECT s.row, p.* FROM spine s ASOF JOIN pairs p ON s.card = p.card AND s.shop = p.shop AND s.us >= p.us
    )
    SELECT s.*, amount, count, city, seen, score, trusted
    FROM spine s LEFT JOIN by_card c ON s.row = c.row LEFT JOIN by_pair p ON s.row = p.row ORDER BY s.row
"""


def times(random: np.random.Generator, rows: int) -> pa.Array:
    """Whole minutes, so that many are equal; out of order."""
    minutes = random.integers(0, SPAN // 60_000_000, rows)
    return pa.array(START + minutes * 60_000_000, pa.timestamp("us", "UTC"))


def with_nulls(random: np.random.Generator, values: pa.Array, share: float) -> pa.Array:
    return pc.if_else(pa.array(random.random(len(values)) < share), pa.scalar(None, values.type), values)


def cards(random: np.random.Generator, rows: int) -> pa.Array:
    """Few have many rows, most have few."""
    numbers = np.minimum(random.zipf(1.3, rows), 40_000)
    return with_nulls(random, pa.array([f"card-{number}" for number in numbers]), 0.01)


def bits(random: np.random.Generator, rows: int) -> np.ndarray:
    """Any doubles: infinite, not a number, minus zero."""
    odd = np.array([np.nan, -0.0, np.inf, -np.inf, 5e-324])
    return np.where(random.random(rows) < 0.02, random.choice(odd, rows), random.normal(size=rows))


def write_history(random: np.random.Generator, folder: Path) -> None:
    half = HISTORY_ROWS // 2
    # The value is a function of what orders rows: of two that are equal to the last it does not matter which one is taken.
    made = with_nulls(random, pa.array(START + random.integers(0, 40, half) * 3_600_000_000, pa.timestamp("us", "UTC")), 0.05)
    table = pa.table({"card": cards(random, half), "happened": with_nulls(random, times(random, half), 0.01), "made": made})
    seeds = {
        "amount": pa.array(bits(random, 9973)),
        "count": pa.array(random.integers(-(2**63), 2**63 - 1, 9973)),
        "city": pa.array([f"city {number}" for number in range(9973)]),
        "seen": times(random, 9973),
    }
    table = with_values(random, table, seeds)
    (folder / "cards").mkdir()
    # A second file repeats rows of the first and has what is out of order.
    cut = half // 3
    pq.write_table(table.slice(cut), folder / "cards" / "a.parquet", row_group_size=50_000)
    pq.write_table(table.slice(0, cut + 20_000), folder / "cards" / "b.parquet", row_group_size=50_000)

    shops = with_nulls(random, pa.array(random.integers(-3, 4, half)), 0.01)
    table = pa.table({"card": cards(random, half), "shop": shops, "happened": with_nulls(random, times(random, half), 0.01)})
    seeds = {
        "score": pa.array(bits(random, 9973).astype(np.float32)),
        "trusted": pa.array(random.random(9973) < 0.5),
    }
    pq.write_table(with_values(random, table, seeds), folder / "pairs.parquet", row_group_size=50_000)


def with_values(random: np.random.Generator, table: pa.Table, seeds: dict[str, pa.Array]) -> pa.Table:
    connection = duckdb.connect()
    connection.register("rows", table)
    text = " || '/' || ".join(f"coalesce({name}::VARCHAR, '')" for name in table.column_names)
    number = connection.sql(f'SELECT (md5_number_lower({text}) % 9973)::BIGINT AS n FROM "rows"').to_arrow_table()["n"]
    for name, values in seeds.items():
        table = table.append_column(name, with_nulls(random, values, 0.1).take(number))
    return table


def write_spine(random: np.random.Generator, folder: Path) -> None:
    # Finer than microseconds, to which they are rounded down.
    nanoseconds = random.integers((START - SPAN // 20) * 1_000, (START + SPAN + SPAN // 5) * 1_000, SPINE_ROWS)
    # Many of exactly the minute of a row of history.
    nanoseconds -= np.where(random.random(SPINE_ROWS) < 0.2, nanoseconds % 60_000_000_000, 0)
    spine = pa.table({
        "row": pa.array(np.arange(SPINE_ROWS)),
        "label": with_nulls(random, pa.array(random.random(SPINE_ROWS)), 0.2),
        "card": cards(random, SPINE_ROWS),
        "t": pa.array(nanoseconds, pa.timestamp("ns", "UTC")),
        "us": pa.array(nanoseconds // 1_000),
        "shop": with_nulls(random, pa.array(random.integers(-3, 4, SPINE_ROWS)), 0.01),
    })
    # Some rows are there twice but for their number.
    twice = spine.slice(0, SPINE_ROWS // 50).set_column(0, "row", pa.array(np.arange(SPINE_ROWS, SPINE_ROWS + SPINE_ROWS // 50)))
    pq.write_table(pa.concat_tables([spine, twice]), folder / "spine.parquet")


@contextmanager
def running(folder: Path, memory: str) -> Iterator[LarderProcess]:
    os.environ["LARDER__MATERIALIZER__TRAINING_MEMORY"] = memory
    larder = LarderProcess(Path(os.environ["LARDER_BIN"]).resolve(), folder, folder / "larder-data")
    larder.start()
    try:
        yield larder
    finally:
        larder.stop()
        del os.environ["LARDER__MATERIALIZER__TRAINING_MEMORY"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random")
    random = np.random.default_rng(int(os.environ.get("SEED", "1")))
    write_history(random, folder)
    write_spine(random, folder)
    (folder / "larder.yaml").write_text(DEFINITIONS)
    return folder


@pytest.fixture(scope="module")
def expected(folder: Path) -> pa.Table:
    here = Path.cwd()
    os.chdir(folder)
    try:
        return duckdb.sql(EXPECTED).to_arrow_table()
    finally:
        os.chdir(here)


# In memory, and with so little of it that both sides go to disk.
@pytest.mark.parametrize("memory", ["1GiB", "24MiB"])
def test_a_million_rows_are_joined_as_duckdb_joins_them(folder: Path, expected: pa.Table, memory: str) -> None:
    with running(folder, memory) as larder:
        larder.apply()
        run = larder.run("train", "everything", "--spine", "spine.parquet", "--event-time", "t", "--out", f"{memory}.parquet")
    assert run, "the command answers with the run"
    found = pq.read_table(folder / f"{memory}.parquet")
    assert found.column_names == expected.column_names
    assert found["row"].equals(expected["row"]), "every row of the spine, once, in its order"
    for name in found.column_names:
        differing = different(found[name], expected[name])
        assert not differing, f"{name}: {len(differing)} rows differ, the first: {found.slice(differing[0], 1).to_pylist()}, expected {expected.slice(differing[0], 1).to_pylist()}"
    # The test would be worth little if hardly anything was found.
    present = [1 - found[name].null_count / len(found) for name in ("amount", "score")]
    assert all(0.3 < share < 0.95 for share in present), present


def different(found: pa.ChunkedArray, expected: pa.ChunkedArray) -> list[int]:
    """The rows that differ in a bit."""
    found, expected = (plain(column) for column in (found, expected))
    same = pc.or_kleene(
        pc.and_(pc.is_null(found), pc.is_null(expected)),
        pc.fill_null(pc.equal(found, expected), False),
    )
    return np.flatnonzero(~same.to_numpy(zero_copy_only=False)).tolist()


def plain(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if pa.types.is_floating(array.type):
        return array.view(pa.int64() if array.type == pa.float64() else pa.int32())
    if pa.types.is_timestamp(array.type):
        return array.cast(pa.timestamp("ns", "UTC")).view(pa.int64())
    return array
