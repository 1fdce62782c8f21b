"""The generator: what it promises of its data, on a small set."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

import generate

END = "2026-06-01T12:00:00Z"
CUSTOMERS, ROWS, EVENTS, SPINE = 2_000, 40_000, 1_000, 2_000
TTL_DAYS = {"customer_features": 365, "transaction_features": 90}
SOURCES = sorted(TTL_DAYS)


def write_data(out: Path, seed: int = 7) -> Path:
    sizes = f"--customers {CUSTOMERS} --rows {ROWS} --events {EVENTS} --spine {SPINE}"
    generate.main(f"history {sizes} --seed {seed} --end {END} --out {out}".split())
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("credit") / "data")


@pytest.fixture(scope="module")
def manifest(data: Path) -> dict:
    return json.loads((data / "manifest.json").read_text())


def ask(data: Path, source: str, query: str) -> list[tuple]:
    """Rows of a query in which `t` is the source."""
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    files = f"{data}/{source}/**/*.parquet"
    connection.execute(f"create view t as select * from read_parquet('{files}', filename = true, hive_partitioning = false)")
    return connection.execute(query).fetchall()


def one(data: Path, source: str, query: str) -> object:
    return ask(data, source, query)[0][0]


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_same_arguments_give_the_same_bytes(data: Path, tmp_path: Path) -> None:
    assert digest(write_data(tmp_path / "again")) == digest(data)


def test_another_seed_gives_other_data(data: Path, tmp_path: Path) -> None:
    other = digest(write_data(tmp_path / "other", seed=8))
    assert all(other[name] != value for name, value in digest(data).items() if name in other)


def test_data_is_never_overwritten(data: Path) -> None:
    with pytest.raises(SystemExit, match="has data already"):
        write_data(data)


@pytest.mark.parametrize("source", SOURCES)
def test_every_row_is_written(data: Path, manifest: dict, source: str) -> None:
    assert one(data, source, "select count(*) from t") == ROWS // 2 == manifest["sources"][source]["rows"]
    assert one(data, source, "select count(distinct filename) from t") == manifest["sources"][source]["files"] > 10


def test_columns_have_the_declared_types(data: Path) -> None:
    whole, yes_or_no = {"age", "num_credit_lines", "transaction_count_3m"}, {"unusual_transaction_pattern"}
    for source in SOURCES:
        schema = pq.read_schema(next((data / source).rglob("*.parquet")))
        assert schema.names[:3] == ["customer_id", "event_timestamp", "created_at"]
        assert schema.field("event_timestamp").type == schema.field("created_at").type == generate.TIMESTAMP
        for column in schema.names[3:]:
            expected = "int64" if column in whole else "bool" if column in yes_or_no else "double"
            assert str(schema.field(column).type) == expected, column


@pytest.mark.parametrize("source", SOURCES)
def test_times_lie_within_the_history(data: Path, source: str) -> None:
    assert one(data, source, "select count(*) from t where created_at < event_timestamp or created_at is null") == 0
    assert one(data, source, f"select count(*) from t where created_at > '{END}' or event_timestamp > '{END}'") == 0


@pytest.mark.parametrize("source", SOURCES)
def test_there_are_duplicates_corrections_and_ties(data: Path, manifest: dict, source: str) -> None:
    tally = manifest["sources"][source]
    features = ", ".join(pq.read_schema(next((data / source).rglob("*.parquet"))).names[3:])
    groups = f"""select count(*) rows, count(distinct created_at) created, count(distinct row({features})::text) vals
                 from t where customer_id is not null and event_timestamp is not null group by customer_id, event_timestamp"""

    def groups_where(condition: str) -> int:
        return one(data, source, f"select count(*) from ({groups}) where rows > 1 and {condition}")

    assert groups_where("created = 1 and vals = 1") == pytest.approx(tally["duplicates"], rel=0.02)
    assert groups_where("created > 1 and vals > 1") == pytest.approx(tally["corrections"], rel=0.1)
    assert groups_where("created = 1 and vals > 1") == pytest.approx(tally["ties"], rel=0.3)


@pytest.mark.parametrize("source", SOURCES)
def test_late_rows_stand_in_later_files(data: Path, manifest: dict, source: str) -> None:
    late = "created_at >= event_timestamp + interval 2 day"
    assert one(data, source, f"select count(*) from t where {late}") >= 0.9 * manifest["sources"][source]["late"]
    on_time_files = f"select filename, max(event_timestamp) newest from t where not ({late}) group by filename"
    behind = f"select count(*) from t join ({on_time_files}) f using (filename) where {late} and t.event_timestamp < f.newest"
    assert one(data, source, behind) > 100


def test_hive_folders_hold_the_month_of_the_event(data: Path) -> None:
    wrong = "strftime(event_timestamp, 'month=%Y-%m') <> split_part(filename, '/', -2) and event_timestamp is not null"
    assert one(data, "customer_features", f"select count(*) from t where {wrong}") == 0


@pytest.mark.parametrize("source", SOURCES)
def test_rows_are_in_no_order(data: Path, source: str) -> None:
    steps = """select event_timestamp < lag(event_timestamp) over (partition by filename order by file_row_number) as back
               from (select * from read_parquet('{}/{}/**/*.parquet', filename = true, file_row_number = true))"""
    share = one(data, source, f"select avg(back::int) from ({steps.format(data, source)})")
    assert 0.3 < share < 0.7


@pytest.mark.parametrize("source", SOURCES)
def test_nulls_are_in_values_keys_and_times(data: Path, manifest: dict, source: str) -> None:
    tally = manifest["sources"][source]
    assert one(data, source, "select count(*) from t where customer_id is null") == tally["null_keys"] > 0
    assert one(data, source, "select count(*) from t where event_timestamp is null") == tally["null_event_times"] > 0
    for column, *_rest in ask(data, source, "describe t")[3:-1]:
        assert 0.005 < one(data, source, f"select avg(({column} is null)::int) from t") < 0.05, column


def test_special_floats_are_values(data: Path) -> None:
    nan = "isnan(avg_transaction_amount_3m) and transaction_count_3m = 0"
    # As an aggregate's filter: in `where`, DuckDB skips files by statistics that leave out NaN.
    assert one(data, "customer_features", f"select count(*) filter ({nan}) from t") > 0
    negative_zero = "transaction_frequency_score = 0 and printf('%.1f', transaction_frequency_score) = '-0.0'"
    assert one(data, "transaction_features", f"select count(*) from t where {negative_zero}") > 0


@pytest.mark.parametrize("source", SOURCES)
def test_some_customers_are_too_old(data: Path, manifest: dict, source: str) -> None:
    newest = "select max(event_timestamp) newest from t where customer_id is not null group by customer_id"
    too_old = one(
        data, source, f"select count(*) from ({newest}) where newest < timestamptz '{END}' - interval {TTL_DAYS[source]} day"
    )
    assert too_old >= manifest["sources"][source]["too_old_customers"] > 0
    soon = f"newest between timestamptz '{END}' - interval {TTL_DAYS[source]} day and timestamptz '{END}' - interval {TTL_DAYS[source]} day + interval 2 hour"
    assert one(data, source, f"select count(*) from ({newest}) where {soon}") > 0


def test_some_customers_have_no_transactions(data: Path, manifest: dict) -> None:
    seen = one(data, "transaction_features", "select count(distinct customer_id) from t")
    assert seen <= CUSTOMERS - manifest["sources"]["transaction_features"]["absent_customers"] < CUSTOMERS


def test_spine_has_duplicates_unknown_customers_and_null_keys(data: Path) -> None:
    spine = pq.read_table(data / "spine.parquet")
    assert spine.schema.names == ["application_id", "customer_id", "event_timestamp", "loan_amount", "defaulted"]
    assert len(spine) == SPINE
    assert len(set(spine["application_id"].to_pylist())) < SPINE
    keys = spine["customer_id"].to_pylist()
    assert None in keys
    assert sum(key is not None and key.startswith("CUST9") for key in keys) >= SPINE // 200
    assert spine["event_timestamp"].null_count == spine["defaulted"].null_count == 0
    assert 0.05 < sum(spine["defaulted"].to_pylist()) / SPINE < 0.5


def test_some_applications_are_made_at_the_instant_of_a_row(data: Path) -> None:
    exact = f"select count(*) from t join read_parquet('{data}/spine.parquet') s using (customer_id, event_timestamp)"
    assert one(data, "transaction_features", exact) >= SPINE // 200


def test_events_are_the_same_in_both_formats(data: Path) -> None:
    table = pq.read_table(data / "push" / "real_time_events.parquet")
    lines = [json.loads(line) for line in (data / "push" / "real_time_events.jsonl").read_text().splitlines()]
    assert len(table) == len(lines) == EVENTS
    for row, line in zip(table.to_pylist(), lines):
        assert generate.as_micros(row.pop("event_timestamp")) == generate.as_micros(generate.instant(line.pop("event_timestamp")))
        assert row == line
    assert len({tuple(line.items()) for line in map(dict, lines)}) < EVENTS


def test_a_late_file_brings_customers_that_had_no_rows(tmp_path: Path) -> None:
    out = write_data(tmp_path / "data")
    before = set(ask(out, "transaction_features", "select distinct customer_id from t"))
    files = digest(out)
    generate.main(["late", "--out", str(out), "--rows", "100"])
    added = {name: value for name, value in digest(out).items() if files.get(name) != value}
    assert sorted(added) == ["manifest.json", "transaction_features/part-late-0001.parquet"]
    late = pq.read_table(out / "transaction_features" / "part-late-0001.parquet")
    assert len(late) == 100
    customers = set(json.loads((out / "manifest.json").read_text())["late_customers"])
    assert len(customers) == 50 and not customers & {key for (key,) in before}
    assert customers < set(late["customer_id"].to_pylist())
    end = generate.as_micros(generate.instant(END))
    assert max(generate.as_micros(when) for when in late["event_timestamp"].to_pylist()) <= end - 20 * generate.DAY


def test_expiring_events_are_fresh_for_the_given_time(tmp_path: Path) -> None:
    out = write_data(tmp_path / "data")
    generate.main(["expiring", "--out", str(out), "--rows", "20", "--now", END, "--seconds", "2.5"])
    events = pq.read_table(out / "push" / "expiring_events.parquet")
    end = generate.as_micros(generate.instant(END))
    fresh = {generate.as_micros(when) + generate.DAY - end for when in events["event_timestamp"].to_pylist()}
    assert fresh == {2_500_000}
    others = pq.read_table(out / "push" / "real_time_events.parquet")["customer_id"].to_pylist()
    assert not set(others) & set(events["customer_id"].to_pylist())


def test_late_needs_a_history(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no history in"):
        generate.main(["late", "--out", str(tmp_path)])
