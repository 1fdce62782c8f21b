"""The training: on a training set like the one that Larder writes."""

from __future__ import annotations

import math
from pathlib import Path

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import train_model
from train_model import APPLICATION, KEY, LABEL, MODEL_FEATURES, TIME

WHOLE = {"age", "num_credit_lines", "login_attempts_24h"}


def training_set(rows: int = 3_000, seed: int = 1) -> pa.Table:
    """A label that follows `debt_ratio`; nulls in every feature, and one feature that is null throughout."""
    rng = np.random.default_rng(seed)
    debt_ratio = rng.random(rows)
    columns: dict[str, pa.Array] = {
        APPLICATION: pa.array([f"APP{number}" for number in range(rows)]),
        KEY: pa.array([None if number % 100 == 0 else f"CUST{number}" for number in range(rows)]),
        TIME: pa.array(rng.integers(0, 10**15, rows), type=pa.timestamp("us", tz="UTC")),
        LABEL: pa.array(rng.random(rows) < debt_ratio),
    }
    for name in MODEL_FEATURES:
        values = debt_ratio if name == "debt_ratio" else rng.standard_normal(rows) * 10
        if name == "unusual_transaction_pattern":
            values = values > 0
        elif name in WHOLE:
            values = values.astype(np.int64)
        mask = np.ones(rows, dtype=bool) if name == "current_balance" else rng.random(rows) < 0.05
        columns[name] = pa.array(values, mask=mask)
    return pa.table(columns)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    table = training_set()
    pq.write_table(pa.concat_tables([table, table.slice(0, 50)]), tmp_path / "training.parquet")
    return tmp_path / "training.parquet"


def test_the_model_learns_what_there_is_to_learn(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = path.parent / "deep" / "model.joblib"
    train_model.main([str(path), "--model", str(file)])
    model = joblib.load(file)
    assert model["features"] == MODEL_FEATURES and len(MODEL_FEATURES) == 17
    assert 0.7 < model["auc"] < 0.95
    assert f"AUC {model['auc']:.3f}" in capsys.readouterr().out
    assert 0 < model["medium_risk"] < model["high_risk"] < 1


def test_a_model_scores_a_customer_of_whom_nothing_is_known(path: Path) -> None:
    model = train_model.train(train_model.read_training_set(path))
    risk = model["classifier"].predict_proba(np.full((1, 17), math.nan))[0, 1]
    assert 0 < risk < 1


def test_applications_count_once_and_need_a_customer(path: Path) -> None:
    table = train_model.read_training_set(path)
    assert len(table) == 3_000 - 30
    assert table[KEY].null_count == 0
    times = table[TIME].to_pylist()
    assert times == sorted(times)


def test_nulls_and_bools_become_numbers(path: Path) -> None:
    table = train_model.read_training_set(path)
    matrix = train_model.as_matrix(table)
    for position, name in enumerate(MODEL_FEATURES):
        expected = [math.nan if value is None else float(value) for value in table[name].to_pylist()]
        assert matrix[:, position].tobytes() == np.array(expected).tobytes(), name


def test_a_missing_feature_is_named(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["income", LABEL]), path)
    with pytest.raises(SystemExit, match="lacks income, defaulted"):
        train_model.read_training_set(path)
