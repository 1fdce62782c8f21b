#!/usr/bin/env python3
"""Proves that training equals serving: what Larder answers online is what it puts into a training set, bit for bit.

    prove.py [--entities N] [--data DIR] [--larder BINARY] [--repository DIR] [--serving HOST:PORT]

Asks for every feature of each service for thousands of customers: known ones, unknown ones, ones whose rows are too old.
Every answer names the instant by which it was judged. Then `larder train` builds the training set of the same customers at
those instants, out of history alone, and each value is compared with the one that was served: floats by their bits (NaN
payloads and the sign of zero count), and everything but PRESENT with null. Prints for each service

    compared N rows x M features: 0 differ

or the first differences, and ends with 1. It also ends with 1 where one of the four answers (PRESENT, NULL, NOT_FOUND,
OUTSIDE_MAX_AGE) does not occur, since nothing was shown of that one then. Nothing may be written meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import columns
import stubs

stubs.load()

from larder.serving.v1 import serving_pb2, serving_pb2_grpc  # noqa: E402
from larder.types.v1 import types_pb2 as types  # noqa: E402

SERVICES = ["credit_scoring_service", "fraud_detection_service"]
KEY, EVENT_TIME, AMOUNT = "customer_id", "event_timestamp", "loan_amount"
STATUSES = ["PRESENT", "NULL", "NOT_FOUND", "OUTSIDE_MAX_AGE"]
PRESENT = 0
SHOWN = 5
TIMEOUT = 60.0

ARROW_TYPES = {
    types.TYPE_KIND_BOOL: pa.bool_(),
    types.TYPE_KIND_INT32: pa.int32(),
    types.TYPE_KIND_INT64: pa.int64(),
    types.TYPE_KIND_FLOAT32: pa.float32(),
    types.TYPE_KIND_FLOAT64: pa.float64(),
    types.TYPE_KIND_STRING: pa.string(),
    types.TYPE_KIND_BYTES: pa.binary(),
    types.TYPE_KIND_TIMESTAMP: pa.timestamp("us", tz="UTC"),
}
BITS = {1: np.uint8, 4: np.uint32, 8: np.uint64}

# Amounts whose bits are easily lost on the way.
ODD_AMOUNTS = [
    None,
    0.0,
    -0.0,
    float("inf"),
    float(np.array([0x7FF8_0000_0000_BEEF], dtype=np.uint64).view(np.float64)[0]),
    float(np.nextafter(0.0, 1.0)),
]


@dataclass
class Asked:
    """The entities, with what is asked of each."""

    customers: list[str | None]
    amounts: list[float | None]

    def __len__(self) -> int:
        return len(self.customers)

    def batches(self, size: int) -> Iterator[Asked]:
        for begin in range(0, len(self), size):
            rows = slice(begin, begin + size)
            yield Asked(self.customers[rows], self.amounts[rows])


@dataclass
class Values:
    """A feature for all rows: comparable values (bits, where the type has a fixed width) and where there are any."""

    kind: pa.DataType | None
    values: np.ndarray
    is_there: np.ndarray

    def differs(self, other: Values) -> np.ndarray:
        """For each row, whether the two are not the same."""
        if self.kind != other.kind:
            return self.is_there | other.is_there
        return (self.is_there != other.is_there) | (self.is_there & other.is_there & (self.values != other.values))

    def text(self, row: int) -> str:
        if not self.is_there[row]:
            return "null"
        value = self.values[row]
        if self.kind is not None and pa.types.is_floating(self.kind):
            bits = np.array([value])
            return f"{float(bits.view(f'f{bits.itemsize}')[0])!r} (0x{int(value):0{2 * bits.itemsize}x})"
        return repr(value.item() if isinstance(value, np.generic) else value)


@dataclass
class Served:
    """What serving answered, all batches together."""

    instants: np.ndarray  # a row an entity, microseconds
    features: dict[str, Values]
    statuses: Counter[str]
    revisions: set[int]


# --- serving ------------------------------------------------------------------------------------------------------------


def serve(stub: serving_pb2_grpc.ServingServiceStub, project: str, service: str, asked: Asked, batch: int) -> Served:
    """Asks for all entities, `batch` at a time."""
    instants, parts, statuses, revisions = [], [], Counter(), set()
    for entities in asked.batches(batch):
        request = serving_pb2.GetOnlineFeaturesRequest(
            project=project,
            feature_service=service,
            entities=[columns.named(KEY, columns.STRING, entities.customers)],
            request_data=[columns.named(AMOUNT, columns.FLOAT64, entities.amounts)],
            include_replay=True,
        )
        answer = stub.GetOnlineFeatures(request, timeout=TIMEOUT)
        instants.append(judged_at(answer.replay, len(entities)))
        revisions.add(answer.replay.revision)
        parts.append({feature.name: served_values(feature, statuses) for feature in answer.features})
    features = {name: concatenated([part[name] for part in parts]) for name in parts[0]}
    return Served(np.concatenate(instants), features, statuses, revisions)


def judged_at(replay: serving_pb2.Replay, rows: int) -> np.ndarray:
    """The instant of the answer; for an entity with a row of the near future, which is served as it is, that row's time."""
    instants = np.full(rows, replay.instant, dtype=np.int64)
    for view in replay.views:
        times = np.array([version.event_time for version in view.versions], dtype=np.int64)
        found = np.array(view.found, dtype=bool)
        instants = np.where(found & (times > instants), times, instants)
    return instants


def served_values(feature: serving_pb2.Feature, tally: Counter[str]) -> Values:
    """The values of an answer; a status other than PRESENT, known or not, is a null."""
    column = feature.values
    statuses = np.frombuffer(feature.statuses or bytes([PRESENT]) * column.length, dtype=np.uint8)
    if len(statuses) != column.length:
        raise SystemExit(f"{feature.name}: {len(statuses)} statuses for {column.length} values")
    for status, count in zip(*np.unique(statuses, return_counts=True)):
        tally[STATUSES[status] if status < len(STATUSES) else f"status {status}"] += int(count)
    is_there = statuses == PRESENT
    if (is_there & ~columns.is_valid(column)).any():
        raise SystemExit(f"{feature.name}: PRESENT was answered with a null")
    kind = ARROW_TYPES.get(column.kind)
    if kind is None:
        return Values(None, np.array(columns.decode(column), dtype=object), is_there)
    return Values(kind, comparable(getattr(column, columns.FIELDS[column.kind]), kind), is_there)


def comparable(values: Any, kind: pa.DataType) -> np.ndarray:
    """An array in which equal means the same bits."""
    if not has_fixed_width(kind):
        return np.array([*values, None], dtype=object)[:-1]
    return as_bits(np.array(values, dtype=np.dtype("i8") if pa.types.is_timestamp(kind) else kind.to_pandas_dtype()))


def has_fixed_width(kind: pa.DataType) -> bool:
    return pa.types.is_primitive(kind)


def as_bits(values: np.ndarray) -> np.ndarray:
    return values.view(BITS[values.itemsize])


def concatenated(parts: list[Values]) -> Values:
    kinds = {part.kind for part in parts}
    if len(kinds) > 1:
        raise SystemExit(f"a feature was served with several types: {kinds}")
    return Values(
        parts[0].kind, np.concatenate([part.values for part in parts]), np.concatenate([part.is_there for part in parts])
    )


# --- training -----------------------------------------------------------------------------------------------------------


def train(options: argparse.Namespace, service: str, asked: Asked, instants: np.ndarray, folder: Path) -> pa.Table:
    """The training set of the same entities at those instants."""
    spine, out = folder / f"{service}-spine.parquet", folder / f"{service}.parquet"
    table = pa.table(
        {
            KEY: pa.array(asked.customers, type=pa.string()),
            EVENT_TIME: pa.array(instants, type=pa.int64()).cast(pa.timestamp("us", tz="UTC")),
            # Not with `from_pandas`: NaN is an amount.
            AMOUNT: pa.array(asked.amounts, type=pa.float64()),
        }
    )
    pq.write_table(table, spine)
    command = [options.larder, "-C", options.repository, "train", service, "--spine", spine, "--out", out]
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"larder train {service} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    result = pq.read_table(out)
    for name in table.schema.names:
        if len(result) == len(table) and not trained_values(result[name]).differs(trained_values(table[name])).any():
            continue
        raise SystemExit(f"{service}: the training set's {name} is not the spine's, so that rows cannot be matched")
    return result.drop_columns(table.schema.names)


def trained_values(column: pa.ChunkedArray) -> Values:
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    kind, is_there = array.type, array.is_valid().to_numpy(zero_copy_only=False)
    if not has_fixed_width(kind):
        return Values(kind, np.array([*array.to_pylist(), None], dtype=object)[:-1], is_there)
    if pa.types.is_timestamp(kind):
        array = array.cast(pa.int64())
    filled = pc.fill_null(array, pa.scalar(False if pa.types.is_boolean(kind) else 0, array.type))
    return Values(kind, as_bits(filled.to_numpy(zero_copy_only=False)), is_there)


# --- comparing ----------------------------------------------------------------------------------------------------------


def prove(options: argparse.Namespace, stub: serving_pb2_grpc.ServingServiceStub, service: str, asked: Asked) -> bool:
    """Serves, trains and compares one service; prints what came of it."""
    served = serve(stub, options.project, service, asked, options.batch)
    tally = ", ".join(f"{count} {name}" for name, count in served.statuses.most_common())
    answers = len(np.unique(served.instants))
    print(f"{service}: {len(asked)} entities at {answers} instants, revision {', '.join(map(str, served.revisions))}: {tally}")
    with tempfile.TemporaryDirectory(prefix="larder-prove-") as folder:
        trained = train(options, service, asked, served.instants, Path(folder))
    missing = [name for name in STATUSES if not served.statuses[name]]
    if missing:
        print(f"nothing was shown of {', '.join(missing)}: no value was answered so")
    return compare(served, trained, asked) and not missing


def compare(served: Served, trained: pa.Table, asked: Asked) -> bool:
    """Whether all is the same; prints how much was compared, and the first differences."""
    if list(served.features) != trained.schema.names:
        print(f"other features: served {', '.join(served.features)}; trained {', '.join(trained.schema.names)}")
        return False
    differing = 0
    for name, online in served.features.items():
        history = trained_values(trained[name])
        rows = np.flatnonzero(online.differs(history))
        for row in rows[: max(0, SHOWN - differing)]:
            instant = np.datetime64(int(served.instants[row]), "us")
            print(
                f"  {name} of {asked.customers[row]} at {instant} with {AMOUNT} {asked.amounts[row]}: "
                f"served {online.text(row)} {online.kind}, trained {history.text(row)} {history.kind}"
            )
        differing += len(rows)
    print(f"compared {len(asked)} rows x {len(served.features)} features: {differing} differ")
    return differing == 0


# --- entities -----------------------------------------------------------------------------------------------------------


def draw(data: Path, count: int, seed: int) -> Asked:
    """Customers of the data set: any, ones with events, ones whose rows come too late; unknown ones; some twice, and none."""
    rng = np.random.default_rng(seed)
    manifest = json.loads((data / "manifest.json").read_text(encoding="utf-8"))
    known = [f"CUST{number:08}" for number in rng.integers(0, manifest["customers"], count)]
    groups = [*event_groups(data), manifest.get("late_customers", [])]
    seen = [str(name) for group in groups if len(group) for name in rng.choice(group, min(len(group), count // 8), replace=False)]
    unknown = [f"CUST9{number:07}" for number in rng.integers(0, 10_000_000, max(1, count // 20))]
    customers: list[str | None] = [*seen, *unknown, None]
    customers += known[: max(0, count - len(customers))]
    customers = [customers[row] for row in rng.permutation(len(customers))]
    amounts: list[float | None] = np.round(np.exp(9.3 + 0.8 * rng.standard_normal(len(customers))), 2).tolist()
    for number, row in enumerate(rng.choice(len(amounts), len(amounts) // 20, replace=False)):
        amounts[row] = ODD_AMOUNTS[number % len(ODD_AMOUNTS)]
    return Asked(customers, amounts)


def event_groups(data: Path) -> Iterator[list[str]]:
    """The customers of each file of events."""
    for path in sorted((data / "push").glob("*.parquet")):
        yield pc.unique(pq.read_table(path, columns=[KEY])[KEY]).drop_null().to_pylist()


# --- arguments ----------------------------------------------------------------------------------------------------------


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("services", nargs="*", default=SERVICES, help="feature services; without any, both")
    parser.add_argument("--entities", type=int, default=6_000, help="entities to ask for")
    parser.add_argument("--batch", type=int, default=250, help="entities in one call")
    parser.add_argument("--seed", type=int, default=7, help="decides which entities")
    parser.add_argument("--data", type=Path, default=here / "data", help="what generate.py wrote")
    parser.add_argument("--larder", default=os.environ.get("LARDER_BIN", "larder"), help="the larder command")
    parser.add_argument("--repository", type=Path, default=here, help="the folder of the definitions")
    parser.add_argument("--serving", default="127.0.0.1:6567", help="Larder's serving")
    parser.add_argument("--project", default="credit_scoring")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse_arguments(arguments)
    asked = draw(options.data, options.entities, options.seed)
    with grpc.insecure_channel(options.serving) as channel:
        stub = serving_pb2_grpc.ServingServiceStub(channel)
        return 0 if all([prove(options, stub, service, asked) for service in options.services]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
