"""FlexDeploy behind the gateway: envoy/flexdeploy/envoy.yaml lets its webhooks in, as they were sent, and nothing else."""

from functools import partial

import pytest

from harness import client, shipped, signer
from harness.client import Request
from harness.envoy import find_envoy, version
from harness.gateway import Gateway

ENV = {
    "GITHUB_WEBHOOK_SECRET": "github-key-of-some-length",
    "BITBUCKET_WEBHOOK_SECRET": "bitbucket-key-of-some-length",
    "SLACK_SIGNING_SECRET": "slack-key-of-some-length",
    "AZURE_WEBHOOK_PASSWORD": "azure-password-of-some-length",
    "JENKINS_TOKEN": "jenkins-token-of-some-length",
}
# Neither valid UTF-8 nor tidy JSON: FlexDeploy's own HMAC scripts need every byte as it was signed.
BODY = b'{ "ref" :\t"refs/heads/main", "n": 1.0, "n": 1e0, "odd": "\xff\\u00e4" }\r\n\n'
VERSIONS = pytest.mark.parametrize("hooks", ["/flexdeploy/webhooks/v1", "/flexdeploy/webhooks/v2"], ids=["v1", "v2"])


def key(name: str) -> str:
    return ENV[name]


def push(path: str, headers: client.Headers, **more: object) -> Request:
    sha1 = b"sha1=" + signer.mac("the-old-script's-key", BODY, digest="sha1").hex().encode()
    ordinary = [(b"content-type", b"application/json"), (b"user-agent", b"GitHub-Hookshot/044aadd")]
    if (b"x-github-event", b"push") in headers:
        ordinary.append((b"x-hub-signature", sha1))
    return Request(path.encode(), [*ordinary, *headers], BODY, **more)


def github(path: str = "/flexdeploy/webhooks/v2/git/push", **more: object) -> Request:
    return push(path, signer.github(key("GITHUB_WEBHOOK_SECRET"), BODY), **more)


@pytest.fixture(scope="module")
def gateway():
    with Gateway(partial(shipped.load, "flexdeploy/envoy.yaml"), good=github, env=ENV) as gateway:
        yield gateway


@VERSIONS
def test_one_function_takes_several_providers(gateway, hooks):
    """All that they sent arrives, the query and the old SHA-1 header for FlexDeploy's own script included."""
    identity = gateway.passes(github(f"{hooks}/git/push?projectId=7&x=%20")).identity
    assert (identity["verdict"], identity["policy"], identity["provider"]) == (b"verified", b"git-push", b"github")
    identity = gateway.passes(push(f"{hooks}/git/push?projectId=7", signer.bitbucket(key("BITBUCKET_WEBHOOK_SECRET"), BODY))).identity
    assert (identity["verdict"], identity["provider"]) == (b"verified", b"bitbucket_server")


@VERSIONS
def test_the_other_senders_have_their_sub_paths(gateway, hooks):
    assert gateway.passes(push(f"{hooks}/slack/events?projectId=7", signer.slack(key("SLACK_SIGNING_SECRET"), BODY))).record["policy"] == "slack"
    azure = push(f"{hooks}/azure/push?projectId=7", signer.basic("azure", key("AZURE_WEBHOOK_PASSWORD")))
    assert gateway.passes(azure, removed=("authorization",)).record["policy"] == "azure"
    jenkins = push(f"{hooks}/build/done?projectId=7&token={key('JENKINS_TOKEN')}&x", [])
    assert gateway.passes(jenkins, target=f"{hooks}/build/done?projectId=7&x".encode()).record["policy"] == "jenkins"


@pytest.mark.parametrize("send", client.FRAMINGS.values(), ids=client.FRAMINGS.keys())
def test_the_body_arrives_as_it_was_signed_however_it_was_framed(gateway, send):
    gateway.passes(github(), send)


@VERSIONS
def test_a_sender_cannot_make_a_webhook_synchronous(gateway, hooks):
    for name in (b"flex-sync-webhook", b"Flex-Sync-Webhook", b"flex_sync_webhook"):
        request = github(f"{hooks}/git/push").again(headers=[*github().headers, (name, b"true")])
        gateway.passes(request, removed=(name.decode().lower(),))


@VERSIONS
def test_another_senders_proof_does_not_do(gateway, hooks):
    gateway.refuses(github(f"{hooks}/slack/events"), "signature_missing")
    gateway.refuses(github(f"{hooks}/azure/push"), "token_missing")
    gateway.refuses(push(f"{hooks}/git/push", signer.github(key("BITBUCKET_WEBHOOK_SECRET"), BODY)), "no_alternative_held")
    gateway.refuses(github(f"{hooks}/git/push").again(body=BODY + b"\n"), "no_alternative_held")
    gateway.refuses(push(f"{hooks}/git/push", []), "no_alternative_held")


CLOSED = [
    "/", "/flexdeploy", "/flexdeploy/", "/flexdeploy/login", "/flexdeploy/rest/v2/project", "/flexdeploy/webhooks", "/flexdeploy/webhooks/v1",
    "/flexdeploy/webhooks/v2/", "/flexdeploy/webhooks/v3/git/push", "/flexdeploy/webhooks/v2x/git/push", "/flexdeploy/webhooks/v2/git",
    "/flexdeploy/webhooks/v2/git/push/", "/flexdeploy/webhooks/v2/git/pushed", "/flexdeploy/webhooks/v2/git/push/../../../../login",
    "/flexdeploy/webhooks/v2/slack/../../../login", "/FlexDeploy/webhooks/v2/git/push",
]
DISGUISED = [
    "/flexdeploy/webhooks/v2/slack/..%2f..%2f..%2flogin", "/flexdeploy//webhooks/v2/git/push", "/flexdeploy/webhooks/v2/slack%5c..%5clogin",
    "/flexdeploy/webhooks/v2/git/push;jsessionid=1",
]
REFUSED_BY_ENVOY = ["/flexdeploy/webhooks/v2/git/push%00"]


@pytest.mark.parametrize("path", CLOSED)
def test_everything_else_of_the_application_is_closed(gateway, path):
    gateway.refuses(github(path), "no_policy")


def test_a_dot_segment_with_a_parameter_is_closed_whoever_reads_it(gateway):
    """Envoy from 1.39.1 on takes `..;` for a dot segment and resolves it; an older one leaves it to the guard."""
    reason = "no_policy" if version(find_envoy()) >= (1, 39, 1) else "path_malformed"
    gateway.refuses(github("/flexdeploy/webhooks/v2/slack/..;/..;/..;/login"), reason)


@pytest.mark.parametrize("path", DISGUISED)
def test_everything_else_is_closed_in_disguise_too(gateway, path):
    gateway.refuses(github(path), "path_malformed")


@pytest.mark.parametrize("path", REFUSED_BY_ENVOY)
def test_what_envoy_cannot_normalise_does_not_come_in(gateway, path):
    gateway.drops(lambda port: client.h1_length(port, github(path)))


def test_the_browsers_method_is_not_a_webhook(gateway):
    gateway.refuses(github(method=b"GET"), "method_not_allowed")


def test_the_address_that_scripts_read_is_envoys(gateway):
    """FlexDeploy's FLX_REMOTE_ADDR is the proxy's; its scripts look at x-forwarded-for, whose last entry Envoy writes."""
    own = gateway.passes(github()).delivered.values("x-forwarded-for")
    spoofed = gateway.passes(github().again(headers=[*github().headers, (b"x-forwarded-for", b"10.0.0.1")]))
    assert spoofed.delivered.values("x-forwarded-for") == [b"10.0.0.1," + own[0]]


def test_no_secret_in_any_log(gateway):
    """Runs last in this module."""
    text = gateway.envoy.log_text() + gateway.envoy.read("access.log")
    assert not [value for value in ENV.values() if value in text]
