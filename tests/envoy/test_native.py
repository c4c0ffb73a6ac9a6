"""What only the dynamic module has: the library itself, a panic that ends nothing, secrets of a process, a route's own guard.

Each row of the table in docs/native.md has its test here or, marked `only`, beside the test of what it differs from.
"""

import base64
import hashlib
import hmac
import os
import re
import subprocess
import urllib.parse
from functools import partial
from pathlib import Path

import pytest

from harness import client, signer
from harness.client import Request
from harness.envoy import ROOT, Envoy, EnvoyRefused, bootstrap, find_native, native
from harness.gateway import Gateway
from harness.rig import Load

pytestmark = pytest.mark.only("native", "it is about the dynamic module")

SECRET, OTHER = "a-secret-that-is-32-characters-x", "another-secret-that-is-32-chars-x"
PANICS = {"ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(ROOT / "target/native-panics")}
NEWEST_GLIBC = (2, 35)  # as docs/native.md says


def signature(**secret: str) -> dict:
    return {"signature": {"provider": "github", "secrets": [secret]}}


def config(**secret: str) -> dict:
    return {"policies": [{"name": "github", "match": {"path": {"prefix": "/hooks"}}, "require": signature(**secret)}]}


def signed(path: str = "/hooks", *, secret: str = SECRET, body: bytes = b"{}", more: client.Headers = ()) -> Request:
    return Request(path.encode(), [*signer.github(secret, body), *more], body)


# The library

def read(*arguments: str) -> str:
    return subprocess.run(["readelf", "-W", *arguments, find_native()], capture_output=True, text=True, check=True).stdout


def test_it_needs_nothing_but_the_c_library():
    """Distroless images have no libgcc_s.so.1, from which Rust takes what unwinds a panic unless told otherwise."""
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", read("--dynamic"))
    assert needed and all(re.fullmatch(r"libc\.so\.6|ld-linux-.*\.so\.\d|libm\.so\.6", name) for name in needed), needed


def test_the_c_library_need_be_no_newer_than_we_say():
    versions = {tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_(\d+\.\d+)", read("--version-info"))}
    assert max(versions) <= NEWEST_GLIBC
    assert f"glibc {NEWEST_GLIBC[0]}.{NEWEST_GLIBC[1]}" in (ROOT / "docs/native.md").read_text()


def test_a_function_that_the_host_lacks_is_found_at_load():
    assert "BIND_NOW" in read("--dynamic")


def test_it_exports_hooks_and_nothing_else():
    symbols = re.findall(r"(?:FUNC|OBJECT|TLS) +(?:GLOBAL|WEAK) +DEFAULT +\d+ (\S+)", read("--dyn-syms"))
    assert "envoy_dynamic_module_on_program_init" in symbols
    assert [name for name in symbols if not name.startswith("envoy_dynamic_module_on_")] == []


# A panic

@pytest.fixture(scope="module")
def panics():
    with Gateway(config(env="SECRET"), good=signed, env={"SECRET": SECRET, **PANICS}) as gateway:
        yield gateway


MARK = "of-the-request-in-the-message"
WITH_TRAILERS = client.FRAMINGS["h2-trailers"]
PLACES = {"headers": [client.h1_length, client.h2_send], "body": [client.h1_length, client.h1_chunked, client.h2_send],
          "trailers": [WITH_TRAILERS]}


def asking(place: str, **more: object) -> Request:
    return signed(more=[(b"x-panic-in", place.encode()), (b"x-mark", MARK.encode())], **more)


@pytest.mark.parametrize("place, send", [(place, send) for place, sends in PLACES.items() for send in sends],
                         ids=[f"{place}-{number}" for place, sends in PLACES.items() for number in range(len(sends))])
def test_a_panic_refuses_its_request_and_ends_nothing_else(panics, place, send):
    exchange = panics.refuses(asking(place), "host_fault", send=send)
    assert exchange.record["details"] == "webhook_guard{host_fault}"


def test_what_is_printed_of_a_panic_is_its_place_alone(panics):
    panics.refuses(asking("body"), "host_fault")
    line = panics.envoy.wait_for_log("panicked")
    assert re.search(r"\[error\]\[dynamic_modules\] .*webhook_guard: the guard panicked at src/native/callbacks\.rs:\d+:\d+: please report this$", line)
    text = panics.envoy.log_text()
    assert MARK not in text and SECRET not in text and "x-hub-signature" not in text


def test_the_module_that_ships_panics_for_nobody():
    with Gateway(config(env="SECRET"), good=signed, env={"SECRET": SECRET}) as gateway:
        for place in PLACES:
            gateway.passes(asking(place))


def test_a_thousand_panics_leak_nothing(tmp_path):
    """What is at hand when it happens has 30 kB here, so that a leak of it would be seen among what Envoy takes. Without a
    body, since Envoy ends the connection of a request that it answers before its body has come."""
    file = tmp_path / "request"
    tag = dict(signer.github(SECRET, b""))[b"x-hub-signature-256"]
    head = [b"POST /hooks HTTP/1.1", b"host: hooks.example.com", b"content-length: 0", b"x-hub-signature-256: " + tag,
            b"x-padding: " + b"x" * 30_000]

    def write(*more: bytes) -> Path:
        file.write_bytes(b"\r\n".join([*head, *more, b"", b""]))
        return file

    with Gateway(config(env="SECRET"), good=signed, env={"SECRET": SECRET, **PANICS}, hcm={"access_log": []}) as gateway, Load() as load:
        gateway.envoy.admin("/logging?dynamic_modules=off", post=True)
        assert load.send(gateway.envoy.port, write(b"x-panic-in: headers"), 100)[0] == "503:100"
        before = gateway.envoy.resident_kib
        assert load.send(gateway.envoy.port, write(b"x-panic-in: headers"), 1000)[0] == "503:1000"
        assert gateway.envoy.resident_kib - before < 8 << 10
        assert load.send(gateway.envoy.port, write(), 10)[0] == "200:10"


# The body

FORM = "https://hooks.example.com/form"
BUFFERED = {"policies": [
    *config(value=SECRET)["policies"],
    {"name": "form", "match": {"path": "/form"}, "require": {"signature": {"provider": "mandrill", "public_url": FORM, "secrets": [{"value": SECRET}]}}},
]}


def form(*, flip: bool = False) -> Request:
    """Mandrill signs the URL and the parameters, sorted, with HMAC-SHA1."""
    parameters = {f"p{number}": f"value {number}" for number in range(300)}
    content = FORM + "".join(name + parameters[name] for name in sorted(parameters))
    tag = base64.b64encode(hmac.new(SECRET.encode(), content.encode() + b"x" * flip, hashlib.sha1).digest())
    body = urllib.parse.urlencode(parameters).encode()
    return Request(b"/form", [(b"content-type", b"application/x-www-form-urlencoded"), (b"x-mandrill-signature", tag)], body)


@pytest.mark.parametrize("send", client.FRAMINGS.values(), ids=client.FRAMINGS.keys())
def test_a_body_that_another_filter_held_before_is_judged_once(send):
    """With the buffer filter in front, what comes is what is held. It is one body, not two."""
    def made(port: int) -> dict:
        made = bootstrap(BUFFERED, upstream_port=port)
        filters = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        buffer = {"@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer", "max_request_bytes": 1 << 20}
        filters.insert(0, {"name": "envoy.filters.http.buffer", "typed_config": buffer})
        return made

    # The buffer filter gives a request that it held whole a length of its own.
    size = 2_000 if send is client.h1_pieces else 40_000
    with Gateway(made, good=signed) as gateway:
        for request in (signed(body=b"x" * size), form()):
            mark, again = gateway.upstream.mark(), request.again()
            assert send(gateway.envoy.port, again).status == 200
            assert (gateway.envoy.record(again.test_id)["reason"], gateway.upstream.delta(mark).requests) == ("ok", 1)
            assert gateway.upstream.requests[-1].body == request.body
        gateway.refuses(form(flip=True), "signature_mismatch", send=send)


# Secrets

def refusal(config: dict, **env: str) -> str:
    bootstrapped = bootstrap(None, upstream_port=1)
    manager = bootstrapped["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    struct = {"@type": "type.googleapis.com/google.protobuf.Struct", "value": config}
    manager["http_filters"].insert(0, {"name": "guard", "typed_config": native(struct)})
    with pytest.raises(EnvoyRefused) as refused, Envoy(bootstrapped, env=env):
        pass
    return refused.value.log


def test_no_variable_of_the_process_is_read_that_is_not_listed():
    for listed in ({}, {"environment": ["ANOTHER"]}):
        log = refusal(listed | config(env="SECRET"), SECRET=SECRET)
        assert "webhook_guard: configuration refused: policies[0].require.signature.secrets[0].env: is " in log
        assert "`environment`" in log and SECRET not in log


def test_a_secret_can_stand_in_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    with Gateway(config(file=str(file)), good=signed) as gateway:
        gateway.refuses(signed(secret=OTHER), "signature_mismatch")


@pytest.mark.parametrize("make, complaint", {
    "gone": (lambda path: None, "the file cannot be opened"),
    "a-folder": (Path.mkdir, "is not a regular file"),
    "a-pipe": (os.mkfifo, "is not a regular file"),
    "empty": (Path.touch, "the file is empty"),
    "long": (lambda path: path.write_bytes(b"x" * 65_537), "the file has more than 64 KiB"),
    "no-text": (lambda path: path.write_bytes(b"\xff" * 32), "the file is not UTF-8"),
}.values(), ids=["gone", "a-folder", "a-pipe", "empty", "long", "no-text"])
def test_a_file_that_holds_no_secret_refuses_the_configuration(tmp_path, make, complaint):
    make(tmp_path / "secret")
    log = refusal(config(file=str(tmp_path / "secret")))
    assert f"configuration refused: policies[0].require.signature.secrets[0].file: {complaint}\n" in log


# Metrics

def test_labels_are_real_without_any_tags_and_a_prefix_can_be_taken_off():
    def config_of(port: int, *, plain: bool) -> dict:
        made = bootstrap(config(value=SECRET), upstream_port=port)
        assert made["stats_config"]["stats_tags"] == []
        if not plain:
            del made["layered_runtime"]
        return made

    labels = {"policy": "github", "verdict": "allow", "reason": "ok"}
    for plain, prefix in [(True, ""), (False, "envoy_dynamicmodulescustom_")]:
        with Gateway(partial(config_of, plain=plain), good=signed) as gateway:
            assert gateway.envoy.metric(f"{prefix}webhook_guard_requests_total", **labels) == 1


# A route's own guard

@pytest.fixture(scope="module")
def routes():
    """The guard of the listener, and one of its own on a route, with a secret of its own and an open policy beside it."""
    own = config(value=OTHER)
    own["policies"].append({"name": "open", "match": {"path": "/own/open"}, "require": "nothing"})
    own["policies"][0]["match"] = {"path": {"prefix": "/own"}}
    struct = {"@type": "type.googleapis.com/google.protobuf.Struct", "value": own}
    per_route = native(struct) | {"@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute"}
    per_route["per_route_config_name"] = per_route.pop("filter_name")

    def made(port: int) -> dict:
        listener = {"policies": [*config(value=SECRET)["policies"], {"name": "own", "match": {"path": {"prefix": "/own"}}, "require": signature(value=SECRET)}]}
        config_ = bootstrap(listener, upstream_port=port)
        manager = config_["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        route = {"match": {"prefix": "/own"}, "route": {"cluster": "upstream"},
                 "typed_per_filter_config": {"envoy.filters.http.dynamic_modules": per_route}}
        manager["route_config"]["virtual_hosts"][0]["routes"].insert(0, route)
        return config_

    with Gateway(made, good=signed) as gateway:
        yield gateway


@pytest.mark.parametrize("send", [client.h1_length, client.h1_chunked, client.h2_send, WITH_TRAILERS],
                         ids=["h1-length", "h1-chunked", "h2", "h2-trailers"])
def test_a_route_is_judged_by_its_own_configuration_alone(routes, send):
    assert routes.passes(signed("/own", secret=OTHER), send).record["policy"] == "github"
    routes.refuses(signed("/own", secret=SECRET), "signature_mismatch", send=send)
    routes.passes(signed("/hooks", secret=SECRET), send)
    routes.refuses(signed("/hooks", secret=OTHER), "signature_mismatch", send=send)
    assert routes.passes(Request(b"/own/open", [], b"{}"), send).record["policy"] == "open"
    routes.refuses(Request(b"/own/open/", [], b"{}"), "path_malformed", send=send)


def test_a_route_s_own_guard_counts_among_those_of_the_listener(routes):
    labels = {"policy": "open", "verdict": "allow", "reason": "ok"}
    before = routes.envoy.metric("webhook_guard_requests_total", **labels)
    routes.passes(Request(b"/own/open", [], b"{}"))
    assert routes.envoy.metric("webhook_guard_requests_total", **labels) == before + 1
