"""The whole example against a running Larder: declare, materialize, push, train, score, and read back what was learnt.

Needs the `larder` binary: LARDER_BIN=target/demo/larder pytest tests/test_end_to_end.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pyarrow.parquet as pq
import pytest
from larder_process import LarderProcess

import columns
import generate
import model_server
import prove
import train_model
from feature_platform import FeaturePlatform, serving_pb2

EXAMPLE = Path(__file__).parent.parent
UNKNOWN = "CUST99999999"

pytestmark = pytest.mark.skipif("LARDER_BIN" not in os.environ, reason="LARDER_BIN does not name a larder binary")


@dataclass
class Stage:
    """What the tests stand on: a Larder with history and events in it, and a model server."""

    larder: LarderProcess
    data: Path
    training_set: Path
    platform: FeaturePlatform
    url: str

    def score(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        try:
            with urlopen(Request(f"{self.url}/score", json.dumps(body).encode()), timeout=10) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, json.load(error)

    def seen_customers(self) -> list[str]:
        """Customers with an event of the last 20 hours, as far as the events say so."""
        events = pq.read_table(self.data / "push" / "real_time_events.parquet").to_pylist()
        end = generate.instant(json.loads((self.data / "manifest.json").read_text())["end"])
        fresh = {row["customer_id"] for row in events if (end - row["event_timestamp"]).total_seconds() < 20 * 3600}
        return sorted(fresh)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    repository = tmp_path_factory.mktemp("credit-scoring")
    shutil.copy(EXAMPLE / "larder.yaml", repository)
    data = repository / "data"
    generate.main(f"history --customers 2000 --rows 40000 --events 1000 --spine 4000 --out {data}".split())
    larder = LarderProcess(Path(os.environ["LARDER_BIN"]).resolve(), repository, repository / "larder-data")
    larder.start()
    try:
        larder.apply()
        larder.materialize()
        larder.push(model_server.PUSH_SOURCE, data / "push" / "real_time_events.jsonl")
        training_set, model = repository / "training.parquet", repository / "model.joblib"
        larder.train(model_server.SERVICE, data / "spine.parquet", training_set)
        train_model.main([str(training_set), "--model", str(model)])
        platform = FeaturePlatform("credit_scoring", larder.address("serving"), larder.address("push_ingest"), timeout=10.0)
        with running_model_server(model, larder) as url:
            yield Stage(larder, data, training_set, platform, url)
        platform.close()
    finally:
        larder.stop()


@contextmanager
def running_model_server(model: Path, larder: LarderProcess) -> Iterator[str]:
    """The model server as a process of its own; gives its URL."""
    addresses = ["--serving", larder.address("serving"), "--push", larder.address("push_ingest")]
    command = [sys.executable, str(EXAMPLE / "model_server.py"), "--model", str(model), "--port", "0", *addresses]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("listening on "), line
            yield line.removeprefix("listening on ").strip()
        finally:
            process.terminate()


def test_the_training_set_is_the_spine_with_features(stage: Stage) -> None:
    spine, result = pq.read_table(stage.data / "spine.parquet"), pq.read_table(stage.training_set)
    assert result.schema.names == [*spine.schema.names, *train_model.MODEL_FEATURES]
    assert len(result) == len(spine)
    for name in spine.schema.names:
        assert result[name].to_pylist() == spine[name].to_pylist(), name
    assert {name: str(result.schema.field(name).type) for name in ("age", "income", "unusual_transaction_pattern")} == {
        "age": "int64",
        "income": "double",
        "unusual_transaction_pattern": "bool",
    }
    # A score comes out of whatever is known; the other features are there for most applications.
    assert result["combined_risk_score"].null_count == 0
    assert result["income"].null_count < len(result) // 4
    assert 0 < result["current_balance"].null_count < len(result)


def test_a_customer_is_scored(stage: Stage) -> None:
    status, answer = stage.score({"customer_id": stage.seen_customers()[0], "loan_amount": 9_000})
    assert status == 200, answer
    assert 300 <= answer["score"] <= 850
    assert answer["risk_level"] in ("low", "medium", "high")
    assert 0 < answer["confidence"] <= 1
    assert answer["features"]["combined_risk_score"] is not None


def test_what_was_learnt_is_served(stage: Stage) -> None:
    customer = stage.seen_customers()[1]
    application = {"customer_id": customer, "loan_amount": 9_000}
    _, first = stage.score(application | {"session": {"device_fingerprint_score": 0.875, "current_balance": -12.5}})
    learnt = first["learnt"]
    assert (learnt["device_fingerprint_score"], learnt["current_balance"]) == (0.875, -12.5)
    served = stage.platform.view_features(model_server.VIEW, {"customer_id": customer})
    assert {name: feature.value for name, feature in served.items()} == learnt
    _, second = stage.score(application)
    assert second["features"]["device_fingerprint_score"] == 0.875
    assert second["features"]["current_balance"] == -12.5
    assert second["learnt"]["login_attempts_24h"] == learnt["login_attempts_24h"] + 1
    # An overdrawn account and a strange device weigh in the on-demand features at once.
    assert second["features"]["fraud_probability"] > first["features"]["fraud_probability"]


def test_an_unknown_customer_is_scored_on_nothing(stage: Stage) -> None:
    status, answer = stage.score({"customer_id": UNKNOWN, "loan_amount": 9_000})
    assert status == 200, answer
    assert answer["learnt"] is None
    assert answer["not_present"]["income"] == "NOT_FOUND"
    assert answer["features"]["combined_risk_score"] is not None
    assert answer["features"]["creditworthiness_index"] is None
    served = stage.platform.view_features(model_server.VIEW, {"customer_id": UNKNOWN})
    assert {feature.status for feature in served.values()} == {"NOT_FOUND"}


def test_the_on_demand_features_follow_the_amount(stage: Stage) -> None:
    customer = next(name for name in stage.seen_customers() if known_income(stage, name))
    small, great = (
        stage.platform.service_features(model_server.SERVICE, {"customer_id": customer}, {"loan_amount": amount})
        for amount in (1_000.0, 90_000.0)
    )
    assert great["combined_risk_score"].value > small["combined_risk_score"].value
    assert great["creditworthiness_index"].value < small["creditworthiness_index"].value
    assert great["fraud_probability"].value > small["fraud_probability"].value


def known_income(stage: Stage, customer: str) -> float | None:
    """The customer's income, where it is known."""
    return stage.platform.view_features("customer_features", {"customer_id": customer})["income"].value


def test_late_rows_reach_online_with_the_next_incremental_run(stage: Stage) -> None:
    generate.main(["late", "--out", str(stage.data), "--rows", "100"])
    customers = json.loads((stage.data / "manifest.json").read_text())["late_customers"]

    def statuses() -> set[str]:
        features = (stage.platform.view_features("transaction_features", {"customer_id": customer}) for customer in customers)
        return {feature.status for view in features for feature in view.values()}

    assert statuses() == {"NOT_FOUND"}
    stage.larder.materialize(incremental=True)
    assert statuses() <= {"PRESENT", "NULL"}


def test_training_equals_serving(stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    generate.main(["expiring", "--out", str(stage.data), "--rows", "50", "--seconds", "2"])
    expire_at = time.monotonic() + 2
    stage.larder.push(model_server.PUSH_SOURCE, stage.data / "push" / "expiring_events.jsonl")
    for name, value in stage.larder.environment().items():
        monkeypatch.setenv(name, value)
    time.sleep(max(0.0, expire_at - time.monotonic()))
    options = ["--data", stage.data, "--larder", stage.larder.binary, "--repository", stage.larder.repository]
    options += ["--serving", stage.larder.address("serving"), "--entities", "1000"]
    status = prove.main([str(option) for option in options])
    assert status == 0, capsys.readouterr().out
    assert capsys.readouterr().out.count(": 0 differ\n") == len(prove.SERVICES)


def test_a_stream_of_many_small_requests_is_answered_to_its_end(stage: Stage) -> None:
    """A sender that is quicker than the service waits for it, however small its messages are."""
    customer = columns.named("customer_id", columns.STRING, [UNKNOWN])
    references = serving_pb2.FeatureReferences(references=["customer_features.age"])
    request = serving_pb2.GetOnlineFeaturesRequest(project="credit_scoring", references=references, entities=[customer])
    message = serving_pb2.StreamOnlineFeaturesRequest(request=request)
    assert message.ByteSize() < 128
    answers = stage.platform.serving.StreamOnlineFeatures(iter([message] * 20_000), timeout=120)
    assert sum(1 for _ in answers) == 20_000


def test_an_error_of_larder_is_passed_on(stage: Stage) -> None:
    with pytest.raises(model_server.LarderError) as raised:
        stage.platform.service_features("credit_scoring_servise", {"customer_id": UNKNOWN}, {"loan_amount": 1.0})
    assert raised.value.code == "NOT_FOUND"
    assert "credit_scoring_service" in raised.value.message


def test_larder_ends_when_it_is_asked_to(stage: Stage) -> None:
    """The last one: it stops the Larder and starts it again, and what was learnt is still there."""
    customer = stage.seen_customers()[2]
    _, answer = stage.score({"customer_id": customer, "loan_amount": 9_000})
    assert stage.larder.stop() == 0
    stage.larder.start()
    served = stage.platform.view_features(model_server.VIEW, {"customer_id": customer})
    assert served["login_attempts_24h"].value == answer["learnt"]["login_attempts_24h"]
