"""Each delivery once: a recorded delivery that is played again, the sender's own second try, and what the upstream's answer
makes of a first one.

The memory is that of the Envoy (shared data for the Wasm module, the process for the dynamic one), or an etcd: the same tests
hold both. What only an etcd can do and suffer is in test_etcd.py.
"""

import itertools
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from harness import client, shipped, signer
from harness.client import Request
from harness.envoy import GUARD, Envoy, bootstrap
from harness.etcd import Etcd, needs_etcd
from harness.gateway import NOTHING, Gateway
from harness.rig import Load
from harness.upstream import REPLY

SECRET, NEXT = "a-secret-of-the-duplicates-test", "the-next-secret-of-the-same-test"
KEY = b"a key of the duplicates test..32"
WITH_TRAILERS = client.FRAMINGS["h2-trailers"]
SENDS = {"h1-length": client.h1_length, "h1-chunked": client.h1_chunked, "h2": client.h2_send, "h2-trailers": WITH_TRAILERS}
SERIAL = itertools.count(1)
TAGS = shipped.load("standalone/envoy.yaml", 1)["stats_config"]["stats_tags"]


def policy(name: str, *, secrets: tuple[str, ...] = (SECRET,), duplicates: dict | None = None, provider: str = "github", **more: object) -> dict:
    secrets = [{"value": secret, "id": f"s{number}"} for number, secret in enumerate(secrets)]
    return {"name": name, "match": {"path": {"prefix": f"/{name}"}}, "require": {"signature": {"provider": provider, "secrets": secrets}},
            "duplicates": {} if duplicates is None else duplicates} | more


def body() -> bytes:
    """Of a delivery that there has not been."""
    return b'{"number": %d}' % next(SERIAL)


def github(path: str = "/github", data: bytes | None = None, *, secret: str = SECRET) -> Request:
    data = body() if data is None else data
    return Request(path.encode(), signer.github(secret, data), data)


CONFIG = {"policies": [
    policy("github", secrets=(SECRET, NEXT)),
    policy("other"),
    policy("svix", provider="svix", secrets=(signer.svix_secret(KEY),)),
    policy("slack", provider="slack", duplicates={"id": {"json": "/event_id"}}),
    policy("acknowledged", duplicates={"then": "acknowledge"}),
    policy("reported", mode="report"),
    policy("either") | {"require": {"any_of": [
        {"signature": {"provider": provider, "secrets": [{"value": SECRET}]}} for provider in ("github", "bitbucket_server")]}},
    policy("short", duplicates={"window_seconds": 4, "pending_seconds": 1}),
    policy("brief", duplicates={"pending_seconds": 3}),
]}


IN_ETCD = pytest.param("etcd", marks=needs_etcd)


@contextmanager
def remembering(where: str, **options: object) -> Iterator[Gateway]:
    """A gateway that remembers in its own memory, or in an etcd."""
    with ExitStack() as stack:
        etcd = stack.enter_context(Etcd()) if where == "etcd" else None
        memory = {"memory": {"etcd": {"cluster": "etcd", "timeout_ms": 5000}}} if etcd else {}
        yield stack.enter_context(Gateway(CONFIG | memory, good=github, etcd=etcd, **options))


@pytest.fixture(scope="module", params=["held", "buffer-behind", IN_ETCD])
def gateway(request):
    with remembering(request.param, hold=request.param != "buffer-behind", stats_tags=TAGS) as gateway:
        yield gateway


def delivered(gateway: Gateway, request: Request, send: client.Send = client.h1_length) -> Request:
    assert gateway.passes(request, send).record["duplicate"] == "first"
    gateway.settled()
    return request


def repeated(gateway: Gateway, request: Request, *, send: client.Send = client.h1_length, duplicate: str = "duplicate") -> client.Response:
    exchange = gateway.refuses(request.again(), "duplicate_delivery", send=send)
    assert exchange.record["duplicate"] == duplicate
    return exchange.response


# What names a delivery

@pytest.mark.parametrize("first", SENDS.values(), ids=SENDS.keys())
@pytest.mark.parametrize("second", SENDS.values(), ids=SENDS.keys())
def test_a_recorded_delivery_passes_once_whatever_its_framing(gateway, first, second):
    repeated(gateway, delivered(gateway, github(), first), send=second)


def test_nothing_unsigned_makes_another_delivery_of_it(gateway):
    request = delivered(gateway, github())
    for more in [[(b"x-github-delivery", b"another")], [(b"x-request-id", b"another")], [(b"user-agent", b"another")]]:
        repeated(gateway, request.again(headers=[*request.headers, *more]))
    repeated(gateway, request.again(target=b"/github/elsewhere?and=more"))


def test_another_delivery_is_another(gateway):
    for _ in range(3):
        delivered(gateway, github())


def test_one_without_a_body_is_one_as_well(gateway):
    request = github("/other", b"")
    delivered(gateway, request)
    for send in (client.h1_length, client.h1_bare, client.h2_send):
        repeated(gateway, request, send=send)


def test_the_name_does_not_hang_on_the_secret(gateway):
    data = body()
    delivered(gateway, github(data=data))
    repeated(gateway, github(data=data, secret=NEXT))


def test_policies_remember_apart(gateway):
    data = body()
    delivered(gateway, github("/github", data))
    delivered(gateway, github("/other", data))


def test_a_signed_id_names_a_delivery_that_is_tried_again_with_a_new_time(gateway):
    ids = [f"msg_{next(SERIAL)}" for _ in range(2)]

    def svix(number: int, at: int) -> Request:
        return Request(b"/svix", signer.svix(KEY, b"{}", delivery=ids[number], at=signer.now() + at), b"{}")

    delivered(gateway, svix(0, -5))
    repeated(gateway, svix(0, 0))
    delivered(gateway, svix(1, 0))


def test_a_place_in_the_body_names_a_delivery(gateway):
    def slack(data: bytes, at: int = 0) -> Request:
        return Request(b"/slack", signer.slack(SECRET, data, at=signer.now() + at), data)

    number = next(SERIAL)
    delivered(gateway, slack(b'{"event_id": "Ev%d", "try": 1}' % number, -5))
    repeated(gateway, slack(b'{"try": 2, "event_id": "Ev%d"}' % number))
    delivered(gateway, slack(b'{"event_id": "Ev%d", "try": 1}' % next(SERIAL)))
    # None there: then it is all that is signed.
    without = b'{"number": %d}' % next(SERIAL)
    first = slack(without, -5)
    delivered(gateway, first)
    repeated(gateway, first)
    delivered(gateway, slack(without))


def test_what_is_not_accepted_is_not_remembered(gateway):
    request = github()
    for _ in range(2):
        gateway.refuses(request.again(body=body()), "signature_mismatch")
    gateway.refuses(Request(b"/github", [], request.body), "signature_missing")
    delivered(gateway, request)


def test_two_providers_of_a_policy_do_not_get_into_each_other_s_way(gateway):
    data = body()
    delivered(gateway, github("/either", data))
    delivered(gateway, Request(b"/either", signer.bitbucket(SECRET, data), data))
    repeated(gateway, github("/either", data))


# What is done with the second

def test_an_acknowledged_duplicate_is_not_delivered_again(gateway):
    request = delivered(gateway, github("/acknowledged"))
    mark = gateway.upstream.mark()
    for send in SENDS.values():
        again = request.again()
        response = send(gateway.envoy.port, again)
        record = gateway.envoy.record(again.test_id)
        assert (response.status, response.values("content-type")) == (200, ["application/json"])
        assert response.body == b'{"duplicate":true,"request_id":"%s"}' % record["request_id"].encode()
        assert [record[key] for key in ("verdict", "reason", "duplicate")] == ["answer", "duplicate_delivery", "duplicate"]
    assert gateway.upstream.delta(mark) == NOTHING


def test_in_report_mode_a_duplicate_is_recorded_and_forwarded(gateway):
    request = delivered(gateway, github("/reported"))
    exchange = gateway.passes(request.again(), verdict="report", reason="duplicate_delivery")
    assert exchange.record["duplicate"] == "duplicate"


def test_it_is_counted_and_logged(gateway):
    name, labels = "webhook_guard_deliveries_total", {"policy": "other"}
    before = {outcome: gateway.envoy.metric(name, **labels, outcome=outcome) for outcome in ("first", "duplicate")}
    request = delivered(gateway, github("/other"))
    exchange = gateway.refuses(request.again(), "duplicate_delivery")
    after = {outcome: gateway.envoy.metric(name, **labels, outcome=outcome) for outcome in before}
    assert after == {outcome: value + 1 for outcome, value in before.items()}
    gateway.envoy.wait_for_log(f"reason=duplicate_delivery policy=other request_id={exchange.record['request_id']}")


def test_after_its_window_a_delivery_passes_again(gateway):
    request = delivered(gateway, github("/short"))
    repeated(gateway, request)
    time.sleep(4.2)
    delivered(gateway, request.again())


# What the upstream answered: envoy's codes and details of each case

RESET = struct.pack("ii", 1, 0)


def answering(head: bytes) -> object:
    return lambda connection, _: connection.sendall(b"HTTP/1.1 " + head + b"\r\ncontent-length: 0\r\n\r\n")


def reset(connection: socket.socket, _: object) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()


def reset_within(connection: socket.socket, request: object) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")
    time.sleep(0.2)
    reset(connection, request)


def slow(connection: socket.socket, _: object) -> None:
    time.sleep(2.5)
    connection.sendall(REPLY)


# An answer, the status that the sender gets (0: none), and what is then said of the delivery.
ANSWERS = {
    "200": (answering(b"200 OK"), 200, "duplicate"),
    "204": (answering(b"204 No Content"), 204, "duplicate"),
    "302": (answering(b"302 Found"), 302, "duplicate"),
    "404": (answering(b"404 Not Found"), 404, "first"),
    "409": (answering(b"409 Conflict"), 409, "first"),
    "500": (answering(b"500 Internal Server Error"), 500, "first"),
    "503": (answering(b"503 Service Unavailable"), 503, "first"),
    "reset before headers": (reset, 503, "first"),
    "reset in the middle of its body": (reset_within, 200, "duplicate"),
    "slower than the route's timeout": (slow, 504, "first"),
}


@pytest.fixture(scope="module", params=["local", IN_ETCD])
def answers(request):
    with remembering(request.param, route={"route": {"cluster": "upstream", "timeout": "2s"}}) as gateway:
        yield gateway


@pytest.mark.parametrize("answer, status, then", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("send", [client.h1_length, client.h2_send], ids=["h1", "h2"])
def test_only_what_the_upstream_took_is_a_duplicate(answers, answer, status, then, send):
    request = github()
    usual, answers.upstream.answer = answers.upstream.answer, answer
    try:
        assert send(answers.envoy.port, request).status in (status, 0)
        assert answers.envoy.record(request.test_id)["status"] == status
    finally:
        answers.upstream.answer = usual
    answers.settled()
    if then == "first":
        delivered(answers, request.again())
    else:
        repeated(answers, request)


def test_what_never_reached_an_upstream_is_forgotten(answers):
    """No connection, no cluster, and an answer that a route makes by itself."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        refused = free.getsockname()[1]
    for route, status in [({}, 503), ({"route": {"cluster": "gone"}}, 503), ({"route": None, "direct_response": {"status": 200}}, 200)]:
        def config(_: int, route: dict = route) -> dict:
            made = bootstrap(CONFIG, upstream_port=refused, route=route, stats_tags=TAGS)
            routes = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]
            routes["validate_clusters"] = False
            for one in routes["virtual_hosts"][0]["routes"]:
                if one.get("route", 0) is None:
                    del one["route"]
            return made

        with Envoy(config(0)) as envoy:
            request = github()
            for _ in range(2):
                again = request.again()
                assert client.h1_length(envoy.port, again).status == status
                assert envoy.record(again.test_id)["duplicate"] == "first"
            envoy.wait_for_metric("webhook_guard_deliveries_total", 4)
            assert envoy.metric("webhook_guard_deliveries_total", outcome="forgotten") == 2


def leave(port: int, request: Request, *, after: float) -> None:
    """Sends a request and leaves, whatever has come by then."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = [b"POST %s HTTP/1.1" % request.target, b"host: hooks.example.com", b"content-length: %d" % len(request.body)]
        head += [name + b": " + value for name, value in request.all_headers]
        connection.sendall(b"\r\n".join([*head, b"", b""]) + request.body)
        time.sleep(after)


def test_who_leaves_before_the_answer_leaves_it_pending(answers):
    """Nobody can know whether the application took it. It is not lost: it passes again when the time for that is over."""
    request = github("/brief")
    usual, answers.upstream.answer = answers.upstream.answer, slow
    try:
        leave(answers.envoy.port, request, after=0.2)
        answers.envoy.record(request.test_id)
    finally:
        answers.upstream.answer = usual
    repeated(answers, request, duplicate="pending")
    time.sleep(3.2)
    delivered(answers, request.again())


def test_who_leaves_in_the_middle_of_the_answer_has_delivered(answers):
    request = github()

    def half(connection: socket.socket, _: object) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")
        time.sleep(1.6)
        connection.sendall(b"x" * 996)

    usual, answers.upstream.answer = answers.upstream.answer, half
    try:
        leave(answers.envoy.port, request, after=0.8)
        assert answers.envoy.record(request.test_id)["status"] == 200
    finally:
        answers.upstream.answer = usual
    answers.settled()
    repeated(answers, request)


def test_while_the_first_is_on_its_way_the_second_waits(answers):
    request, statuses = github(), []
    usual, answers.upstream.answer = answers.upstream.answer, lambda connection, _: (time.sleep(1.4), connection.sendall(REPLY))
    first = threading.Thread(target=lambda: statuses.append(client.h1_length(answers.envoy.port, request).status))
    try:
        first.start()
        time.sleep(0.3)
        second = request.again()
        response = client.h1_length(answers.envoy.port, second)
        assert (response.status, response.values("retry-after")) == (409, ["1"])
        assert answers.envoy.record(second.test_id)["duplicate"] == "pending"
        first.join()
    finally:
        answers.upstream.answer = usual
    assert statuses == [200]
    answers.settled()
    repeated(answers, request)


# Many at once

@pytest.mark.parametrize("workers", [2, 4])
def test_of_a_thousand_copies_at_once_one_passes(workers, tmp_path):
    with Gateway(lambda port: bootstrap(CONFIG, upstream_port=port), good=github, concurrency=workers) as gateway, Load() as load:
        for number in range(10):
            request = github()
            file = tmp_path / str(number)
            head = [b"POST /github HTTP/1.1", b"host: hooks.example.com", b"content-length: %d" % len(request.body)]
            head += [name + b": " + value for name, value in request.headers]
            file.write_bytes(b"\r\n".join([*head, b"", b""]) + request.body)
            mark = gateway.upstream.mark()
            assert load.send(gateway.envoy.port, file, 1000, connections=40)[0] == "200:1,409:999"
            assert gateway.upstream.delta(mark).requests == 1


# Room

def test_the_oldest_is_forgotten_first_and_counted():
    with Gateway(CONFIG | {"memory": {"local": {"deliveries": 3}}}, good=github, stats_tags=TAGS) as gateway:
        before = gateway.envoy.metric("webhook_guard_memory_forgotten_total")
        requests = [github() for _ in range(3)]
        for request in requests:
            delivered(gateway, request)
        assert gateway.envoy.metric("webhook_guard_memory_forgotten_total") == before + 1  # the first good one of all
        mark = gateway.upstream.mark()
        for request in requests:
            assert client.h1_length(gateway.envoy.port, request.again()).status == 409
        assert gateway.upstream.delta(mark) == NOTHING
        delivered(gateway, github())
        delivered(gateway, requests[0].again())


def test_a_policy_without_duplicates_asks_no_memory():
    plain = policy("github")
    del plain["duplicates"]
    with Gateway({"policies": [plain]}, good=github) as gateway:
        request = github()
        for _ in range(2):
            assert gateway.passes(request.again()).record["duplicate"] is None
        if GUARD == "wasm":
            gateway.envoy.admin("/logging?wasm=trace", post=True)
            gateway.passes_good()
            gateway.envoy.wait_for_log("proxy_on_delete")
            assert "shared_data" not in gateway.envoy.log_text()
        assert "webhook_guard_deliveries_total" not in gateway.envoy.prometheus()


