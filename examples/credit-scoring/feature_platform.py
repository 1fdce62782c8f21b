"""The calls to Larder that a model server makes, over the generated stubs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import columns
import stubs

stubs.load()

from larder.push.v1 import push_pb2, push_pb2_grpc  # noqa: E402
from larder.serving.v1 import serving_pb2, serving_pb2_grpc  # noqa: E402
from larder.types.v1 import types_pb2 as types  # noqa: E402

PRESENT, NULL, NOT_FOUND, OUTSIDE_MAX_AGE = range(4)
STATUS_NAMES = {PRESENT: "PRESENT", NULL: "NULL", NOT_FOUND: "NOT_FOUND", OUTSIDE_MAX_AGE: "OUTSIDE_MAX_AGE"}


class LarderError(Exception):
    """What Larder answered instead of a result: its code, its words, and the fields of the request they are about."""

    def __init__(self, service: str, code: str, message: str, fields: list[dict[str, str]] | None = None) -> None:
        super().__init__(f"{service}: {code}: {message}")
        self.service, self.code, self.message, self.fields = service, code, message, fields or []

    @staticmethod
    def of(service: str, error: grpc.RpcError) -> LarderError:
        fields = []
        status = rpc_status.from_call(error)
        for detail in status.details if status else []:
            request = error_details_pb2.BadRequest()
            if detail.Unpack(request):
                fields += [{"field": item.field, "description": item.description} for item in request.field_violations]
        return LarderError(service, error.code().name, error.details() or "", fields)


@dataclass(frozen=True)
class OnlineFeature:
    """A feature of one entity."""

    value: Any  # None unless it is present
    number: float  # as a model takes it: NaN unless it is present and a number
    status: str

    @property
    def is_found(self) -> bool:
        """Whether there is a row of this entity, too old or not."""
        return self.status != STATUS_NAMES[NOT_FOUND]


class FeaturePlatform:
    """One project of a Larder. Its methods may be called from many threads at once and raise LarderError."""

    def __init__(self, project: str, serving: str, push: str, timeout: float) -> None:
        self.project, self.timeout = project, timeout
        self.channels = [grpc.insecure_channel(address) for address in (serving, push)]
        self.serving = serving_pb2_grpc.ServingServiceStub(self.channels[0])
        self.pushing = push_pb2_grpc.PushServiceStub(self.channels[1])

    def close(self) -> None:
        for channel in self.channels:
            channel.close()

    def service_features(
        self, service: str, entity: dict[str, str], request_data: dict[str, float], traceparent: str | None = None
    ) -> dict[str, OnlineFeature]:
        """The features of a feature service for one entity, by name."""
        return self.online(serving_pb2.GetOnlineFeaturesRequest(feature_service=service), entity, request_data, traceparent)

    def view_features(self, view: str, entity: dict[str, str], traceparent: str | None = None) -> dict[str, OnlineFeature]:
        """All features of a view for one entity, by name."""
        references = serving_pb2.FeatureReferences(references=[view])
        return self.online(serving_pb2.GetOnlineFeaturesRequest(references=references), entity, {}, traceparent)

    def online(
        self,
        request: serving_pb2.GetOnlineFeaturesRequest,
        entity: dict[str, str],
        request_data: dict[str, float],
        traceparent: str | None,
    ) -> dict[str, OnlineFeature]:
        request.project = self.project
        request.entities.extend(columns.named(name, columns.STRING, [value]) for name, value in entity.items())
        request.request_data.extend(columns.named(name, columns.FLOAT64, [value]) for name, value in request_data.items())
        answer = self.call("serving", self.serving.GetOnlineFeatures, request, traceparent)
        return {feature.name: decode_single(feature) for feature in answer.features}

    def push_row(self, source: str, row: list[types.NamedColumn], traceparent: str | None = None) -> None:
        """One event that happens now, for the log and the online store. Larder has it when this returns."""
        request = push_pb2.PushRequest(
            project=self.project,
            source=source,
            columns=row,
            event_times=[time.time_ns() // 1000],
            target=push_pb2.TARGET_ONLINE_AND_OFFLINE,
        )
        answer = self.call("push-ingest", self.pushing.Push, request, traceparent)
        for refusal in answer.refusals:
            raise LarderError("push-ingest", "REFUSED", refusal.reason)

    def call(self, service: str, method: grpc.UnaryUnaryMultiCallable, request: Any, traceparent: str | None) -> Any:
        metadata = [("traceparent", traceparent)] if traceparent else []
        try:
            return method(request, timeout=self.timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise LarderError.of(service, error) from error


def decode_single(feature: serving_pb2.Feature) -> OnlineFeature:
    """A feature of an answer about one entity. A status that this module does not know stands for a null."""
    status = feature.statuses[0] if feature.statuses else PRESENT
    name = STATUS_NAMES.get(status, f"status {status}")
    if status != PRESENT:
        return OnlineFeature(None, float("nan"), name)
    (value,) = columns.decode(feature.values)
    is_number = isinstance(value, (bool, int, float))
    return OnlineFeature(value, float(columns.as_floats(feature.values)[0]) if is_number else np.nan, name)
