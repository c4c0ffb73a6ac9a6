"""What becomes of records: from a real Envoy's exporters, from the lines of its access log, and when all goes wrong.

What was acknowledged is there afterwards, whenever the program is killed; and whatever becomes of the program, not one
webhook notices.
"""

import gzip
import itertools
import json
import os
import resource
import signal
import threading
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import grpc
import pytest
import yaml

from harness import client, shipped, signer
from harness.client import Request
from harness.envoy import bootstrap
from harness.gateway import Gateway
from harness.messages import Messages, run
from harness.records import Exporter, batch, body, line

KEY = "the-key-of-the-hook-0123456789"
ENV = {"KEY": KEY}
CONFIG = {"policies": [{
    "name": "github", "match": {"path": "/hook"}, "require": {"signature": {"provider": "github", "secrets": [{"env": "KEY"}]}},
    "record": {"body": "all", "headers": ["x-github-event", "x-github-delivery", "x-odd"]}}]}
BODIES = [b'{"ref": "refs/heads/main"}', b"", b"a\0b\n\x1b[31m\xe2\x98\x83", b"\xff\xfe binary", b"<script>alert(1)</script>"]


def signed(content: bytes, *, key: str = KEY) -> Request:
    return Request(b"/hook?a=1", [*signer.github(key, content), (b"x-odd", b"\xff")], content)


def good() -> Request:
    return signed(b"{}")


def with_log(log: dict, port: int, upstream_port: int) -> dict:
    config = bootstrap(CONFIG, upstream_port=upstream_port, env=ENV)
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["access_log"].append(log)
    cluster = {"name": "collector", "type": "STATIC", "load_assignment": {"cluster_name": "collector", "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}]}]}}
    if "grpc_service" in log["typed_config"].get("common_config", log["typed_config"]):
        options = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                   "explicit_http_config": {"http2_protocol_options": {}}}
        cluster["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
    config["static_resources"]["clusters"].append(cluster)
    return config


def over_grpc() -> dict:
    return yaml.safe_load((shipped.DIRECTORY / "access-log/otlp.yaml").read_text())


def over_http() -> dict:
    log = over_grpc()
    log["typed_config"].pop("common_config")
    uri = {"uri": "http://collector/v1/logs", "cluster": "collector", "timeout": "1s"}
    log["typed_config"]["http_service"] = {"http_uri": uri}
    return log


@pytest.fixture
def messages(tmp_path):
    with Messages(tmp_path) as messages:
        yield messages


@pytest.mark.parametrize("log", [over_grpc, over_http], ids=["grpc", "http"])
def test_every_record_of_an_envoy_comes_whole(messages, log):
    with Gateway(partial(with_log, log(), messages.otlp), good=good, env=ENV) as gateway:
        for content in BODIES:
            gateway.passes(signed(content))
        gateway.refuses(signed(b'{"refused": true}', key="another-key"), "signature_mismatch")
        gateway.drops(lambda port: client.h1_length(port, Request(b"/elsewhere", [])))
        found = messages.wait_for(len(BODIES) + 5)[::-1]
    recorded = [(one["verdict"], messages.body(one["id"])) for one in found if one["policy"]]
    assert [content for verdict, content in recorded if verdict == "allow"][1:6] == BODIES
    assert [content for verdict, content in recorded if verdict == "deny"] == [b'{"refused": true}']
    (refused,) = messages.messages(reason="signature_mismatch")
    assert {name: refused[name] for name in ("method", "path", "host", "status", "verdict", "policy", "provider", "checks", "details")} == {
        "method": "POST", "path": "/hook?a=1", "host": "hooks.example.com", "status": 401, "verdict": "deny", "policy": "github",
        "provider": "github", "checks": "path:pass,source_ip:skip,token:skip,signature:fail", "details": "webhook_guard{signature_mismatch}"}
    assert abs(refused["time"] / 1000 - time.time()) < 60
    assert ["x-odd", "\ufffd"] in messages.detail(refused["id"])["payload"]["headers"]
    (nowhere,) = messages.messages(reason="no_policy")
    assert (nowhere["policy"], nowhere["path"], nowhere["body_bytes"]) == (None, "/elsewhere", None)


def test_what_is_no_request_of_records_is_refused(messages):
    url = f"http://127.0.0.1:{messages.otlp}/v1/logs"
    good = batch({"request_id": "good"}).SerializeToString()
    kind = {"content-type": "application/x-protobuf"}
    for headers, content, status in [
            (kind, good, 200), (kind | {"content-encoding": "gzip"}, gzip.compress(good), 200), (kind, b"\xff\xff", 400),
            (kind | {"content-encoding": "gzip"}, b"not gzip", 400), (kind | {"content-encoding": "br"}, good, 415),
            (kind | {"content-encoding": "gzip"}, gzip.compress(bytes(17 << 20)), 400), (kind, bytes(17 << 20), 413),
            ({"content-type": "application/json"}, b"{}", 415), ({"content-type": "text/plain"}, good, 415),
            (kind | {"origin": "http://evil.example"}, good, 403)]:
        try:
            got = urllib.request.urlopen(urllib.request.Request(url, content, headers), timeout=10).status
        except urllib.error.HTTPError as error:
            got = error.code
        except urllib.error.URLError:
            got = 413  # it answers and closes before all has been sent
        assert got == status, headers
    assert len(messages.messages()) == 2


def test_records_need_the_token_where_there_is_one(tmp_path):
    (tmp_path / "token").write_text("token-of-the-senders-1\n")
    with Messages(tmp_path, "--otlp-token-file", str(tmp_path / "token")) as messages:
        for metadata in ({}, {"authorization": "Bearer token-of-the-senders"}, {"authorization": "token-of-the-senders-1"}):
            with Exporter(messages.otlp, **metadata) as exporter, pytest.raises(grpc.RpcError) as caught:
                exporter.send({"request_id": "stranger"})
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        with Exporter(messages.otlp, authorization="Bearer token-of-the-senders-1") as exporter:
            exporter.send({"request_id": "sender"})
        assert [one["request_id"] for one in messages.messages()] == ["sender"]


# Files


def test_a_file_is_followed_through_half_lines_rotation_and_truncation(tmp_path):
    log = tmp_path / "access.log"
    with Messages(tmp_path, "--follow", str(log)) as messages:
        with log.open("w") as file:
            file.write(line(request_id="one") + "\nnot json\n{}\n" + line(request_id="two")[:40])
            file.flush()
            messages.wait_for(1)
            file.write(line(request_id="two")[40:] + "\n")
            file.flush()
            messages.wait_for(2)
            log.rename(tmp_path / "access.log.1")
            file.write(line(request_id="late") + "\n")
        log.write_text(line(request_id="rotated") + "\n")
        messages.wait_for(4)
        with log.open("w") as file:
            file.write(line(request_id="cut") + "\n")
        # Of the same length: nobody could tell that it was cut. So it is shorter, or it grows.
        with log.open("w") as file:
            file.flush()
        time.sleep(1)
        log.open("a").write(line(request_id="anew") + "\n")
        found = messages.wait_for(5)
        assert {"one", "two", "late", "rotated", "anew"} <= {one["request_id"] for one in found}


def test_each_line_counts_once_whenever_the_program_is_killed(tmp_path):
    log = tmp_path / "access.log"
    written = 0
    messages = Messages(tmp_path, "--follow", str(log))
    for turn in range(4):
        messages.start()
        with log.open("a") as file:
            for _ in range(700):
                written += 1
                file.write(line(request_id=f"r-{written}") + "\n")
        time.sleep(0.2 * turn)
        messages.kill()
        if turn == 1:
            log.rename(tmp_path / "access.log.1")  # with lines in it that nobody has read, or not all
            log.write_text("")
    messages.start()
    deadline = time.monotonic() + 20
    while (count := total(messages)) < written and time.monotonic() < deadline:
        time.sleep(0.05)
    messages.stop()
    assert count == written == total_on_disk(messages.database)


def total(messages: Messages) -> int:
    return sum(one["count"] for one in messages.ask("/api/hours").json["hours"])


def total_on_disk(database: Path) -> int:
    ids, before = set(), []
    while found := [json.loads(one) for one in run("list", "--database", str(database), "--format", "json", "--limit", "500", *before).stdout.splitlines()]:
        ids |= {one["request_id"] for one in found}
        before = ["--before", str(found[-1]["id"])]
    return len(ids)


# Trouble


def test_what_was_acknowledged_is_there_whenever_it_is_killed(tmp_path):
    messages, acknowledged, numbers, ends = Messages(tmp_path), set(), itertools.count(), threading.Event()

    def send() -> None:
        with Exporter(messages.otlp) as exporter:
            while not ends.is_set():
                ids = [f"id-{next(numbers)}" for _ in range(20)]
                try:
                    exporter.send(*({"request_id": one} | body(b'{"n": "%s"}' % one.encode()) for one in ids))
                except grpc.RpcError:
                    time.sleep(0.05)
                else:
                    acknowledged.update(ids)

    messages.start()
    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    for _ in range(3):
        enough = len(acknowledged) + 400
        while len(acknowledged) < enough:
            time.sleep(0.01)
        messages.kill()
        messages.start()
    ends.set()
    for sender in senders:
        sender.join()
    messages.kill()
    messages.start()
    for one in sorted(acknowledged)[::37]:
        (found,) = messages.messages(q=one)
        assert messages.body(found["id"]) == b'{"n": "%s"}' % one.encode()
    count = total(messages)
    messages.stop()
    assert len(acknowledged) >= 1200
    assert count >= len(acknowledged), "what was acknowledged is lost"


def webhooks_pass(port: int, *, count: int = 30) -> None:
    with Gateway(partial(with_log, over_grpc(), port), good=good, env=ENV) as gateway:
        for _ in range(count):
            assert client.h1_length(gateway.envoy.port, good()).status == 200
        gateway.refuses(signed(b"{}", key="another-key"), "signature_mismatch")


def test_no_webhook_notices_that_it_is_not_there():
    webhooks_pass(1)


def test_no_webhook_notices_that_it_has_stopped_answering(messages):
    messages.process.send_signal(signal.SIGSTOP)
    webhooks_pass(messages.otlp)
    messages.process.send_signal(signal.SIGCONT)


def test_no_webhook_notices_that_the_disk_is_full_and_nothing_is_acknowledged(tmp_path):
    def limited() -> None:
        # What would grow beyond it cannot be written, and no signal comes of it.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    with Messages(tmp_path, prepare=limited) as messages:
        with Exporter(messages.otlp) as exporter, pytest.raises(grpc.RpcError) as caught:
            for number in range(100):
                exporter.send({"request_id": f"id-{number}"} | body(os.urandom(20_000).hex().encode()))
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        webhooks_pass(messages.otlp)
        assert messages.ask("/api/messages").status == 200, "what there is can be looked at"


def test_it_takes_up_what_envoy_sends_when_it_is_back(messages):
    with Gateway(partial(with_log, over_grpc(), messages.otlp), good=good, env=ENV) as gateway:
        messages.wait_for(1)
        messages.kill()
        gateway.passes(good())
        messages.start()
        deadline = time.monotonic() + 15
        while len(messages.messages()) < 2:
            assert time.monotonic() < deadline
            gateway.passes(good())
            time.sleep(0.2)


# Searching


def test_a_search_finds_ids_words_and_beginnings(messages):
    with Exporter(messages.otlp) as exporter:
        exporter.send({"request_id": "11111111-aaaa", "delivery_id": "evt_1"} | body(b'{"title": "Deploy the release", "who": "Zo\xc3\xab"}'),
                      {"request_id": "22222222-bbbb", "delivery_id": "evt_2", "path": "/hooks/slack?x=1"} | body(b'{"title": "deployment done"}'),
                      {"request_id": "33333333-cccc", "policy": "other", "verdict": "allow", "reason": "ok", "status": "202"} | body(b"plain text"),
                      {"request_id": "44444444-dddd", "body": "/w==", "body_encoding": "base64", "body_sha256": "0" * 64, "body_bytes": "1"})

    def found(words: str, **more: str) -> list[str]:
        return [one["request_id"][0] for one in messages.messages(q=words, **more)]

    for words, ids in [("deploy", "1"), ("deploy the", "1"), ("DEPLOYMENT", "2"), ("depl", ""), ("depl*", "21"), ("the depl*", "1"), ("release zoe", "1"), ("Zoë", "1"), ("22222222-bbbb", "2"),
                       ("evt_1", "1"), ("22222222", "2"), ("slack", "2"), ("text plain", "3"), ("nothing", ""), ("-", ""), ("*", ""),
                       ("deploy nothing", ""), ('" OR 1', ""), ("titl*", "21")]:
        assert "".join(found(words)) == ids, words
    assert found("deploy", verdict="allow") == [] and found("plain", policy="other", status="2xx") == ["3"]
    assert [one["request_id"][0] for one in messages.messages(path="/hooks/s")] == ["2"]
    assert [one["request_id"][0] for one in messages.messages(status="202", verdict="allow", provider="github")] == ["3"]
    newest = messages.messages(limit=1)[0]
    assert [one["request_id"][0] for one in messages.messages(before=newest["id"], limit=2)] == ["3", "2"]
    assert [one["request_id"][0] for one in messages.messages(after=newest["id"] - 2)] == ["3", "4"]
    at = newest["time"]
    assert len(messages.messages(**{"from": at - 1000, "to": at + 1000})) == 4 and messages.messages(to=at - 60_000) == []


def test_a_beginning_of_too_many_words_is_told_and_not_searched(messages):
    with Exporter(messages.otlp) as exporter:
        exporter.send({} | body(" ".join(f"user{number:03}" for number in range(201)).encode()))
    assert len(messages.messages(q="user1*")) == 1
    answer = messages.ask("/api/messages?q=user*")
    assert answer.status != 200 and b'more than 200 words begin with \\"user\\": say more of it' in answer.body, answer


# Forgetting


def test_what_is_too_old_is_forgotten(tmp_path):
    with Messages(tmp_path, "--keep", "1h") as messages, Exporter(messages.otlp) as exporter:
        for age in (7200, 3700, 1800, 0):
            exporter.send({"request_id": f"age-{age}"} | body(b"words of %d" % age), at=time.time() - age)
        exporter.send({"request_id": "from-the-future"}, at=time.time() + 86_400)
        deadline = time.monotonic() + 20
        while len(found := messages.messages()) > 3:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        assert [one["request_id"] for one in found] == ["from-the-future", "age-0", "age-1800"]
        assert found[0]["time"] <= time.time() * 1000 + 1000, "a clock that is ahead keeps nothing longer"
        assert messages.messages(q="7200") == [] and total(messages) == 3


def test_a_database_does_not_grow_beyond_its_size(tmp_path):
    with Messages(tmp_path, "--max-size", "8MiB") as messages, Exporter(messages.otlp) as exporter:
        for number in range(40):
            exporter.send(*({"request_id": f"id-{number}-{one}"} | body(os.urandom(8000).hex().encode()) for one in range(40)))
            time.sleep(0.02)
        deadline = time.monotonic() + 30
        while total(messages) > 500:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert messages.messages()[0]["request_id"] == "id-39-39", "the newest stay"
        assert "id-0-0" not in {one["request_id"] for one in messages.messages(q="id-0-0")}


def test_a_database_of_another_version_is_left_alone(tmp_path):
    import sqlite3
    with Messages(tmp_path) as messages:
        pass
    with sqlite3.connect(messages.database) as database:
        database.execute("PRAGMA user_version = 99")
    answer = run("serve", "--database", str(messages.database), "--listen", "127.0.0.1:0", "--otlp", "127.0.0.1:0")
    assert answer.returncode == 2 and "is of version 99" in answer.stderr
