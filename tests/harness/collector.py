"""An OpenTelemetry collector of one pipeline, in front of which an Envoy can stand: it takes records and keeps them.

Responsible for OTLP over gRPC. It knows nothing of what a record says.
"""

import threading
import time
from concurrent import futures

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as service


class Collector(service.LogsServiceServicer):
    """A running collector, as a context manager."""

    def __enter__(self) -> "Collector":
        self.requests: list[logs.ExportLogsServiceRequest] = []
        self._lock = threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        service.add_LogsServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None)

    def Export(self, request, context):  # noqa: N802  (the service's own name)
        with self._lock:
            self.requests.append(request)
        return logs.ExportLogsServiceResponse()

    def records(self) -> list[tuple[dict, str, dict]]:
        """The resource's attributes, the text and the attributes of each record so far."""
        with self._lock:
            return [(texts(group.resource.attributes), record.body.string_value, texts(record.attributes))
                    for request in self.requests for group in request.resource_logs
                    for scope in group.scope_logs for record in scope.log_records]

    def wait_for(self, count: int) -> list[tuple[dict, str, dict]]:
        deadline = time.monotonic() + 15
        while len(records := self.records()) < count:
            assert time.monotonic() < deadline, f"{len(records)} of {count} records came"
            time.sleep(0.05)
        return records


def texts(attributes) -> dict[str, str]:
    return {one.key: one.value.string_value for one in attributes}
