"""What a stranger can make the guard hold: bounded for one request and for all, and given back when they are over.

A stranger who may open connections may leave any number of requests unfinished, and V8 ends the whole VM at 1 GiB. The
requests here are opened and left in every way; what counts is that the VM lives, that a request beyond `held_bytes` is
refused without a byte at the upstream, and that whoever needs no body does not notice. Those whose body comes late are
judged by the time at which it has come.
"""

import base64
import socket
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from functools import partial

import pytest
from harness import client, signer
from harness.client import TRAILERS, Request
from harness.envoy import GUARD, LOGGER, Envoy
from harness.gateway import NOTHING, Gateway
from harness.streams import Repeated, Streams

SECRET = "a-secret-of-the-exhaustion-test"
TOKEN = "a-token-of-the-exhaustion-test"
KEY = b"a key of the exhaustion test..32"
BODY = b'{"action": "opened"}'
HELD = 256 << 10
URL = "https://hooks.example.com"
ACTIVE = r"^http\.http\.downstream_rq_active$"
BOTH = pytest.mark.parametrize("hold", [True, False], ids=["hold", "buffer-behind"])


def policy(name: str, *, secret: str = SECRET, **signature: object) -> dict:
    return {"name": name, "match": {"path": f"/{name}"},
            "require": {"signature": {"provider": name, "secrets": [{"value": secret}], **signature}}}


TOKEN_POLICY = {"name": "token", "match": {"path": "/token"},
                "require": {"token": {"header": "x-token", "secrets": [{"value": TOKEN}]}}}
CONFIG = {"held_bytes": HELD, "policies": [policy("github"), TOKEN_POLICY]}


def github(body: bytes = BODY) -> Request:
    return Request(b"/github", signer.github(SECRET, body), body)


def with_token() -> Request:
    return Request(b"/token", [(b"x-token", TOKEN.encode())], BODY)


# Nothing of it is awaited, so that it passes while the budget is spent.
bodyless = partial(github, b"")


def memory(envoy: Envoy) -> int:
    """The linear memory of the VM. As a dynamic module the guard's is part of Envoy's own, and cannot be told apart: 0."""
    return max(envoy.linear_memories) if GUARD == "wasm" else 0


def fill(held: Streams) -> list[int]:
    """Opens deliveries without a body until one is refused; returns those that are held."""
    streams: list[int] = []
    while len(streams) < 1000:
        stream = held.open(github())
        held.settle()
        if stream in held.answers:
            assert held.answers[stream].status == 503
            return streams
        streams.append(stream)
    raise AssertionError("1000 requests are held, and no end of it")


def wait_for_idle(envoy: Envoy) -> None:
    """Until no request is active, and so none is held."""
    deadline = time.monotonic() + 10
    while sum(envoy.stats(ACTIVE).values()):
        assert time.monotonic() < deadline, envoy.stats(ACTIVE)
        time.sleep(0.02)


# The budget


@BOTH
def test_a_request_beyond_the_budget_is_refused_while_others_pass(hold):
    with Gateway(CONFIG, good=bodyless, hold=hold) as gateway, Streams(gateway.envoy.port) as held:
        streams = fill(held)
        assert 50 < len(streams) < HELD // 1024
        for send in (client.h1_length, client.h1_chunked, client.h2_send):
            gateway.refuses(github(), "overloaded", send=send)
        # Nobody waits for a body here: a token's policy, a body that has ended with its head.
        gateway.passes(with_token(), removed=("x-token",))
        gateway.passes(bodyless(), client.h1_bare)
        gateway.passes(bodyless(), client.h2_send)
        gateway.refuses(github().again(headers=[]), "signature_missing")
        for stream in streams[:5]:
            held.reset(stream)
        held.settle()
        gateway.passes(github())
        gateway.passes(github(), client.h2_send)
        # Who was held before is judged as ever.
        held.data(streams[5], BODY, end=True)
        held.data(streams[6], b"another", end=True)
        held.trailers(streams[7], TRAILERS)
        assert [held.answer(stream).status for stream in streams[5:8]] == [200, 401, 401]


def finished_good(held: Streams, stream: int) -> None:
    held.data(stream, BODY, end=True)


def finished_bad(held: Streams, stream: int) -> None:
    held.data(stream, BODY + b" ", end=True)


def finished_with_trailers(held: Streams, stream: int) -> None:
    held.data(stream, BODY)
    held.trailers(stream, TRAILERS)


def reset_in_the_middle(held: Streams, stream: int) -> None:
    held.data(stream, BODY[:5])
    held.reset(stream)


ENDS = {
    200: [finished_good, finished_with_trailers],
    401: [finished_bad],
    None: [reset_in_the_middle, lambda held, stream: None],  # the latter: the connection is closed below
}


@BOTH
def test_twenty_rounds_leave_nothing_behind(hold):
    """Every round holds as many as the first did, however those of the rounds before ended."""
    ways = [(status, end) for status, ends in ENDS.items() for end in ends]
    with Gateway(CONFIG, good=bodyless, hold=hold) as gateway:
        counts = []
        for turn in range(20):
            status, end = ways[turn % len(ways)]
            with Streams(gateway.envoy.port) as held:
                streams = fill(held)
                counts.append(len(streams))
                assert sum(gateway.envoy.stats(ACTIVE).values()) >= len(streams)
                mark = gateway.upstream.mark()
                for stream in streams:
                    end(held, stream)
                if status:
                    assert {held.answer(stream).status for stream in streams} == {status}
                else:
                    held.settle()
                assert gateway.upstream.delta(mark).requests == (len(streams) if status == 200 else 0)
            wait_for_idle(gateway.envoy)
        assert counts == [counts[0]] * 20
        gateway.passes(github())


@BOTH
def test_uploads_held_over_http_1_count_as_well(hold):
    head = client._head(github(), [(b"content-length", b"%d" % len(BODY))])
    with Gateway(CONFIG, good=bodyless, hold=hold) as gateway, ExitStack() as stack:
        with Streams(gateway.envoy.port) as held:
            most = len(fill(held))
        wait_for_idle(gateway.envoy)
        connections = []
        for _ in range(most):
            connections.append(stack.enter_context(socket.create_connection(("127.0.0.1", gateway.envoy.port), timeout=10)))
            connections[-1].sendall(head + BODY[:5])
        gateway.envoy.wait_for_stat(ACTIVE, most)
        gateway.refuses(github(), "overloaded")
        gateway.refuses(github(), "overloaded", send=client.h2_send)
        gateway.passes(with_token(), removed=("x-token",))
        # One ends good, one bad, one hangs up: there is room for three.
        mark = gateway.upstream.mark()
        for connection, rest, status in [(connections[0], BODY[5:], 200), (connections[1], b"x" * (len(BODY) - 5), 401)]:
            connection.sendall(rest)
            assert client._read_h1(connection).status == status
        assert gateway.upstream.delta(mark).requests == 1
        gateway.passes(github())
        for connection in connections:
            connection.close()
        wait_for_idle(gateway.envoy)
        with Streams(gateway.envoy.port) as held:
            assert len(fill(held)) == most


# RFC 8032 7.1, test 2, and a signature that a key of that kind can have.
ED25519 = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
ED25519_SIGNATURE = b"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
CHARGED = {
    "github": (policy("github"), lambda: signer.github(SECRET, BODY)),
    "stripe": (policy("stripe"), lambda: signer.stripe(SECRET, BODY)),
    "svix": (policy("svix", secret=signer.svix_secret(KEY)), lambda: signer.svix(KEY, BODY)),
    "discord": (policy("discord", secret=ED25519), lambda: [(b"x-signature-timestamp", b"%d" % signer.now()),
                                                            (b"x-signature-ed25519", ED25519_SIGNATURE)]),
}
# With a handshake that is looked for in the body.
CHARGED |= {f"{name}, answered": (CHARGED[name][0] | {"handshake": "answer"}, CHARGED[name][1]) for name in ["discord"]}
CHARGED["slack, answered"] = (policy("slack") | {"handshake": "answer"}, lambda: signer.slack(SECRET, BODY))


@pytest.mark.only("wasm", "a dynamic module has no memory of its own that could be measured")
@pytest.mark.parametrize("one, sign", CHARGED.values(), ids=CHARGED.keys())
def test_what_is_held_takes_no_more_memory_than_it_is_charged(one, sign):
    """Before any body has come, when the guard also remembers each request for the case that the host cannot hold."""
    budget = 16 << 20  # of a smaller one a wrong charge for each request would pass for the allocator's pages
    good = {"name": "good", "match": {"path": "/good"}, "require": policy("github")["require"]}
    with Gateway({"held_bytes": budget, "policies": [one, good]}, good=lambda: bodyless().again(target=b"/good"),
                 hcm={"access_log": []}) as gateway, ExitStack() as stack:
        before, headers = memory(gateway.envoy), sorted(sign(), key=lambda pair: len(pair[1]))
        request = Request(one["match"]["path"].encode(), headers[:-1])
        attackers = []
        while not (attackers and attackers[-1].answered):
            assert len(attackers) < 30
            attackers.append(Repeated(gateway.envoy.port, request, headers[-1]))
            stack.callback(attackers[-1].close)
            for _ in range(8):
                attackers[-1].open(100)
        # Two pages for the allocator's own.
        assert budget // 2 < memory(gateway.envoy) - before <= budget + (128 << 10)


# Forms


def form_policy(name: str, **options: object) -> dict:
    return policy(name, public_url=URL) | options


def form(body: bytes, name: str = "twilio", *, flip: bool = False) -> Request:
    """Twilio's and Mandrill's differ in the header alone; a form without repetitions and escapes."""
    pairs = sorted(piece.partition(b"=")[::2] for piece in body.split(b"&") if piece)
    tag = signer.mac(SECRET, f"{URL}/{name}", *(part for pair in pairs for part in pair), digest="sha1")
    tag = signer.flip_bit(tag) if flip else tag
    headers = [(f"x-{name}-signature".encode(), base64.b64encode(tag)), (b"content-type", b"application/x-www-form-urlencoded")]
    return Request(f"/{name}".encode(), headers, body)


def parameters(count: int, size: int) -> bytes:
    """A form of so many parameters in no order, of about so many bytes."""
    each = max(size // count - 8, 1)
    return b"&".join(b"k%05d=" % (index * 7919 % 100_003) + b"v" * each for index in range(count))


FORMS = {"policies": [form_policy("twilio"), form_policy("mandrill"), policy("github")]}


@BOTH
def test_unfinished_forms_keep_nothing_in_the_vm_and_pass_when_they_are_finished(hold):
    uploads = [form(parameters(900, 500_000), name) for name in ("twilio", "mandrill") * 4]
    with Gateway(FORMS, good=bodyless, hold=hold) as gateway, ExitStack() as stack:
        gateway.passes(form(b"b=2&a=1"))
        # A head and some bytes of each first: what grows with the body is what this is about.
        connections = [stack.enter_context(Streams(gateway.envoy.port)) for _ in uploads]
        streams = [connection.open(upload) for connection, upload in zip(connections, uploads)]
        for connection, stream, upload in zip(connections, streams, uploads):
            connection.data(stream, upload.body[:70_000])
            connection.settle()
        before = memory(gateway.envoy)
        for connection, stream, upload in zip(connections, streams, uploads):
            connection.data(stream, upload.body[70_000:-1])
            connection.settle()
        # 3.4 MB have come. A page or two of the allocator's are not the bodies.
        assert memory(gateway.envoy) - before <= 128 << 10
        mark = gateway.upstream.mark()
        assert mark.requests == 2
        for index, (connection, stream, upload) in enumerate(zip(connections, streams, uploads)):
            if index % 3:
                connection.data(stream, upload.body[-1:], end=True)
            else:
                connection.data(stream, upload.body[-1:])
                connection.trailers(stream, TRAILERS)
            assert connection.answer(stream).status == 200
            assert gateway.upstream.requests[-1].body == upload.body
        # One after the other is taken over, and given back.
        assert memory(gateway.envoy) - before <= 2 << 20


@BOTH
def test_more_parameters_than_a_delivery_has_are_refused(hold):
    with Gateway(FORMS, good=bodyless, hold=hold) as gateway:
        for name in ("twilio", "mandrill"):
            gateway.passes(form(parameters(1000, 20_000), name))
            gateway.refuses(form(parameters(1001, 20_000), name), "signature_malformed")
            gateway.refuses(form(parameters(1001, 20_000), name), "signature_malformed",
                            send=partial(client.h2_send, trailers=TRAILERS))
            gateway.refuses(form(parameters(1000, 20_000), name, flip=True), "signature_mismatch")
            # Nothing but separators: none of them is a parameter, and each costs a byte.
            gateway.refuses(form(b"&" * 500_000, name, flip=True), "signature_malformed")


@BOTH
def test_a_form_whose_end_the_budget_does_not_have_is_refused(hold):
    config = {"held_bytes": 512 << 10, "policies": [form_policy("twilio", max_body_bytes=256 << 10), policy("github")]}
    large, small = form(parameters(50, 200_000)), form(parameters(50, 5_000))
    with Gateway(config, good=bodyless, hold=hold) as gateway, Streams(gateway.envoy.port) as held:
        gateway.passes(large)
        streams = fill(held)
        # Room for the heads of many, for the whole of a small form, and not for that of a large one.
        for stream in streams[:len(streams) // 5]:
            held.reset(stream)
        held.settle()
        for send in (client.h1_length, client.h1_chunked, client.h2_send, partial(client.h2_send, trailers=TRAILERS)):
            gateway.refuses(large.again(), "overloaded", send=send)
            gateway.passes(small.again(), send)
        held.close()
        wait_for_idle(gateway.envoy)
        gateway.passes(large.again())


# Time


@BOTH
def test_time_and_validity_are_those_of_the_end_of_the_body(hold):
    """All of them are good when their heads come. They are opened together, since waiting is what takes the time."""
    # Envoy has to start and all of them have to pass once before that, on a busy machine as well.
    until = datetime.fromtimestamp(int(time.time()) + 15, timezone.utc)
    ends = {"not_after": until.strftime("%Y-%m-%dT%H:%M:%SZ")}
    config = {"policies": [
        policy("github"), policy("stripe", tolerance_seconds=2), policy("slack", tolerance_seconds=300),
        policy("svix", secret=signer.svix_secret(KEY), tolerance_seconds=2),
        {"name": "old", "match": {"path": "/old"},
         "require": {"signature": {"provider": "github", "secrets": [{"value": SECRET, **ends}]}}},
        {"name": "old-token", "match": {"path": "/old-token"},
         "require": {"token": {"header": "x-token", "secrets": [{"value": TOKEN, **ends}]},
                     "signature": {"provider": "github", "secrets": [{"value": SECRET}]}}},
    ]}
    make = {
        "timestamp_stale": [lambda: Request(b"/stripe", signer.stripe(SECRET, BODY), BODY),
                            lambda: Request(b"/svix", signer.svix(KEY, BODY), BODY)],
        "signature_mismatch": [lambda: Request(b"/old", signer.github(SECRET, BODY), BODY)],
        "token_mismatch": [lambda: Request(b"/old-token", [(b"x-token", TOKEN.encode()), *signer.github(SECRET, BODY)], BODY)],
        "ok": [lambda: Request(b"/slack", signer.slack(SECRET, BODY), BODY), github],
    }
    with Gateway(config, good=partial(github, b"{}"), hold=hold) as gateway, Streams(gateway.envoy.port) as held:
        for makers in make.values():
            for maker in makers:
                # At once each of them is good.
                request = maker()
                gateway.passes(request, removed=("x-token",) if request.target == b"/old-token" else ())
        mark = gateway.upstream.mark()
        waiting = []
        for reason, makers in make.items():
            for maker in makers:
                for with_trailers in (False, True):
                    request = maker()
                    stream = held.open(request)
                    held.data(stream, BODY[:-1])
                    waiting.append((reason, request, stream, with_trailers))
        held.settle()
        assert datetime.now(timezone.utc) < until, "the machine is too slow for this test to mean anything"
        time.sleep(max(4.0, until.timestamp() + 1.2 - time.time()))
        assert gateway.upstream.delta(mark) == NOTHING
        for reason, request, stream, with_trailers in sorted(waiting, key=lambda entry: entry[0] == "ok"):
            mark = gateway.upstream.mark()
            held.data(stream, BODY[-1:], end=not with_trailers)
            if with_trailers:
                held.trailers(stream, TRAILERS)
            status = held.answer(stream).status
            record = gateway.envoy.record(request.test_id)
            assert (record["reason"], status) == (reason, 200 if reason == "ok" else 401), request.target
            if reason != "ok":
                assert gateway.upstream.delta(mark) == NOTHING
        gateway.passes_good()


# The attack


def svix(body: bytes = BODY) -> Request:
    return Request(b"/svix", signer.svix(KEY, body), body)


def long_signature(size: int) -> tuple[bytes, bytes]:
    """As many signatures as fit, none of them right, and one beside them of a length that none has."""
    item = b"v1," + base64.b64encode(b"\xaa" * 32)
    few = b" ".join([item] * 3)
    return b"svix-signature", few + b" v1," + base64.b64encode(b"\xbb" * ((size - len(few)) * 3 // 4 // 3 * 3))


def attack(gateway: Gateway, *, connections: int, streams: int, size: int) -> tuple[int, int]:
    """Opens so many streams with a signature of so many bytes, then closes all. Returns how many were held at once, and
    the memory of the VM."""
    request = svix()
    headers = [pair for pair in request.headers if pair[0] != b"svix-signature"]
    attackers = [Repeated(gateway.envoy.port, request.again(headers=headers), long_signature(size)) for _ in range(connections)]
    try:
        for attacker in attackers:
            attacker.open(streams)
        return sum(gateway.envoy.stats(ACTIVE).values()), memory(gateway.envoy)
    finally:
        for attacker in attackers:
            attacker.close()


@pytest.mark.parametrize("connections, streams, size", [(50, 1000, 3_900), (6, 700, 59_000)], ids=["by-index", "plain"])
def test_signatures_of_any_length_and_number_leave_the_vm_alive(connections, streams, size):
    """Kept whole, the first is 150 MB of claims in the VM and the second 190 MB; as it was once, with all that came with them, 2 GB."""
    config = {"policies": [policy("svix", secret=signer.svix_secret(KEY)), policy("github")]}
    with Gateway(config, good=bodyless, hcm={"access_log": []}) as gateway:
        vms = gateway.envoy.stats(r"^wasm\.envoy\.wasm\.runtime\.v8\.(active|created)$")
        assert bool(vms) == (GUARD == "wasm")
        gateway.envoy.admin(f"/logging?{LOGGER}=warning", post=True)  # a line for each refusal is not what this is about
        mark = gateway.upstream.mark()
        held, grown = attack(gateway, connections=connections, streams=streams, size=size)
        assert gateway.upstream.delta(mark) == NOTHING
        assert grown < 96 << 20, f"{held} were held in {grown} bytes"
        gateway.passes_good()
        wait_for_idle(gateway.envoy)
        assert gateway.envoy.stats(r"^wasm\.envoy\.wasm\.runtime\.v8\.(active|created)$") == vms
        assert "memory allocation failed" not in gateway.envoy.log_text()
        response = client.h1_length(gateway.envoy.port, svix())
        assert (response.status, gateway.upstream.delta(mark).requests) == (200, 2)
