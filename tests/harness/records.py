"""OpenTelemetry records as Envoy's exporter would send them, made by the thousand without an Envoy.

Responsible for the form of envoy/access-log/otlp.yaml. What a record says is for the tests to choose.
"""

import hashlib
import json
import time

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as service
from opentelemetry.proto.common.v1 import common_pb2 as common

NAMES = {
    "method": "http.request.method", "path": "http.target", "host": "http.request.header.host", "status": "http.response.status_code",
    "details": "envoy.response_code_details", "source": "client.address", "request_id": "http.request.header.x-request-id",
}
FIELDS = {
    "method": "POST", "path": "/hooks/github", "host": "hooks.example.com", "status": "401", "verdict": "deny", "reason": "signature_mismatch",
    "policy": "github", "provider": "github", "delivery_id": "-", "secret_id": "-", "checks": "path:pass,source_ip:skip,token:skip,signature:fail",
    "duplicate": "-", "headers": "-", "details": "webhook_guard{signature_mismatch}", "source": "192.0.2.1", "request_id": "-",
}


def body(content: bytes) -> dict[str, str]:
    """The fields of a body that was recorded whole."""
    return {"body": content.decode(), "body_encoding": "text", "body_sha256": hashlib.sha256(content).hexdigest(), "body_bytes": str(len(content))}


def line(**fields: str) -> str:
    """The same record as a line of the JSON access log."""
    whole = FIELDS | {"time": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())} | fields
    return json.dumps({name: None if value == "-" else value for name, value in whole.items()})


def batch(*records: dict[str, str], at: float | None = None) -> logs.ExportLogsServiceRequest:
    request = logs.ExportLogsServiceRequest()
    made = request.resource_logs.add().scope_logs.add().log_records
    for fields in records:
        whole = FIELDS | fields
        record = made.add(time_unix_nano=int((at or time.time()) * 1e9))
        record.body.string_value = f"{whole['verdict']} {whole['reason']}"
        for name, value in whole.items():
            record.attributes.append(common.KeyValue(key=NAMES.get(name, f"webhook.{name}"), value=common.AnyValue(string_value=value)))
    return request


class Exporter:
    """A sender of records over gRPC, as a context manager."""

    def __init__(self, port: int, **metadata: str) -> None:
        self._port, self._metadata = port, tuple(metadata.items())

    def __enter__(self) -> "Exporter":
        self._channel = grpc.insecure_channel(f"127.0.0.1:{self._port}", options=[("grpc.initial_reconnect_backoff_ms", 100)])
        self._stub = service.LogsServiceStub(self._channel)
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def send(self, *records: dict[str, str], at: float | None = None) -> None:
        """Returns when they are acknowledged; raises `grpc.RpcError` where they are not."""
        self._stub.Export(batch(*records, at=at), timeout=10, metadata=self._metadata)
