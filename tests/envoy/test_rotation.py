"""Secrets come and go without downtime: by their times, to the second, and every match is told under the secret's id."""

import time
from datetime import datetime, timezone

import pytest

from harness import client, shipped, signer
from harness.client import Request
from harness.gateway import Gateway

IDS = ["new", "old", "next", "expired", "hashed-token"]
ENV = {name: f"the-{name}-secret-of-some-length" for name in IDS}
BOTH = pytest.mark.parametrize("send", [client.h1_length, client.h2_send], ids=["h1", "h2"])


def at(second: int) -> str:
    return datetime.fromtimestamp(second, timezone.utc).isoformat().replace("+00:00", "Z")


def config(last: int) -> dict:
    """`last` is the old secret's last second, the one after it the next secret's first; the rest does not change."""
    secrets = [
        {"env": "new", "id": "new", "not_before": at(last - 3600), "not_after": at(last + 3600)},
        {"env": "old", "id": "old", "not_after": at(last)},
        {"env": "next", "id": "next", "not_before": at(last + 1)},
        {"env": "expired", "id": "expired", "not_after": at(last - 1000)},
    ]
    return {"policies": [
        {"name": "signed", "match": {"path": "/signed"}, "require": {"signature": {"provider": "github", "secrets": secrets}}},
        {"name": "token", "match": {"path": "/token"}, "require": {"token": {"query": "token", "secrets": secrets}}},
        {"name": "steady", "match": {"path": "/steady"}, "require": {"signature": {"provider": "github", "secrets": [
            {"env": "new", "id": "new"}, {"env": "old", "id": "old"}, {"env": "next"}]}}},
    ]}


def signed(name: str, path: str = "/signed", body: bytes = b'{"a": 1}') -> Request:
    return Request(path.encode(), signer.github(ENV[name], body), body)


def token(name: str) -> Request:
    return Request(f"/token?token={ENV[name]}".encode(), [], b"{}")


@pytest.fixture(scope="module")
def gateway():
    tags = shipped.load("standalone/envoy.yaml", 1)["stats_config"]["stats_tags"]
    start = time.monotonic()
    with Gateway(config(signer.now()), good=lambda: signed("new"), env=ENV, stats_tags=tags) as gateway:
        gateway.start_seconds = time.monotonic() - start
        yield gateway


KINDS = {"signature": signed, "token": token}


def test_a_secret_goes_and_another_comes_at_its_very_second(gateway):
    """Each request is judged in one of the seconds between sending and answer; those that saw two of them are left out."""
    last = signer.now() + 2 + round(3 * gateway.start_seconds)
    first = last + 1
    seen = {(kind, name): [] for kind in KINDS for name in ("old", "next")}
    with Gateway(config(last), good=lambda: signed("new"), env=ENV) as changing:
        while time.time() < first + 0.5:
            for (kind, name), found in seen.items():
                sent = signer.now()
                status = client.h1_length(changing.envoy.port, KINDS[kind](name)).status
                if sent == signer.now():
                    found.append((sent, status))
    for kind in KINDS:
        old, coming = seen[kind, "old"], seen[kind, "next"]
        assert {second for second, _ in old} >= {last, first}
        assert all(status == (200 if second <= last else 401) for second, status in old), old
        assert all(status == (200 if second >= first else 401) for second, status in coming), coming


@BOTH
@pytest.mark.parametrize("name", ["new", "old"])
def test_the_secret_that_matched_is_told_everywhere(gateway, send, name):
    def used() -> float:
        return gateway.envoy.metric("webhook_guard_secret_used_total", policy="steady", secret_id=name)

    before = used()
    exchange = gateway.passes(signed(name, "/steady"), send)
    assert exchange.record["secret_id"] == name
    assert exchange.identity["secret-id"] == name.encode()
    assert used() == before + 1


def test_a_secret_without_id_is_told_nowhere(gateway):
    exchange = gateway.passes(signed("next", "/steady"))
    assert exchange.record["secret_id"] is None
    assert "secret-id" not in exchange.identity


def test_a_secret_that_is_not_valid_counts_as_unknown(gateway):
    """Which of the two it is would tell a forger that the secret in his hands was one."""
    assert gateway.refuses(signed("expired"), "signature_mismatch").record["secret_id"] is None
    assert gateway.refuses(token("expired"), "token_mismatch").record["secret_id"] is None


def test_the_metric_holds_ids_and_nothing_of_a_secret(gateway):
    gateway.passes(signed("old", "/steady"))
    text = gateway.envoy.prometheus() + gateway.envoy.admin("/stats") + gateway.envoy.log_text()
    assert not [secret for secret in ENV.values() if secret in text]
