"""A Larder in a few lines for the tests of the model server: one customer's rows in memory, answered by the contracts."""

from __future__ import annotations

from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

import columns
from feature_platform import NOT_FOUND, PRESENT, push_pb2, push_pb2_grpc, serving_pb2, serving_pb2_grpc

KINDS = {bool: columns.BOOL, int: columns.INT64, float: columns.FLOAT64, str: columns.STRING}


@dataclass
class FakeLarder(serving_pb2_grpc.ServingServiceServicer, push_pb2_grpc.PushServiceServicer):
    """`features[name]` is a value, or a status byte in a tuple. `members` are the features of each service and view."""

    members: dict[str, list[str]]
    customer_id: str
    features: dict[str, Any]
    requests: list[serving_pb2.GetOnlineFeaturesRequest] = field(default_factory=list)
    pushed: list[dict[str, Any]] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    traceparents: list[str | None] = field(default_factory=list)
    refuse_pushes: bool = False

    def GetOnlineFeatures(self, request, context):
        self.requests.append(request)
        self.traceparents.append(dict(context.invocation_metadata()).get("traceparent"))
        name = request.feature_service or request.references.references[0]
        if name not in self.members:
            context.abort_with_status(not_found(name))
        (key,) = columns.decode(request.entities[0].column)
        is_here = key == self.customer_id
        return serving_pb2.GetOnlineFeaturesResponse(
            features=[answer(member, self.features[member] if is_here else (NOT_FOUND,)) for member in self.members[name]]
        )

    def Push(self, request, context):
        self.targets.append(request.target)
        if self.refuse_pushes:
            return push_pb2.PushResponse(results=[3], refusals=[push_pb2.Refusal(row=0, reason="the row is refused")])
        (event_time,) = request.event_times
        row = {column.name: columns.decode(column.column)[0] for column in request.columns}
        self.pushed.append(row | {"event_time": event_time})
        if row["customer_id"] == self.customer_id:
            self.features |= {name: (1,) if value is None else value for name, value in row.items() if name != "customer_id"}
        return push_pb2.PushResponse(batch_id="b", results=[1])

    def start(self) -> tuple[grpc.Server, str]:
        """A running server and its address."""
        server = grpc.server(futures.ThreadPoolExecutor(4))
        serving_pb2_grpc.add_ServingServiceServicer_to_server(self, server)
        push_pb2_grpc.add_PushServiceServicer_to_server(self, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return server, f"127.0.0.1:{port}"


def answer(name: str, value: Any) -> serving_pb2.Feature:
    if isinstance(value, tuple):
        return serving_pb2.Feature(name=name, values=columns.encode(columns.FLOAT64, [None]), statuses=bytes(value))
    present = b"" if name != "age" else bytes([PRESENT])
    return serving_pb2.Feature(name=name, values=columns.encode(KINDS[type(value)], [value]), statuses=present)


def not_found(service: str) -> Any:
    detail = any_pb2.Any()
    violation = error_details_pb2.BadRequest.FieldViolation(field="feature_service", description=f"no service {service}")
    detail.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    return rpc_status.to_status(
        status_pb2.Status(code=code_pb2.NOT_FOUND, message=f"there is no feature service {service}", details=[detail])
    )
