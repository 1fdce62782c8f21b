#!/usr/bin/env python3
"""Writes the data of the credit-scoring example: history, a training spine and real-time events.

    generate.py [history] [--customers N] [--rows N] [--events N] [--spine N] [--seed N] [--end INSTANT] [--out DIR]
    generate.py late      [--out DIR] [--rows N] [--number N]
    generate.py expiring  [--out DIR] [--rows N] [--now INSTANT] [--seconds N]

`history` writes all of the below. The history is as untidy as real ones are: rows that arrive weeks late (an old event
time in a later file), exact duplicates, corrections (the same event time, a later created time), rows of equal times with
different values, nulls, rows without key or time, no order within a file.

    customer_features/month=YYYY-MM/part-NNNN.parquet    by month of the event time; part 1 arrived after the month
    transaction_features/part-NNNNN.parquet              by week of arrival
    spine.parquet                                        loan applications with the label `defaulted`
    push/real_time_events.{jsonl,parquet}                events for the push source
    manifest.json                                        what was written, for programs

`late` adds a file whose rows happened weeks ago but arrive only now. It is all that is known of some customers.
`expiring` writes push/expiring_events.*: fresh when they are pushed, older than the ttl some seconds later.

The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, UTC
from pathlib import Path
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import population
from population import ABSENT, DAY, EXPIRING, HOUR, ORDINARY, SECOND, TOO_OLD, Population, random_stream

KEY, EVENT_TIME, CREATED_TIME = "customer_id", "event_timestamp", "created_at"
TIMESTAMP = pa.timestamp("us", tz="UTC")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Shares of the rows of a source.
DUPLICATES, CORRECTIONS, TIES, LATE = 0.01, 0.01, 0.002, 0.02
NULL_VALUES, NULL_ROWS, NULL_KEYS, NULL_TIMES = 0.015, 0.001, 0.00005, 0.00005

REAL_TIME_TTL = DAY


@dataclass(frozen=True)
class Source:
    """A batch source of the example and how its rows are spread over time."""

    name: str
    stream: int  # number of its random stream
    span: int  # how far back the history goes
    ttl: int  # of the view that reads it
    resolution: int  # event times are multiples of it
    values: Callable[[Population, np.ndarray, np.ndarray, np.random.Generator], dict[str, np.ndarray]]
    fates: Callable[[Population], np.ndarray]


CUSTOMER_FEATURES = Source(
    "customer_features", 1, 500 * DAY, 365 * DAY, SECOND, population.customer_values, lambda people: people.customer_rows
)
TRANSACTION_FEATURES = Source(
    "transaction_features", 2, 200 * DAY, 90 * DAY, 1, population.transaction_values, lambda people: people.transaction_rows
)


@dataclass
class Rows:
    """Rows of a table, column by column. `arrived_at` decides the file and is not written."""

    who: np.ndarray
    event_time: np.ndarray
    created_at: np.ndarray
    arrived_at: np.ndarray
    values: dict[str, np.ndarray] = field(default_factory=dict)
    nulls: dict[str, np.ndarray] = field(default_factory=dict)  # masks, also of the key and the event time

    def table(self, ids: pa.Array, *, created: bool = True) -> pa.Table:
        def column(name: str, values: np.ndarray, kind: pa.DataType | None = None) -> pa.Array:
            array = pa.array(values, type=kind)
            # Not `pa.array(…, mask=…)`, which would take NaN for null.
            return pc.if_else(pa.array(self.nulls[name]), pa.scalar(None, array.type), array) if name in self.nulls else array

        columns = {
            KEY: ids.take(column(KEY, self.who)),
            EVENT_TIME: column(EVENT_TIME, self.event_time, TIMESTAMP),
        }
        if created:
            columns[CREATED_TIME] = pa.array(self.created_at, type=TIMESTAMP)
        columns |= {name: column(name, values) for name, values in self.values.items()}
        return pa.table(columns)


# --- history ------------------------------------------------------------------------------------------------------------


def batch_rows(source: Source, people: Population, count: int, seed: int) -> tuple[Rows, dict[str, int]]:
    """All rows of a source, in no order, and how many there are of each untidy kind."""
    rng = random_stream(seed, source.stream)
    duplicates, corrections, ties = (max(3, round(count * share)) for share in (DUPLICATES, CORRECTIONS, TIES))
    base = count - duplicates - corrections - ties
    rows, late = first_accounts(source, people, base, rng)

    # Rows that repeat the key and event time of a first one: corrections, then ties, then duplicates.
    origin = rng.choice(base, corrections + ties + duplicates, replace=False)
    correction, duplicate = slice(0, corrections), slice(corrections + ties, None)
    created_at, arrived_at = rows.created_at[origin], rows.arrived_at[origin]
    created_at[correction] += rng.integers(HOUR, 5 * DAY, corrections)
    arrived_at[correction] = created_at[correction]
    arrived_at[duplicate] += rng.integers(0, 14 * DAY, duplicates)
    rows.who = np.concatenate([rows.who, rows.who[origin]])
    rows.event_time = np.concatenate([rows.event_time, rows.event_time[origin]])
    rows.created_at = np.minimum(people.end, np.concatenate([rows.created_at, created_at]))
    rows.arrived_at = np.minimum(people.end, np.concatenate([rows.arrived_at, arrived_at]))

    rows.values = source.values(people, rows.who, rows.event_time, rng)
    null_row = rng.random(count) < NULL_ROWS
    rows.nulls = {name: null_row | (rng.random(count) < NULL_VALUES) for name in rows.values}
    for column in [*rows.values.values(), *rows.nulls.values()]:
        column[base + corrections + ties :] = column[origin[duplicate]]
    for name, share in ((KEY, NULL_KEYS), (EVENT_TIME, NULL_TIMES)):
        rows.nulls[name] = np.zeros(count, dtype=bool)
        rows.nulls[name][rng.choice(np.delete(np.arange(base), origin), max(3, round(count * share)), replace=False)] = True
    return rows, {
        "rows": count,
        "late": late,
        "duplicates": duplicates,
        "corrections": corrections,
        "ties": ties,
        "null_keys": int(rows.nulls[KEY].sum()),
        "null_event_times": int(rows.nulls[EVENT_TIME].sum()),
    }


def first_accounts(source: Source, people: Population, count: int, rng: np.random.Generator) -> tuple[Rows, int]:
    """Rows that are the first to tell of their customer and time, and how many of them arrive late."""
    fates = source.fates(people)
    last_day = np.full(len(people), people.end)
    is_old, is_expiring = fates == TOO_OLD, fates == EXPIRING
    last_day[is_old] -= source.ttl + rng.integers(DAY, 100 * DAY, is_old.sum())
    # Around the end of the history, the last rows of these customers pass their ttl one after the other.
    last_day[is_expiring] += rng.integers(0, 2 * HOUR, is_expiring.sum()) - source.ttl

    who = rng.choice(np.flatnonzero(fates != ABSENT), count)
    begin = people.end - source.span
    event_time = begin + (rng.random(count) * (last_day[who] - begin)).astype(np.int64)
    expiring, first_row = np.unique(np.where(is_expiring[who], who, -1), return_index=True)
    event_time[first_row[expiring >= 0]] = last_day[expiring[expiring >= 0]]
    event_time -= event_time % source.resolution

    is_late = rng.random(count) < LATE
    delay = np.where(is_late, rng.integers(2 * DAY, 45 * DAY, count), rng.exponential(2 * HOUR, count).astype(np.int64))
    created_at = np.minimum(people.end, event_time + delay)
    return Rows(who, event_time, created_at, created_at.copy()), int(is_late.sum())


def write_by_month(rows: Rows, ids: pa.Array, folder: Path) -> int:
    """A folder for each month of the event time (of the arrival, where there is no event time)."""
    when = np.where(rows.nulls[EVENT_TIME], rows.arrived_at, rows.event_time)
    month = when.astype("datetime64[us]").astype("datetime64[M]")
    afterwards = rows.arrived_at.astype("datetime64[us]") >= (month + 1).astype("datetime64[us]") + np.timedelta64(3, "D")
    part = month.astype(np.int64) * 2 + afterwards
    return write_parts(
        rows.table(ids), part, lambda number: folder / f"month={np.datetime64(number // 2, 'M')}" / f"part-{number % 2:04}.parquet"
    )


def write_by_arrival(rows: Rows, ids: pa.Array, folder: Path) -> int:
    """A file for each week of arrival."""
    week = (rows.arrived_at - rows.arrived_at.min()) // (7 * DAY)
    return write_parts(rows.table(ids), week, lambda number: folder / f"part-{number:05}.parquet")


def write_parts(table: pa.Table, part: np.ndarray, path: Callable[[int], Path]) -> int:
    """One file for each number in `part`, its rows in the order of the table; gives the number of files."""
    order = np.argsort(part, kind="stable")
    numbers, begins = np.unique(part[order], return_index=True)
    ends = [*begins[1:], len(order)]
    for number, begin, end in zip(numbers, begins, ends):
        write_parquet(table.take(pa.array(order[begin:end])), path(int(number)))
    return len(numbers)


def write_parquet(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd", compression_level=1, row_group_size=50_000)


# --- real-time events ---------------------------------------------------------------------------------------------------


def real_time_rows(people: Population, count: int, seed: int) -> Rows:
    """Events of one customer in twenty: half of them of the last 20 hours, the others of the two months before."""
    rng = random_stream(seed, 3)
    active = rng.choice(len(people), max(1, len(people) // 20), replace=False)
    who = rng.choice(active, count)
    age = np.where(rng.random(count) < 0.5, rng.integers(0, 20 * HOUR, count), rng.integers(20 * HOUR, 60 * DAY, count))
    event_time = people.end - age
    # Some are sent twice: their source did not see the first acknowledgement.
    again = max(1, count // 100)
    who[-again:], event_time[-again:] = who[:again], event_time[:again]
    rows = Rows(who, event_time, event_time, event_time, population.real_time_values(people, who, rng))
    rows.nulls = {name: rng.random(count) < NULL_VALUES for name in rows.values}
    for column in [*rows.values.values(), *rows.nulls.values()]:
        column[-again:] = column[:again]
    return rows


def write_events(rows: Rows, ids: pa.Array, folder: Path, name: str) -> None:
    table = rows.table(ids, created=False)
    write_parquet(table, folder / f"{name}.parquet")
    with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as lines:
        for row in table.to_pylist():
            row[EVENT_TIME] = as_text(row[EVENT_TIME])
            lines.write(json.dumps(row, separators=(",", ":")) + "\n")


# --- the spine ----------------------------------------------------------------------------------------------------------


def spine_table(people: Population, ids: pa.Array, events: Rows, history: Rows, count: int, seed: int) -> pa.Table:
    """Loan applications, in no order: some twice, some of unknown customers, some without a customer."""
    rng = random_stream(seed, 4)
    who = rng.integers(0, len(people), count)
    when = people.end - rng.integers(0, 150 * DAY, count)

    # A quarter applies in a session that was seen; some at the very instant of a row, and at the last one that sees it.
    seen, exact, last = count // 4, max(1, count // 100), max(1, count // 100)
    event = rng.integers(0, len(events.who), seen)
    who[:seen] = events.who[event]
    when[:seen] = events.event_time[event] + rng.integers(0, 2 * HOUR, seen)
    known = np.flatnonzero(~history.nulls[KEY] & ~history.nulls[EVENT_TIME])
    row = rng.choice(known, exact + last)
    who[seen : seen + exact + last] = history.who[row]
    when[seen : seen + exact + last] = history.event_time[row] + np.where(
        np.arange(exact + last) < exact, 0, TRANSACTION_FEATURES.ttl
    )
    when = np.minimum(when, people.end)

    loan_amount = np.round(np.exp(9.3 + 0.8 * rng.standard_normal(count)), -2)
    defaulted = rng.random(count) < population.default_probability(people, who, loan_amount)
    table = pa.table(
        {
            "application_id": pa.array([f"APP{number:09}" for number in range(count)]),
            KEY: spine_keys(ids, who, rng),
            EVENT_TIME: pa.array(when, type=TIMESTAMP),
            "loan_amount": pa.array(loan_amount),
            "defaulted": pa.array(defaulted),
        }
    )
    order = rng.permutation(count)
    again = max(1, count // 100)
    order[:again] = order[again : 2 * again]
    return table.take(pa.array(rng.permutation(order)))


def spine_keys(ids: pa.Array, who: np.ndarray, rng: np.random.Generator) -> pa.Array:
    """The customers' ids, but for one in a hundred one that nobody has, and for some none."""
    keys = ids.take(pa.array(who)).to_numpy(zero_copy_only=False)
    unknown = rng.choice(len(who), max(1, len(who) // 100), replace=False)
    keys[unknown] = [f"CUST9{number:07}" for number in rng.integers(0, 10_000_000, len(unknown))]
    keys[rng.choice(len(who), max(1, len(who) // 500), replace=False)] = None
    return pa.array(keys, type=pa.string())


# --- commands -----------------------------------------------------------------------------------------------------------


def write_history(options: argparse.Namespace) -> None:
    started = time.monotonic()
    out: Path = options.out
    if (out / "manifest.json").exists() or any((out / name).exists() for name in ("customer_features", "transaction_features")):
        raise SystemExit(f"{out} has data already: name another folder with --out, or remove it")
    end = as_micros(options.end)
    people = Population.draw(options.customers, options.seed, end)
    ids = customer_ids(options.customers)
    manifest = {
        "seed": options.seed,
        "customers": options.customers,
        "end": as_text(options.end),
        "sources": {},
    }

    half = options.rows // 2
    for source, count, write in (
        (CUSTOMER_FEATURES, options.rows - half, write_by_month),
        (TRANSACTION_FEATURES, half, write_by_arrival),
    ):
        rows, tally = batch_rows(source, people, count, options.seed)
        tally["files"] = write(rows, ids, out / source.name)
        fates = source.fates(people)
        tally |= {"absent_customers": int((fates == ABSENT).sum()), "too_old_customers": int((fates == TOO_OLD).sum())}
        manifest["sources"][source.name] = tally

    events = real_time_rows(people, options.events, options.seed)
    write_events(events, ids, out / "push", "real_time_events")
    spine = spine_table(people, ids, events, rows, options.spine, options.seed)
    write_parquet(spine, out / "spine.parquet")
    manifest |= {"events": options.events, "spine": len(spine)}
    write_manifest(out, manifest)
    print(
        f"{options.rows:,} rows of {options.customers:,} customers until {manifest['end']}, {options.events:,} events and a "
        f"spine of {len(spine):,} applications in {out} ({time.monotonic() - started:.1f} s)"
    )


def write_late(options: argparse.Namespace) -> None:
    """Half of the rows tell of customers without any transactions so far; the others are older than what is known."""
    people, ids, manifest = read_manifest(options.out)
    rng = random_stream(manifest["seed"], 5, options.number)
    silent = np.flatnonzero(people.transaction_rows == ABSENT)
    known = np.flatnonzero(people.transaction_rows == ORDINARY)
    first = rng.choice(silent, min(len(silent), options.rows // 2), replace=False)
    who = rng.permutation(np.concatenate([first, rng.choice(known, options.rows - len(first))]))
    is_first = np.isin(who, first)
    age = np.where(is_first, rng.integers(20 * DAY, 40 * DAY, len(who)), rng.integers(100 * DAY, 190 * DAY, len(who)))
    arrived_at = np.full(len(who), people.end)
    rows = Rows(who, people.end - age, arrived_at, arrived_at)
    rows.values = population.transaction_values(people, who, rows.event_time, rng)
    path = options.out / TRANSACTION_FEATURES.name / f"part-late-{options.number:04}.parquet"
    write_parquet(rows.table(ids), path)
    late_customers = {*manifest.get("late_customers", []), *ids.take(pa.array(first)).to_pylist()}
    write_manifest(options.out, manifest | {"late_customers": sorted(late_customers)})
    print(f"{len(who):,} late rows, the first ones of {len(first):,} customers, in {path}")


def write_expiring(options: argparse.Namespace) -> None:
    """Customers of whom no other events are known."""
    people, ids, manifest = read_manifest(options.out)
    active = real_time_rows(people, manifest["events"], manifest["seed"]).who
    rng = random_stream(manifest["seed"], 6)
    who = rng.choice(np.setdiff1d(np.arange(len(people)), active), options.rows, replace=False)
    event_time = np.full(len(who), as_micros(options.now) - REAL_TIME_TTL + round(options.seconds * SECOND))
    rows = Rows(who, event_time, event_time, event_time, population.real_time_values(people, who, rng))
    write_events(rows, ids, options.out / "push", "expiring_events")
    print(f"{len(who):,} events that pass their ttl {options.seconds:g} s after {as_text(options.now)} in {options.out / 'push'}")


def customer_ids(customers: int) -> pa.Array:
    return pa.array([f"CUST{number:08}" for number in range(customers)])


def read_manifest(out: Path) -> tuple[Population, pa.Array, dict]:
    path = out / "manifest.json"
    if not path.exists():
        raise SystemExit(f"no history in {out}: run generate.py with this --out first")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    end = as_micros(instant(manifest["end"]))
    return Population.draw(manifest["customers"], manifest["seed"], end), customer_ids(manifest["customers"]), manifest


def write_manifest(out: Path, manifest: dict) -> None:
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


# --- arguments ----------------------------------------------------------------------------------------------------------


def instant(text: str) -> datetime:
    """An ISO 8601 instant; UTC where it names no zone."""
    parsed = datetime.fromisoformat(text)
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def as_micros(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1)


def as_text(when: datetime) -> str:
    return when.isoformat(timespec="microseconds" if when.microsecond else "seconds").replace("+00:00", "Z")


def at_least(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{number} is below {minimum}")
        return number

    parse.__name__ = "whole number"
    return parse


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    default_out = Path(__file__).parent / "data"
    now = datetime.now(UTC)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], None], rows: int, fewest: int, what: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=what, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        made.add_argument("--out", type=Path, default=default_out, help="folder of the data")
        made.add_argument("--rows", type=at_least(fewest), default=rows, help="rows to write")
        made.set_defaults(run=run)
        return made

    history = command("history", write_history, 2_000_000, 2_000, "history, spine and events (the default)")
    history.add_argument("--customers", type=at_least(100), default=100_000, help="customers")
    history.add_argument("--events", type=at_least(100), default=20_000, help="real-time events")
    history.add_argument("--spine", type=at_least(500), default=50_000, help="rows of the spine")
    history.add_argument("--seed", type=at_least(0), default=42, help="decides everything that is random")
    history.add_argument(
        "--end", type=instant, default=now.replace(minute=0, second=0, microsecond=0), help="the history's last instant, ISO 8601"
    )
    late = command("late", write_late, 1_000, 2, "one more file, whose rows arrive late")
    late.add_argument("--number", type=at_least(1), default=1, help="number of the file")
    expiring = command("expiring", write_expiring, 500, 1, "events that pass their ttl after some seconds")
    expiring.add_argument("--now", type=instant, default=now, help="from when the seconds count, ISO 8601")
    expiring.add_argument("--seconds", type=float, default=30.0, help="how long they are fresh")

    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["history", *arguments]
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse_arguments(arguments)
    options.run(options)


if __name__ == "__main__":
    main(sys.argv[1:])
