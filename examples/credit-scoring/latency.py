#!/usr/bin/env python3
"""Measures online reads as a model server in Python sees them: one caller, one customer a call, over one gRPC channel.

    latency.py [--calls N] [--customers N] [--service NAME] [--serving HOST:PORT]

The times include what this client itself costs (encoding, Python's gRPC, decoding), so that the service's own are below.
"""

from __future__ import annotations

import argparse
import sys
import time

import grpc
import numpy as np

import columns
import stubs

stubs.load()

from larder.serving.v1 import serving_pb2, serving_pb2_grpc  # noqa: E402


def request_for(options: argparse.Namespace, number: int) -> serving_pb2.GetOnlineFeaturesRequest:
    return serving_pb2.GetOnlineFeaturesRequest(
        project=options.project,
        feature_service=options.service,
        entities=[columns.named("customer_id", columns.STRING, [f"CUST{number:08}"])],
        request_data=[columns.named("loan_amount", columns.FLOAT64, [12_000.0])],
    )


def measure(options: argparse.Namespace) -> np.ndarray:
    """Milliseconds of each call."""
    rng = np.random.default_rng(1)
    numbers = rng.integers(0, options.customers, options.warm_up + options.calls)
    took = []
    with grpc.insecure_channel(options.serving) as channel:
        stub = serving_pb2_grpc.ServingServiceStub(channel)
        for number in numbers:
            request = request_for(options, number)
            started = time.perf_counter()
            stub.GetOnlineFeatures(request, timeout=10)
            took.append(time.perf_counter() - started)
    return np.array(took[options.warm_up :]) * 1000


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--warm-up", type=int, default=200, help="calls before, which do not count")
    parser.add_argument("--customers", type=int, default=100_000, help="customers of the data set")
    parser.add_argument("--service", default="credit_scoring_service")
    parser.add_argument("--serving", default="127.0.0.1:6567")
    parser.add_argument("--project", default="credit_scoring")
    options = parser.parse_args(arguments)
    times = measure(options)
    p50, p99 = np.percentile(times, [50, 99])
    print(
        f"{options.service}, one customer a call: p50 {p50:.2f} ms, p99 {p99:.2f} ms "
        f"({options.calls:,} calls one after the other, Python client, one channel)"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
