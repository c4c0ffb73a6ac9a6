"""A guarded gateway: one Envoy with the guard, one counting upstream, and what the contract says of every verdict.

`passes` and `refuses` hold the checks that no single test should have to repeat: the reason, where it is visible, what
the sender is told, and what reached the upstream, byte by byte. They do not know why a request deserves its verdict.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus

from harness import client, upstream
from harness.client import Request, Response, Send
from harness.envoy import Envoy, bootstrap
from harness.etcd import Etcd
from harness.upstream import Upstream

STATUS = {
    "no_policy": 404, "path_malformed": 404, "method_not_allowed": 405, "upgrade_not_allowed": 403,
    "content_type_not_allowed": 415, "content_encoding_not_allowed": 415, "body_too_large": 413,
    "source_ip_unknown": 403, "source_ip_not_allowed": 403,
    "token_missing": 401, "token_ambiguous": 401, "token_mismatch": 401,
    "signature_missing": 401, "signature_ambiguous": 401, "signature_malformed": 401, "signature_mismatch": 401,
    "timestamp_missing": 401, "timestamp_malformed": 401, "timestamp_stale": 401, "timestamp_future": 401,
    "requirement_not_met": 401, "no_alternative_held": 401, "client_certificate_missing": 403, "client_certificate_not_allowed": 403,
    "handshake_refused": 403, "duplicate_delivery": 409,
    "policy_unknown": 503, "overloaded": 503, "memory_unavailable": 503, "host_cannot_hold": 503, "host_fault": 503,
}
# The reason phrases Envoy and the RFCs agree on; Python still has the older name for 413.
PHRASE = {status.value: status.phrase for status in HTTPStatus} | {413: "Payload Too Large"}
NOTHING = upstream.Count(bytes=0, connections=0, requests=0)
IDENTITY = "x-webhook-guard-"
ENVOYS_OWN = {"x-forwarded-for"}  # rewritten by the connection manager before any filter


@dataclass(frozen=True)
class Exchange:
    """What the sender got, what the operator can read, and what was delivered, if anything was."""

    response: Response
    record: dict
    delivered: upstream.Request | None = None

    @property
    def identity(self) -> dict[str, bytes]:
        """The guard's headers as the upstream saw them, under their short names."""
        pairs = [(name.lower().decode(), value) for name, value in self.delivered.headers]
        found = [(name.removeprefix(IDENTITY), value) for name, value in pairs if name.replace("_", "-").startswith(IDENTITY)]
        assert len(found) == len(dict(found)), f"an identity header stands twice: {found}"
        return dict(found)


class Gateway:
    """`good` makes a request that has to pass, anew each time since signatures age.

    `config` is the guard's, for `bootstrap` with the `options`; or a function that makes Envoy's own from the port of the
    upstream, and then the `options` are Envoy's. `send` is how good requests are sent. An `etcd` is a cluster of that name.
    """

    def __init__(self, config: dict | Callable[[int], dict], *, good: Callable[[], Request], send: Send = client.h1_length,
                 etcd: Etcd | None = None, **options: object) -> None:
        self._config, self._good, self._send, self._options, self._etcd = config, good, send, options, etcd
        if etcd:
            options["clusters"] = [etcd.cluster()]

    def __enter__(self) -> "Gateway":
        with ExitStack() as stack:
            self.upstream = stack.enter_context(Upstream())
            port = self.upstream.port
            envoy = Envoy(self._config(port), **self._options) if callable(self._config) else Envoy(
                bootstrap(self._config, upstream_port=port, **self._options))
            self.envoy = stack.enter_context(envoy)
            self.passes_good()  # which also warms the pool: several leaks show only then
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def settled(self) -> None:
        """Until the memory of deliveries knows what became of them, which an etcd is told in its own time."""
        if self._etcd:
            self._etcd.settled()

    def passes_good(self) -> None:
        """The service is still up. Without the access log, which would cost every test another flush interval."""
        mark = self.upstream.mark()
        response = self._send(self.envoy.port, self._good())
        assert (response.status, self.upstream.delta(mark).requests) == (200, 1), response

    def passes(self, request: Request, send: Send = client.h1_length, *, verdict: str = "allow", reason: str = "ok",
               target: bytes | None = None, removed: tuple[str, ...] = ()) -> Exchange:
        """The request is delivered: the body, the target (or `target`) and all headers but `removed` byte-identical."""
        exchange = self.forwards(request, send, target=target, removed=removed)
        assert (exchange.record["verdict"], exchange.record["reason"]) == (verdict, reason)
        return exchange

    def forwards(self, request: Request, send: Send = client.h1_length, *, target: bytes | None = None,
                 removed: tuple[str, ...] = ()) -> Exchange:
        """As `passes`, whatever the verdict says."""
        mark = self.upstream.mark()
        response = send(self.envoy.port, request)
        record = self.envoy.record(request.test_id)
        assert (response.status, response.body) == (200, b"upstream"), record
        assert self.upstream.delta(mark).requests == 1
        delivered = self.upstream.requests[-1]
        assert delivered.body == request.body
        assert delivered.target == (request.target if target is None else target)
        for name in {name.decode("latin-1").lower() for name, _ in request.all_headers}:
            if name not in ENVOYS_OWN and not name.replace("_", "-").startswith(IDENTITY):
                sent = [value for key, value in request.all_headers if key.lower() == name.encode("latin-1")]
                assert delivered.values(name) == ([] if name in removed else sent), name
        return Exchange(response, record, delivered)

    def refuses(self, request: Request, reason: str, *, send: Send = client.h1_length, status: int | None = None) -> Exchange:
        """The request is refused for that reason; nothing of it reaches the upstream; the next good one passes."""
        mark = self.upstream.mark()
        response = send(self.envoy.port, request)
        exchange = Exchange(response, self.envoy.record(request.test_id))
        self._check_refusal(exchange, reason, status)
        assert self.upstream.delta(mark) == NOTHING, "bytes of a refused request reached the upstream"
        self.passes_good()
        return exchange

    def drops(self, send: Callable[[int], Response]) -> Response:
        """Whatever `send` sends, Envoy or the guard refuses it: no 2xx, nothing at the upstream, the next one passes."""
        mark = self.upstream.mark()
        response = send(self.envoy.port)
        assert not 200 <= response.status < 300
        assert self.upstream.delta(mark) == NOTHING, "bytes of a refused request reached the upstream"
        self.passes_good()
        return response

    def _check_refusal(self, exchange: Exchange, reason: str, status: int | None) -> None:
        response, record = exchange.response, exchange.record
        assert record["reason"] == reason, record
        status = status or STATUS[reason]
        assert (response.status, record["status"], record["verdict"]) == (status, status, "deny")
        assert record["details"] == f"webhook_guard{{{reason}}}"
        assert response.values("content-type") == ["application/json"]
        assert json.loads(response.body) == {"error": PHRASE[status], "request_id": record["request_id"]}
        waits = reason in ("overloaded", "memory_unavailable") or record["duplicate"] == "pending"
        assert response.values("retry-after") == (["1"] if waits else [])
        assert response.values("www-authenticate") == (["Webhook"] if status == 401 else [])
