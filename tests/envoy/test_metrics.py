"""What an operator watches: counters as Prometheus reads them, and log lines, one a refusal, at a level that changes live.

Whatever a sender writes, it never becomes a label, and never breaks a line.
"""

import re

import pytest

from harness import client, shipped, signer
from harness.client import Request
from harness.envoy import LINE, LOGGER
from harness.gateway import Gateway

SECRET, TOKEN = "a-secret-that-is-32-characters-x", "a-token-of-some-length"
CONFIG = {"policies": [
    {"name": "signed", "match": {"path": {"prefix": "/signed"}}, "require": {
        "signature": {"provider": "github", "secrets": [{"env": "SECRET", "id": "key.2027-1"}]}}},
    {"name": "both", "match": {"path": "/both"}, "require": {
        "source_ip": {"allow": ["127.0.0.0/8"]}, "token": {"query": "token", "secrets": [{"env": "TOKEN", "id": "t"}]}}},
]}
# As Istio's bootstrap makes them of `extraStatTags`, beside the tags that Envoy finds by itself.
ISTIO_TAGS = [{"tag_name": name, "regex": rf"({name}=\.=(.*?);\.;)"} for name in ("policy", "verdict", "reason", "secret_id", "outcome", "feed")]
SHIPPED = ["standalone/envoy.yaml", "flexdeploy/envoy.yaml"]
REQUESTS = "webhook_guard_requests_total"


def signed(path: str = "/signed", body: bytes = b'{"a": 1}') -> Request:
    return Request(path.encode(), signer.github(SECRET, body), body)


def unsigned(path: str = "/signed", headers: client.Headers | None = None, **more: object) -> Request:
    return Request(path.encode(), headers or [], b"{}", **more)


def tags_of(name: str) -> list[dict]:
    return shipped.load(name, 1)["stats_config"]["stats_tags"]


def running(tags: list[dict], **options: object) -> Gateway:
    return Gateway(CONFIG, good=signed, env={"SECRET": SECRET, "TOKEN": TOKEN}, stats_tags=tags, **options)


@pytest.fixture(scope="module")
def gateway():
    with running(tags_of("standalone/envoy.yaml")) as gateway:
        yield gateway


# Counters

def test_istio_and_the_shipped_files_cut_the_labels_out_alike():
    assert all(tags_of(name) == ISTIO_TAGS for name in SHIPPED)


def test_a_request_is_counted_under_policy_verdict_and_reason(gateway):
    rows = [(signed(), "allow", "ok", "signed"), (unsigned(), "deny", "signature_missing", "signed"),
            (unsigned("/both?token=wrong"), "deny", "token_mismatch", "both"), (unsigned("/nowhere"), "deny", "no_policy", "none"),
            (unsigned("/signed/%2f"), "deny", "path_malformed", "none")]
    for request, verdict, reason, policy in rows:
        labels = {"policy": policy, "verdict": verdict, "reason": reason}
        before = gateway.envoy.metric(REQUESTS, **labels)
        client.h1_length(gateway.envoy.port, request)
        assert gateway.envoy.metric(REQUESTS, **labels) == before + 1, labels


def test_the_exposition_is_what_a_dashboard_is_built_on(gateway):
    client.h1_length(gateway.envoy.port, unsigned())
    text = gateway.envoy.prometheus()
    assert f"# TYPE {REQUESTS} counter\n" in text
    samples = re.findall(rf"^{REQUESTS}(.*) \d+$", text, re.MULTILINE)
    assert '{policy="signed",verdict="deny",reason="signature_missing"}' in samples
    assert all(re.fullmatch(r'\{policy="[a-z0-9_-]+",verdict="[a-z]+",reason="[a-z_]+"\}', sample) for sample in samples)


def test_a_secret_is_counted_by_its_id(gateway):
    """A dot in an id stays one: Envoy's statistics know dots as separators."""
    labels = {"policy": "signed", "secret_id": "key.2027-1"}
    before = gateway.envoy.metric("webhook_guard_secret_used_total", **labels)
    gateway.passes_good()
    assert gateway.envoy.metric("webhook_guard_secret_used_total", **labels) == before + 1


def test_body_sizes_are_a_histogram(gateway):
    gateway.envoy.wait_for_metric("webhook_guard_body_bytes_count", 1)
    assert "# TYPE webhook_guard_body_bytes histogram\n" in gateway.envoy.prometheus()
    before = {name: gateway.envoy.metric(f"webhook_guard_body_bytes_{name}") for name in ("count", "sum")}
    gateway.passes(signed(body=b"x" * 5000))
    gateway.envoy.wait_for_metric("webhook_guard_body_bytes_count", before["count"] + 1)
    added = gateway.envoy.metric("webhook_guard_body_bytes_sum") - before["sum"]
    assert 4500 <= added <= 5500  # Envoy's buckets are within five percent


MARK = "evil-mark"


def test_nothing_that_a_sender_writes_becomes_a_label(gateway):
    names = set(gateway.envoy.stats("webhook_guard"))
    odd = [(b"x-github-delivery", MARK.encode()), (b"x-github-event", MARK.encode()), (b"x-request-id", MARK.encode()),
           (b"x-webhook-guard-policy", MARK.encode()), (b"x-webhook-guard-secret-id", MARK.encode()), (b"user-agent", MARK.encode())]
    for request in [unsigned(f"/signed/{MARK}", odd), unsigned(f"/{MARK}?token={MARK}", odd), unsigned(f"/both?token={MARK}", odd),
                    unsigned(f"/signed/policy=.={MARK};.;"), unsigned("/signed", odd, host=MARK.encode()), unsigned("/signed", method=b"EVIL-MARK"),
                    signed(f"/signed/{MARK}").again(headers=[*signed().headers, *odd])]:
        client.h1_length(gateway.envoy.port, request)
    text = gateway.envoy.admin("/stats") + gateway.envoy.prometheus()
    assert MARK not in text and MARK.upper() not in text
    assert len(set(gateway.envoy.stats("webhook_guard")) - names) <= 5


# Log lines

def lines_of(gateway: Gateway, request_id: str) -> list[str]:
    return [line for line in gateway.envoy.log_text().splitlines() if request_id in line]


def refused(gateway: Gateway, request: Request, reason: str) -> list[str]:
    """The log lines of a refused request, once its last one is there."""
    request_id = gateway.refuses(request, reason).record["request_id"]
    assert request_id
    gateway.envoy.wait_for_log(f"verdict=deny reason={reason} ")
    return lines_of(gateway, request_id)


def test_a_refusal_is_one_line_with_the_request_id(gateway):
    for request, reason, policy in [(unsigned(), "signature_missing", "signed"), (signed().again(body=b"x"), "signature_mismatch", "signed"),
                                    (unsigned("/nowhere"), "no_policy", "-"), (unsigned("/both"), "token_missing", "both")]:
        lines = refused(gateway, request, reason)
        assert len(lines) == 1
        assert f"[info][{LOGGER}]" in lines[0]
        assert re.search(rf"verdict=deny reason={reason} policy={policy} request_id=[0-9a-f-]{{36}}$", lines[0])


def test_what_is_accepted_is_not_logged(gateway):
    assert lines_of(gateway, gateway.passes(signed()).record["request_id"]) == []


def test_the_level_changes_live(gateway):
    try:
        gateway.envoy.admin(f"/logging?{LOGGER}=debug", post=True)
        request_id = gateway.passes(signed()).record["request_id"]
        checks = ["check path:pass", "check source_ip:skip", "check token:skip", "check signature:pass"]
        assert [re.search(r"check \w+:\w+", line).group() for line in lines_of(gateway, request_id)] == checks
        assert all(f"[debug][{LOGGER}]" in line and "policy=signed" in line for line in lines_of(gateway, request_id))
        assert len(refused(gateway, unsigned("/both?token=x"), "token_mismatch")) == 1 + len(checks)
    finally:
        gateway.envoy.admin(f"/logging?{LOGGER}=info", post=True)
    assert lines_of(gateway, gateway.passes(signed()).record["request_id"]) == []
    assert len(refused(gateway, unsigned(), "signature_missing")) == 1
    gateway.envoy.admin(f"/logging?{LOGGER}=warning", post=True)
    assert lines_of(gateway, gateway.refuses(unsigned(), "signature_missing").record["request_id"]) == []
    gateway.envoy.admin(f"/logging?{LOGGER}=info", post=True)


@pytest.fixture(scope="module")
def keeps_ids():
    """Envoy keeps the x-request-id of the sender, so that it may hold anything that a header may."""
    with running([], hcm={"preserve_external_request_id": True}) as gateway:
        gateway.envoy.admin(f"/logging?{LOGGER}=debug", post=True)
        yield gateway


ODD = [b"a\tb", b"a b", b"\x1b[31mred", b'a"b', b"\xff\xfe", b"id\x85next", "\u2028".encode(), b"a" * 5000, b"id verdict=allow reason=ok", b"%0aid"]


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value[:12])[2:-1])
def test_odd_bytes_never_reach_a_line(keeps_ids, value):
    mark = len(keeps_ids.envoy.log_text())
    headers = [(b"x-request-id", value), (b"x-github-delivery", value), (b"x-hub-signature-256", value), (b"user-agent", value)]
    for path, status in [("/signed", 401), ("/both?token=" + "%0d%0a%1b", 401), ("/nowhere", 404)]:
        response = client.h1_length(keeps_ids.envoy.port, unsigned(path, headers))
        assert response.status == (400 if b"\x1b" in value else status), "Envoy refuses a control character in a header"
    keeps_ids.passes_good()
    lines = keeps_ids.envoy.log_text()[mark:].split("\n")
    ours = [line for line in lines if LINE in line]
    assert all(re.fullmatch(r"[\x20-\x7e]*", line) for line in lines)
    assert all(re.search(r": (check \w+:\w+ policy=[\w-]+|verdict=deny reason=\w+ policy=[\w-]+) request_id=[0-9A-Za-z_.:/+=-]*$", line) for line in ours)


def test_a_plain_id_of_the_sender_is_kept(keeps_ids):
    keeps_ids.refuses(unsigned("/signed", [(b"x-request-id", b"the-senders-own.id")]), "signature_missing")
    keeps_ids.envoy.wait_for_log("verdict=deny reason=signature_missing policy=signed request_id=the-senders-own.id")
