#!/usr/bin/env python3
"""Scores loan applications over HTTP, on features that Larder serves, and reports back what it saw.

    model_server.py [--model model/model.joblib] [--port 8080] [--serving HOST:PORT] [--push HOST:PORT]

    POST /score    {"customer_id": "CUST00000042", "loan_amount": 12000, "session": {"device_fingerprint_score": 0.7}}
    GET /healthz

For each application it asks Larder for `credit_scoring_service`: the 17 features of the model, on-demand ones for the
requested amount among them. It answers the probability of default, a score from 300 (worst) to 850, the risk level, and how
confident it is. A feature without a value is passed to the model as "not known" and named in the answer.

What it learnt goes back to Larder as real-time features, so that the next application sees it: one more log-in in
`login_attempts_24h`, and the signals of `session` that the caller has seen (any of the view `real_time_features`). What was
not seen now stays as it was. Nothing is written of a customer whom Larder does not know. A report that fails does not cost
the caller the score: the answer says `report_error`. Of two applications at the same instant, one log-in may go uncounted.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import joblib
import numpy as np

import columns
from feature_platform import FeaturePlatform, LarderError, OnlineFeature

SERVICE, VIEW, PUSH_SOURCE = "credit_scoring_service", "real_time_features", "real_time_push_source"
# The columns of the push source.
SIGNALS = {
    "current_balance": columns.FLOAT64,
    "last_transaction_amount": columns.FLOAT64,
    "login_attempts_24h": columns.INT64,
    "device_fingerprint_score": columns.FLOAT64,
    "ip_risk_score": columns.FLOAT64,
    "session_duration": columns.FLOAT64,
}
COUNTED = "login_attempts_24h"
WORST_SCORE, BEST_SCORE = 300, 850
# Features that are computed from whatever is known: they are there for unknown customers too.
ON_DEMAND = {"combined_risk_score", "creditworthiness_index", "fraud_probability"}
LONGEST_REQUEST = 64 * 1024

HTTP_STATUS = {
    "INVALID_ARGUMENT": HTTPStatus.BAD_REQUEST,
    "NOT_FOUND": HTTPStatus.NOT_FOUND,
    "RESOURCE_EXHAUSTED": HTTPStatus.TOO_MANY_REQUESTS,
    "UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "DEADLINE_EXCEEDED": HTTPStatus.GATEWAY_TIMEOUT,
}


class BadRequest(ValueError):
    """The caller's fault; says what would be right."""


class Scorer:
    """The model and where its features come from. Used by many threads at once."""

    def __init__(self, model: dict, platform: FeaturePlatform) -> None:
        self.model, self.platform = model, platform

    def score(self, request: dict[str, Any], traceparent: str | None = None) -> dict[str, Any]:
        customer_id, loan_amount, session = check_request(request)
        entity = {"customer_id": customer_id}
        features = self.platform.service_features(SERVICE, entity, {"loan_amount": loan_amount}, traceparent)
        absent = [name for name in self.model["features"] if name not in features]
        if absent:
            raise LarderError("serving", "FAILED_PRECONDITION", f"{SERVICE} has no {', '.join(absent)}: train the model anew")
        answer = {"customer_id": customer_id, "loan_amount": loan_amount, **self.judge(features)}
        is_known = any(feature.is_found for name, feature in features.items() if name not in ON_DEMAND)
        try:
            learnt = self.report(entity, session, traceparent) if is_known else None
        except LarderError as error:
            return answer | {"learnt": None, "report_error": {"code": error.code, "message": error.message}}
        return answer | {"learnt": learnt}

    def judge(self, features: dict[str, OnlineFeature]) -> dict[str, Any]:
        vector = np.array([[features[name].number for name in self.model["features"]]])
        risk = float(self.model["classifier"].predict_proba(vector)[0, 1])
        known = 1.0 - float(np.isnan(vector).mean())
        return {
            "default_probability": round(risk, 6),
            "score": round(BEST_SCORE - (BEST_SCORE - WORST_SCORE) * risk),
            "risk_level": self.risk_level(risk),
            # How sure the model is of the likelier outcome, times how much of what it looks at was known.
            "confidence": round(known * max(risk, 1.0 - risk), 6),
            "features": {name: number_or_none(features[name].number) for name in self.model["features"]},
            "not_present": {name: feature.status for name, feature in features.items() if feature.status != "PRESENT"},
        }

    def risk_level(self, risk: float) -> str:
        if risk >= self.model["high_risk"]:
            return "high"
        return "medium" if risk >= self.model["medium_risk"] else "low"

    def report(self, entity: dict[str, str], session: dict[str, float], traceparent: str | None) -> dict[str, Any]:
        """Pushes the real-time features as they are after this application; gives what was pushed."""
        before = self.platform.view_features(VIEW, entity, traceparent)
        after = {name: before[name].value for name in SIGNALS} | session
        if COUNTED not in session:
            after[COUNTED] = (before[COUNTED].value or 0) + 1
        keys = [columns.named(name, columns.STRING, [value]) for name, value in entity.items()]
        row = [columns.named(name, kind, [after[name]]) for name, kind in SIGNALS.items()]
        self.platform.push_row(PUSH_SOURCE, keys + row, traceparent)
        return {name: None if value is None else number_or_none(value) for name, value in after.items()}


def check_request(request: Any) -> tuple[str, float, dict[str, float]]:
    if not isinstance(request, dict):
        raise BadRequest("the body must be a JSON object with customer_id and loan_amount")
    unknown = sorted(set(request) - {"customer_id", "loan_amount", "session"})
    if unknown:
        raise BadRequest(f"unknown field {', '.join(unknown)}: there are customer_id, loan_amount and session")
    customer_id, session = request.get("customer_id"), request.get("session", {})
    if not isinstance(customer_id, str) or not customer_id:
        raise BadRequest("customer_id must be a text such as CUST00000042")
    loan_amount = number(request.get("loan_amount"), "loan_amount")
    if loan_amount <= 0:
        raise BadRequest(f"loan_amount must be above zero, not {loan_amount:g}")
    if not isinstance(session, dict):
        raise BadRequest("session must be an object of signals")
    return customer_id, loan_amount, {name: signal(name, value) for name, value in session.items()}


def signal(name: str, value: Any) -> float:
    if name not in SIGNALS:
        raise BadRequest(f"unknown signal session.{name}: there are {', '.join(SIGNALS)}")
    checked = number(value, f"session.{name}")
    if SIGNALS[name] == columns.FLOAT64:
        return checked
    if not checked.is_integer() or abs(checked) >= 2**53:
        raise BadRequest(f"session.{name} must be a whole number, not {value}")
    return int(checked)


def number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadRequest(f"{name} must be a number")
    try:
        checked = float(value)
    except OverflowError:
        checked = math.inf
    if not math.isfinite(checked):
        raise BadRequest(f"{name} must be a finite number")
    return checked


def number_or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None


class Handler(BaseHTTPRequestHandler):
    """One HTTP request. The class gets its scorer from `serve`."""

    scorer: Scorer
    protocol_version = "HTTP/1.1"
    timeout = 30
    # Head and body are written one after the other: the second must not wait until the first is acknowledged.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(HTTPStatus.OK, {"status": "ok"})
        else:
            self.answer_error(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"nothing at {self.path}: there is POST /score")

    def do_POST(self) -> None:
        body = self.body()
        if self.path != "/score":
            self.answer_error(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"nothing at {self.path}: there is POST /score")
            return
        try:
            if body is None:
                raise BadRequest(f"the body must be JSON of at most {LONGEST_REQUEST} bytes, with its length in Content-Length")
            self.answer(HTTPStatus.OK, self.scorer.score(parse_json(body), self.headers.get("traceparent")))
        except BadRequest as error:
            self.answer_error(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT", str(error))
        except LarderError as error:
            status = HTTP_STATUS.get(error.code, HTTPStatus.BAD_GATEWAY)
            self.answer_error(status, error.code, error.message, service=error.service, fields=error.fields)

    def body(self) -> bytes | None:
        """The body, or None where it is too long or of unknown length; the connection ends then."""
        length = self.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) <= LONGEST_REQUEST:
            return self.rfile.read(int(length))
        self.close_connection = True
        if length.isdecimal():
            # Closing with unread bytes would take the answer from the caller.
            self.rfile.read(min(int(length), 16 * LONGEST_REQUEST))
        return None

    def answer_error(self, status: HTTPStatus, code: str, message: str, **more: Any) -> None:
        self.answer(status, {"error": {"code": code, "message": message, **more}})

    def answer(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        body = json.dumps(content, allow_nan=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Requests are not logged: customers' ids are nobody's business."""


def parse_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error


class Server(ThreadingHTTPServer):
    """A thread a connection; does not wait for idle ones when it stops."""

    daemon_threads = True
    request_queue_size = 128


def serve(scorer: Scorer, host: str, port: int) -> Server:
    """A server that listens already; the caller runs it."""
    return Server((host, port), type("BoundHandler", (Handler,), {"scorer": scorer}))


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=Path, default=Path(__file__).parent / "model" / "model.joblib", help="what train_model.py wrote"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on; 0 takes a free one")
    parser.add_argument("--serving", default="127.0.0.1:6567", help="Larder's serving")
    parser.add_argument("--push", default="127.0.0.1:6571", help="Larder's push-ingest")
    parser.add_argument("--project", default="credit_scoring")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds that each call to Larder may take")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse_arguments(arguments)
    if not options.model.exists():
        raise SystemExit(f"no model at {options.model}: make one with train_model.py")
    platform = FeaturePlatform(options.project, options.serving, options.push, options.timeout)
    server = serve(Scorer(joblib.load(options.model), platform), options.host, options.port)
    print(f"listening on http://{options.host}:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        platform.close()


if __name__ == "__main__":
    main(sys.argv[1:])
