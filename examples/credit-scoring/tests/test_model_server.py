"""The model server, over HTTP, before a Larder that is played by a few lines."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from fake_larder import FakeLarder

import model_server
import train_model
from feature_platform import OUTSIDE_MAX_AGE, FeaturePlatform, push_pb2
from test_train_model import training_set

CUSTOMER = "CUST00000042"
WHOLE = {"age": 41, "num_credit_lines": 4, "login_attempts_24h": 2}
Post = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def model() -> dict:
    return train_model.train(training_set())


@pytest.fixture
def larder() -> FakeLarder:
    names = dict.fromkeys([*train_model.MODEL_FEATURES, *model_server.SIGNALS])
    features = {name: WHOLE.get(name, 0.25) for name in names} | {"unusual_transaction_pattern": True}
    members = {model_server.SERVICE: train_model.MODEL_FEATURES, model_server.VIEW: list(model_server.SIGNALS)}
    return FakeLarder(members, CUSTOMER, features)


@pytest.fixture
def post(larder: FakeLarder, model: dict) -> Iterator[Post]:
    grpc_server, address = larder.start()
    platform = FeaturePlatform("credit_scoring", address, address, timeout=5.0)
    server = model_server.serve(model_server.Scorer(model, platform), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def send(body: Any, path: str = "/score", **headers: str) -> tuple[int, dict[str, Any]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{server.server_port}{path}", data, headers)
        try:
            with urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, json.load(error)

    yield send
    server.shutdown()
    thread.join()
    server.server_close()
    platform.close()
    grpc_server.stop(None).wait()


def application(**more: Any) -> dict[str, Any]:
    return {"customer_id": CUSTOMER, "loan_amount": 12_000.0} | more


def test_a_customer_is_scored_on_the_features_that_are_served(post: Post, larder: FakeLarder, model: dict) -> None:
    status, answer = post(application())
    assert status == 200
    vector = [[float(larder_value) for larder_value in answer["features"].values()]]
    assert list(answer["features"]) == train_model.MODEL_FEATURES
    assert vector[0] == [{**WHOLE, "unusual_transaction_pattern": 1}.get(name, 0.25) for name in train_model.MODEL_FEATURES]
    risk = model["classifier"].predict_proba(vector)[0, 1]
    assert answer["default_probability"] == pytest.approx(risk, abs=1e-6)
    assert answer["score"] == round(850 - 550 * risk)
    assert answer["confidence"] == pytest.approx(max(risk, 1 - risk), abs=1e-6)
    assert answer["risk_level"] in ("low", "medium", "high")
    assert answer["not_present"] == {}


def test_larder_is_asked_for_the_service_with_the_amount(post: Post, larder: FakeLarder) -> None:
    post(application(), traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    request, _ = larder.requests
    assert (request.project, request.feature_service) == ("credit_scoring", "credit_scoring_service")
    assert [column.name for column in request.entities] == ["customer_id"]
    assert [(column.name, list(column.column.doubles)) for column in request.request_data] == [("loan_amount", [12_000.0])]
    assert larder.traceparents == ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] * 2


def test_what_was_learnt_is_pushed(post: Post, larder: FakeLarder) -> None:
    before = time.time_ns() // 1000
    _, answer = post(application(session={"device_fingerprint_score": 0.75, "session_duration": 61}))
    (row,) = larder.pushed
    assert before <= row.pop("event_time") <= time.time_ns() // 1000
    assert row == {"customer_id": CUSTOMER, **answer["learnt"]}
    assert answer["learnt"] == {
        "current_balance": 0.25,
        "last_transaction_amount": 0.25,
        "login_attempts_24h": 3,
        "device_fingerprint_score": 0.75,
        "ip_risk_score": 0.25,
        "session_duration": 61.0,
    }
    assert larder.targets == [push_pb2.TARGET_ONLINE_AND_OFFLINE]
    _, again = post(application())
    assert again["features"]["device_fingerprint_score"] == 0.75
    assert again["features"]["login_attempts_24h"] == 3
    assert again["learnt"]["login_attempts_24h"] == 4


def test_features_that_are_not_present_are_not_known_to_the_model(post: Post, larder: FakeLarder) -> None:
    _, known = post(application())
    larder.features |= {name: (OUTSIDE_MAX_AGE,) for name in model_server.SIGNALS} | {"income": (1,), "debt_ratio": (77,)}
    status, answer = post(application())
    assert status == 200
    assert answer["not_present"] == {
        "income": "NULL",
        "debt_ratio": "status 77",
        "current_balance": "OUTSIDE_MAX_AGE",
        "login_attempts_24h": "OUTSIDE_MAX_AGE",
        "device_fingerprint_score": "OUTSIDE_MAX_AGE",
    }
    assert answer["features"]["income"] is None
    assert answer["confidence"] < known["confidence"]
    # What is too old counts no more: this is the first log-in of the day.
    assert answer["learnt"]["login_attempts_24h"] == 1
    assert answer["learnt"]["current_balance"] is None


def test_nothing_is_written_of_an_unknown_customer(post: Post, larder: FakeLarder) -> None:
    status, answer = post(application(customer_id="CUST99999999"))
    assert status == 200
    assert answer["learnt"] is None and larder.pushed == []
    assert set(answer["not_present"].values()) == {"NOT_FOUND"}
    assert answer["confidence"] == 0.0


def test_an_error_of_larder_is_passed_on(post: Post, larder: FakeLarder) -> None:
    del larder.members[model_server.SERVICE]
    status, answer = post(application())
    assert status == 404
    assert answer["error"] == {
        "code": "NOT_FOUND",
        "message": "there is no feature service credit_scoring_service",
        "service": "serving",
        "fields": [{"field": "feature_service", "description": "no service credit_scoring_service"}],
    }


def test_a_service_that_lost_a_feature_is_told(post: Post, larder: FakeLarder) -> None:
    larder.members[model_server.SERVICE] = train_model.MODEL_FEATURES[1:]
    status, answer = post(application())
    assert status == 502
    assert "has no age" in answer["error"]["message"]


def test_a_refused_report_does_not_cost_the_score(post: Post, larder: FakeLarder) -> None:
    larder.refuse_pushes = True
    status, answer = post(application())
    assert status == 200 and 300 <= answer["score"] <= 850
    assert answer["learnt"] is None
    assert answer["report_error"] == {"code": "REFUSED", "message": "the row is refused"}


def test_a_larder_that_is_not_there_is_unavailable(model: dict) -> None:
    platform = FeaturePlatform("credit_scoring", "127.0.0.1:1", "127.0.0.1:1", timeout=2.0)
    with pytest.raises(model_server.LarderError) as raised:
        model_server.Scorer(model, platform).score(application())
    platform.close()
    assert raised.value.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED") and raised.value.service == "serving"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        ([], "must be a JSON object"),
        ({"loan_amount": 1}, "customer_id must be a text"),
        ({"customer_id": 42, "loan_amount": 1}, "customer_id must be a text"),
        (application(loan_amount=None), "loan_amount must be a number"),
        (application(loan_amount="12000"), "loan_amount must be a number"),
        (application(loan_amount=True), "loan_amount must be a number"),
        (application(loan_amount=0), "loan_amount must be above zero"),
        (application(loan_amount=float("nan")), "must be a finite number"),
        (application(loan_amount=10**400), "must be a finite number"),
        (application(amount=3), "unknown field amount"),
        (application(session=[]), "session must be an object"),
        (application(session={"mood": 1}), "unknown signal session.mood"),
        (application(session={"login_attempts_24h": 1.5}), "must be a whole number"),
        (application(customer_id="C" * 70_000), "at most 65536 bytes"),
    ],
)
def test_bad_requests_say_what_would_be_right(post: Post, larder: FakeLarder, body: Any, message: str) -> None:
    status, answer = post(body)
    assert status == 400
    assert answer["error"]["code"] == "INVALID_ARGUMENT"
    assert message in answer["error"]["message"]
    assert larder.requests == []


def test_other_paths_are_not_found(post: Post) -> None:
    assert post(application(), path="/")[0] == 404
