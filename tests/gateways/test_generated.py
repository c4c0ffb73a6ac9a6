"""What Istio and Envoy Gateway make of our manifests, in a real Envoy: nothing of a refused request leaves, on a warm pool."""

import pytest

from gateways import generated
from harness import client, signer
from harness.client import Request
from harness.envoy import Envoy, EnvoyRefused, find_envoy, version
from harness.gateway import Gateway

ENV = {"GITHUB_WEBHOOK_SECRET": "github-key-of-some-length", "GITLAB_WEBHOOK_TOKEN": "gitlab-token-of-some-length"}
PATH, BODY = b"/flexdeploy/webhooks/v1/github", b'{"ref": "refs/heads/main"}'
WAYS = {
    "istio-wasmplugin": (generated.istio_wasmplugin, generated.istio_wasmplugin_resource),
    "istio-envoyfilter": (generated.istio_held, generated.istio_held_resource),
    "envoy-gateway-buffer": (generated.gateway_buffer_behind, None),
    "envoy-gateway-held": (generated.gateway_held, None),
    "istio-native": (generated.istio_native, None),
    "envoy-gateway-native": (generated.gateway_native, None),
}
NATIVE = {"istio-native", "envoy-gateway-native"}
OLD = pytest.mark.skipif(version(find_envoy()) < (1, 38), reason="this Envoy refuses the dynamic module, by its ABI")
FRAMINGS = pytest.mark.parametrize("send", client.FRAMINGS.values(), ids=client.FRAMINGS.keys())


def push(body: bytes = BODY, **signing: bool) -> Request:
    return Request(PATH, signer.github(ENV["GITHUB_WEBHOOK_SECRET"], body, **signing), body)


def files(way: str) -> dict[str, str]:
    resource = WAYS[way][1]
    return {generated.ECDS: resource()} if resource else {}


def each(ways: object) -> list:
    return [pytest.param(way, marks=OLD if way in NATIVE else ()) for way in ways]


@pytest.fixture(scope="module", params=each(WAYS))
def gateway(request):
    with Gateway(WAYS[request.param][0], good=push, env=ENV, files=files(request.param)) as gateway:
        gateway.holds = request.param in {"istio-envoyfilter", "envoy-gateway-held"} | NATIVE
        yield gateway


@FRAMINGS
def test_a_signed_webhook_arrives_and_a_forged_one_leaves_no_byte(gateway, send):
    record = gateway.passes(push(), send).record
    assert (record["policy"], record["provider"]) == ("github", "github")
    gateway.refuses(push(flip=True), "signature_mismatch", send=send)
    gateway.refuses(Request(PATH, [], BODY), "signature_missing", send=send)


@FRAMINGS
def test_a_long_forged_body_leaves_no_byte_either(gateway, send):
    body = bytes(300 if send is client.FRAMINGS["h1-pieces"] else 100_000)
    gateway.refuses(push(body, flip=True), "signature_mismatch", send=send)
    gateway.passes(push(body), send)


def test_over_the_limit_the_guard_answers(gateway):
    gateway.refuses(push(bytes((1 << 20) + 1)), "body_too_large")
    gateway.passes(push(bytes(1 << 20)))


def test_tokens_and_what_no_policy_governs(gateway):
    path = b"/flexdeploy/webhooks/v1/gitlab"
    gateway.passes(Request(path, signer.gitlab_token(ENV["GITLAB_WEBHOOK_TOKEN"]), BODY), removed=("x-gitlab-token",))
    gateway.refuses(Request(path, signer.gitlab_token("another-token"), BODY), "token_mismatch")
    gateway.refuses(Request(b"/flexdeploy/", [], BODY), "no_policy")


def test_the_application_is_told_who_sent_it_where_the_head_is_held(gateway):
    assert gateway.passes(push()).identity.get("verdict") == (b"verified" if gateway.holds else None)


def test_the_counters_have_their_labels(gateway):
    gateway.refuses(push(flip=True), "signature_mismatch")
    assert gateway.envoy.metric("webhook_guard_requests_total", policy="github", verdict="deny", reason="signature_mismatch") > 0


@pytest.mark.parametrize("way", each(["envoy-gateway-buffer", "envoy-gateway-held", *sorted(NATIVE)]))
def test_without_a_secret_the_gateway_does_not_come_up(way):
    with pytest.raises(EnvoyRefused) as refused, Envoy(WAYS[way][0](1), env={"GITHUB_WEBHOOK_SECRET": "github-key-of-some-length"}):
        pass
    assert 'the environment variable "GITLAB_WEBHOOK_TOKEN"' in refused.value.log
