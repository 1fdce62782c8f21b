#!/usr/bin/env python3
"""Trains the credit-scoring model on a training set that Larder built.

    train_model.py TRAINING_SET.parquet [--model model/model.joblib]

The training set is what `larder train` makes of the spine and of the service `credit_scoring_service`: the spine's columns
(the label `defaulted` among them) and the 17 features. The newest fifth of the applications is kept from the training and
judges it, as the model will be used on applications that come after it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

# The members of `credit_scoring_service`, in its order.
MODEL_FEATURES = [
    "age",
    "income",
    "employment_years",
    "credit_history_length",
    "num_credit_lines",
    "debt_ratio",
    "revolving_utilization",
    "total_transaction_amount_30d",
    "avg_daily_transactions_30d",
    "transaction_frequency_score",
    "unusual_transaction_pattern",
    "current_balance",
    "login_attempts_24h",
    "device_fingerprint_score",
    "combined_risk_score",
    "creditworthiness_index",
    "fraud_probability",
]
LABEL, KEY, TIME, APPLICATION = "defaulted", "customer_id", "event_timestamp", "application_id"
HELD_BACK = 0.2
# Applications riskier than this share of those trained on are a medium and a high risk.
MEDIUM_RISK, HIGH_RISK = 0.6, 0.9


def read_training_set(path: Path) -> pa.Table:
    """The applications of a customer, each once, oldest first."""
    table = pq.read_table(path)
    missing = [name for name in [*MODEL_FEATURES, LABEL, KEY, TIME, APPLICATION] if name not in table.column_names]
    if missing:
        raise SystemExit(
            f"{path} lacks {', '.join(missing)}: build it for credit_scoring_service from a spine with {LABEL}, without full names"
        )
    table = table.filter(pc.is_valid(table[KEY]))
    _, first = np.unique(table[APPLICATION].to_numpy(), return_index=True)
    return table.take(pa.array(first)).sort_by([(TIME, "ascending"), (APPLICATION, "ascending")])


def as_matrix(table: pa.Table) -> np.ndarray:
    """A row an application, a column a feature: float64, yes and no as 1 and 0, null as NaN."""
    return np.column_stack([pc.cast(table[name], pa.float64()).to_numpy() for name in MODEL_FEATURES])


def untrained() -> Pipeline:
    """Where a feature is null it counts as usual, and that it is null counts too: "not known" may mean something."""
    return make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(max_iter=500),
    )


def train(table: pa.Table) -> dict:
    """The model with what its users need to know of it."""
    matrix, label = as_matrix(table), np.asarray(table[LABEL].to_pylist(), dtype=bool)
    cut = round(len(label) * (1 - HELD_BACK))
    classifier = untrained().fit(matrix[:cut], label[:cut])
    risk = classifier.predict_proba(matrix[:cut])[:, 1]
    return {
        "features": MODEL_FEATURES,
        "classifier": classifier,
        "medium_risk": float(np.quantile(risk, MEDIUM_RISK)),
        "high_risk": float(np.quantile(risk, HIGH_RISK)),
        "auc": float(roc_auc_score(label[cut:], classifier.predict_proba(matrix[cut:])[:, 1])),
        "trained_on": cut,
        "held_back": len(label) - cut,
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training_set", type=Path, help="Parquet file that `larder train` wrote")
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "model" / "model.joblib", help="file to write")
    options = parser.parse_args(arguments)

    started = time.monotonic()
    model = train(read_training_set(options.training_set))
    options.model.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, options.model)
    print(
        f"trained on {model['trained_on']:,} applications in {time.monotonic() - started:.1f} s, "
        f"AUC {model['auc']:.3f} on the {model['held_back']:,} newest ones: {options.model}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
