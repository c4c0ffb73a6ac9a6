"""The memory of several gateways: what only an etcd can do, and all that it can suffer.

What every memory has to do is in test_duplicates.py, which an etcd is held to as well.
"""

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
import pytest

from harness import client, shipped, signer
from harness.client import Request
from harness.envoy import Envoy, bootstrap
from harness.etcd import PREFIX, Etcd, etcd_cluster, free_port, needs_etcd
from harness.gateway import NOTHING, Gateway
from harness.rig import Load
from harness.upstream import REPLY, Upstream

pytestmark = needs_etcd
SECRET = "a-secret-of-the-test-of-the-etcd"
SERIAL = itertools.count(1)
TAGS = shipped.load("standalone/envoy.yaml", 1)["stats_config"]["stats_tags"]


def config(*, duplicates: dict | None = None, **etcd: object) -> dict:
    policy = {"name": "github", "match": {"path": {"prefix": "/"}}, "duplicates": duplicates or {},
              "require": {"signature": {"provider": "github", "secrets": [{"value": SECRET}]}}}
    return {"policies": [policy], "memory": {"etcd": {"cluster": "etcd", "timeout_ms": 5000} | etcd}}


def github() -> Request:
    """A delivery that there has not been."""
    data = b'{"number": %d}' % next(SERIAL)
    return Request(b"/github", signer.github(SECRET, data), data)


@pytest.fixture
def etcd():
    with Etcd() as etcd:
        yield etcd


@pytest.fixture(scope="module")
def shared():
    """An etcd that stays as it is, and a gateway that asks it."""
    with Etcd() as etcd, gateway(etcd) as gate:
        yield etcd, gate


@contextmanager
def gateway(etcd: Etcd, **options: object) -> Iterator[Gateway]:
    with Gateway(config(**options), good=github, etcd=etcd, stats_tags=TAGS) as gateway:
        yield gateway


def delivered(gateway: Gateway, request: Request, *, duplicate: str = "first") -> Request:
    assert gateway.passes(request).record["duplicate"] == duplicate
    if duplicate == "first":
        gateway.settled()
    return request


def repeated(gateway: Gateway, request: Request, *, duplicate: str = "duplicate") -> None:
    """The same again is refused, and nothing of it reaches the upstream."""
    again, mark = request.again(), gateway.upstream.mark()
    assert client.h1_length(gateway.envoy.port, again).status == 409
    record = gateway.envoy.record(again.test_id)
    assert (record["reason"], record["duplicate"]) == ("duplicate_delivery", duplicate)
    assert gateway.upstream.delta(mark) == NOTHING


def unavailable(gateway: Gateway, request: Request | None = None, *, send: client.Send = client.h1_length) -> None:
    """It is refused since the memory cannot be asked, with the advice to try again, and nothing of it reaches the upstream."""
    request, mark = (request or github()).again(), gateway.upstream.mark()
    response = send(gateway.envoy.port, request)
    assert (response.status, response.values("retry-after")) == (503, ["1"])
    record = gateway.envoy.record(request.test_id)
    assert (record["verdict"], record["reason"], record["duplicate"]) == ("deny", "memory_unavailable", "unavailable")
    assert gateway.upstream.delta(mark) == NOTHING


def eventually_passes(gateway: Gateway) -> None:
    """Once etcd is back: Envoy connects anew, which may take a refusal or two."""
    for _ in range(100):
        if client.h1_length(gateway.envoy.port, github()).status == 200:
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing passes any more:\n{gateway.envoy.tail()}")


# What several gateways share

def test_of_a_thousand_copies_over_two_gateways_one_passes(etcd, tmp_path):
    def config_of(port: int) -> dict:
        return bootstrap(config(), upstream_port=port, clusters=[etcd.cluster()])

    with (Upstream() as upstream, Envoy(config_of(upstream.port), concurrency=2) as one,
          Envoy(config_of(upstream.port), concurrency=2) as other, Load() as here, Load() as there):
        for number in range(10):
            request = github()
            file = tmp_path / str(number)
            head = [b"POST /github HTTP/1.1", b"host: hooks.example.com", b"content-length: %d" % len(request.body)]
            head += [name + b": " + value for name, value in request.headers]
            file.write_bytes(b"\r\n".join([*head, b"", b""]) + request.body)
            mark = upstream.mark()
            with futures.ThreadPoolExecutor() as pool:
                sent = [pool.submit(load.send, envoy.port, file, 500, connections=20) for load, envoy in ((here, one), (there, other))]
                statuses = sorted(each.result()[0] for each in sent)
            assert statuses == ["200:1,409:499", "409:500"], f"round {number}"
            assert upstream.delta(mark).requests == 1, f"round {number}"


def test_what_one_gateway_has_delivered_another_refuses(etcd):
    with gateway(etcd) as one, gateway(etcd) as other:
        request = delivered(one, github())
        repeated(other, request)
    with gateway(etcd) as later:
        repeated(later, request)  # no gateway has to be there all the time
    with gateway(etcd, prefix="another/") as apart:
        delivered(apart, request.again())


def test_leases_are_shared_by_deliveries_and_gateways(etcd):
    with gateway(etcd) as one, gateway(etcd) as other:
        for _ in range(50):
            one.passes_good()
            other.passes_good()
        entries = etcd.settled()
        assert len(entries) == 102 and {value.split()[0] for value in entries.values()} == {"done"}
        # One for what is pending and one for what is done, for each of the minutes that this took.
        assert len(etcd.leases()) <= 4
        assert all(key.startswith(PREFIX) and len(key) == len(PREFIX) + 32 for key in entries)


def test_a_lease_that_is_gone_is_granted_again(etcd):
    with gateway(etcd) as gate:
        request = delivered(gate, github())
        for lease in etcd.leases():
            etcd.ask("lease/revoke", ID=str(lease))
        assert etcd.entries() == {}
        delivered(gate, request.again())  # its key went with the lease
        repeated(gate, request)


def test_what_the_upstream_did_not_take_is_deleted(shared):
    etcd, gate = shared
    etcd.settled()
    before = etcd.entries()
    usual = gate.upstream.answer
    gate.upstream.answer = lambda connection, _: connection.sendall(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n")
    request = github()
    assert client.h1_length(gate.envoy.port, request).status == 500
    gate.upstream.answer = usual
    assert etcd.settled() == before
    delivered(gate, request.again())


def test_an_entry_that_has_run_out_and_is_still_there_counts_no_more(shared):
    etcd, gate = shared
    before = set(etcd.settled())
    request = delivered(gate, github())
    (key,) = set(etcd.entries()) - before
    etcd.put(key, "done 1")
    delivered(gate, request.again())
    repeated(gate, request)
    etcd.put(key, "pending 1")
    delivered(gate, request.again())
    repeated(gate, request)


@pytest.mark.parametrize("value", ["", "done", "done -1", "done 99999999999999999999", "perhaps 99999999999999", "done 1 2"])
def test_what_others_write_there_is_not_relied_on(shared, value):
    etcd, gate = shared
    before = set(etcd.settled())
    request = delivered(gate, github())
    (key,) = set(etcd.entries()) - before
    etcd.put(key, value)
    unavailable(gate, request)


@pytest.mark.parametrize("send", [client.h1_length, client.h1_bare, client.h2_send, client.FRAMINGS["h2-trailers"]],
                         ids=["h1", "without a body", "h2", "h2-trailers"])
def test_where_the_head_is_not_held_the_buffer_behind_holds_all_of_it(shared, send):
    etcd, _ = shared
    with Gateway(config(), good=github, etcd=etcd, hold=False) as gate:
        request = github() if send is not client.h1_bare else Request(b"/github", signer.github(SECRET, b""), b"")
        assert gate.passes(request, send).record["duplicate"] == "first"
        gate.settled()
        repeated(gate, request)


# What it can suffer

@pytest.mark.parametrize("send", [client.h1_length, client.h2_send, client.FRAMINGS["h2-trailers"]], ids=["h1", "h2", "h2-trailers"])
def test_killed_and_started_again_it_has_lost_nothing(etcd, send):
    with gateway(etcd) as gate:
        requests = [delivered(gate, github()) for _ in range(3)]
        etcd.keep()
        etcd.kill()
        unavailable(gate, send=send)
        unavailable(gate, requests[0], send=send)
        etcd.start()
        eventually_passes(gate)
        for request in requests:
            repeated(gate, request)


def test_what_was_delivered_while_it_was_down_is_told_when_it_is_back(etcd):
    """Even when the pending entry has run out meanwhile."""
    def answer(connection: object, _: object) -> None:
        etcd.keep()
        etcd.kill()
        connection.sendall(REPLY)

    with gateway(etcd, duplicates={"pending_seconds": 1}) as gate:
        etcd.settled()
        usual, request = gate.upstream.answer, github()
        gate.upstream.answer = answer
        assert client.h1_length(gate.envoy.port, request).status == 200
        gate.upstream.answer = usual
        gate.envoy.wait_for_log("the etcd of cluster etcd cannot be told what became of deliveries (gRPC status 14)")
        time.sleep(1.2)
        etcd.start()
        gate.envoy.wait_for_log("the etcd of cluster etcd can be told again what became of deliveries")
        etcd.settled()
        repeated(gate, request)


def test_told_to_accept_it_does_so_and_counts(etcd):
    with gateway(etcd, when_unavailable="accept") as gate:
        request = delivered(gate, github())
        etcd.keep()
        etcd.kill()
        for _ in range(2):
            delivered(gate, request.again(), duplicate="unavailable")
        assert gate.envoy.metric("webhook_guard_deliveries_total", outcome="unavailable") == 2
        etcd.start()
        eventually_passes(gate)
        repeated(gate, request)


def test_one_that_does_not_answer_holds_nobody_longer_than_the_timeout(etcd):
    with gateway(etcd, timeout_ms=300) as gate:
        request = delivered(gate, github())
        etcd.suspend(is_suspended=True)
        try:
            for send in (client.h1_length, client.h2_send):
                unavailable(gate, send=send)
            # Many at once, of which each has its own answer.
            with futures.ThreadPoolExecutor(20) as pool:
                statuses = [response.status for response in pool.map(lambda _: client.h1_length(gate.envoy.port, github()), range(60))]
            assert set(statuses) == {503}
        finally:
            etcd.suspend(is_suspended=False)
        eventually_passes(gate)
        repeated(gate, request)


def test_a_full_one_refuses_and_works_again_when_there_is_room():
    with Etcd("--quota-backend-bytes", str(16 << 20), "--max-request-bytes", str(2 << 20)) as etcd, gateway(etcd) as gate:
        request = delivered(gate, github())
        with pytest.raises(OSError):
            for number in range(40):
                etcd.put(f"other/{number}", "x" * (1 << 20))
        unavailable(gate)
        etcd.ask("kv/deleterange", key="b3RoZXIv", range_end="b3RoZXIw")
        revision = etcd.ask("kv/range", key="AA==")["header"]["revision"]
        etcd.ask("kv/compaction", revision=revision, physical=True)
        etcd.ask("maintenance/defragment")
        for alarm in etcd.ask("maintenance/alarm", action="GET")["alarms"]:
            etcd.ask("maintenance/alarm", action="DEACTIVATE", **alarm)
        eventually_passes(gate)
        repeated(gate, request)


@pytest.mark.parametrize("name, hold", [("gone", True), ("gone", False), ("etcd1", True), ("aetcdprod", False),
                                        ("outbound|2379||etcd.infra.svc.cluster.local", True), ("x" * 123, False)])
def test_a_cluster_that_is_not_there_ends_no_envoy(shared, name, hold):
    """Of these names Envoy would take two for something else, and abort."""
    etcd, _ = shared
    with Upstream() as upstream, Envoy(bootstrap(config(cluster=name), upstream_port=upstream.port, hold=hold)) as envoy:
        for send in (client.h1_length, client.h2_send, client.FRAMINGS["h2-trailers"]):
            request = github()
            assert send(envoy.port, request).status == 503
            assert envoy.record(request.test_id)["reason"] == "memory_unavailable"
        assert upstream.mark() == NOTHING
    named = etcd.cluster(name=name)
    with Gateway(config(cluster=name), good=github, clusters=[named], hold=hold) as gate:
        delivered(gate, github())


class Impostor:
    """A gRPC server that answers every method with some bytes, or with a status."""

    def __init__(self) -> None:
        self.answer: bytes | grpc.StatusCode = b""
        self.port, self.calls = free_port(), 0

    def __enter__(self) -> "Impostor":
        self._server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[self])
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def service(self, _: object) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(self._handle)

    def _handle(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls += 1
        if isinstance(self.answer, bytes):
            return self.answer
        context.abort(self.answer, "no")


HEADER = b"\x0a\x02\x18\x05"
WRONG = {
    "nothing": b"",
    "no protobuf": b"\xff" * 40,
    "no header": b"\x10\x01",
    "a revision of nothing": b"\x0a\x02\x18\x00\x10\x01",
    "a negative revision": b"\x0a\x0b\x18" + b"\xff" * 9 + b"\x01\x10\x01",
    "cut off": b"\x0a\x04\x18",
    "neither put nor found": HEADER,
    "a value of nothing": HEADER + b"\x1a\x04\x0a\x02\x12\x00",
    "much": b"\x1a\x80\x80\x40" + b"x" * (1 << 20),
    **{code.name: code for code in grpc.StatusCode if code is not grpc.StatusCode.OK},
}


@pytest.fixture(scope="module")
def deceived():
    """A gateway that asks an impostor."""
    with Impostor() as impostor, Upstream() as upstream:
        with Envoy(bootstrap(config(), upstream_port=upstream.port, clusters=[etcd_cluster(impostor.port)])) as envoy:
            yield impostor, envoy, upstream


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_answer_is_none(deceived, answer):
    impostor, envoy, upstream = deceived
    impostor.answer = answer
    for _ in range(2):
        request, before = github(), impostor.calls
        assert client.h1_length(envoy.port, request).status == 503
        assert envoy.record(request.test_id)["reason"] == "memory_unavailable"
        assert 1 <= impostor.calls - before <= 6
    assert upstream.requests == []


def test_what_speaks_no_grpc_is_none():
    with Upstream() as impostor, Upstream() as upstream:  # HTTP/1.1, whatever is asked
        with Envoy(bootstrap(config(), upstream_port=upstream.port, clusters=[etcd_cluster(impostor.port)])) as envoy:
            request = github()
            assert client.h1_length(envoy.port, request).status == 503
            assert envoy.record(request.test_id)["reason"] == "memory_unavailable"
    assert upstream.requests == []


def test_who_leaves_while_etcd_is_asked_costs_nobody_else_anything(etcd):
    with gateway(etcd) as gate:
        etcd.suspend(is_suspended=True)
        leavers = [threading.Thread(target=leave, args=(gate.envoy.port, github())) for _ in range(40)]
        for leaver in leavers:
            leaver.start()
        for leaver in leavers:
            leaver.join()
        etcd.suspend(is_suspended=False)
        eventually_passes(gate)
        gate.passes_good()


def leave(port: int, request: Request) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = [b"POST %s HTTP/1.1" % request.target, b"host: hooks.example.com", b"content-length: %d" % len(request.body)]
        head += [name + b": " + value for name, value in request.all_headers]
        connection.sendall(b"\r\n".join([*head, b"", b""]) + request.body)
        time.sleep(0.2)
