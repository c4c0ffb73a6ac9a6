"""Webhooks of every policy of envoy/standalone/envoy.yaml, good and bad, each with the verdict that it must meet.

Signed by `signer`, which shares no code with the guard. It knows nothing of the gateway that they are sent to.
"""

import http.client
from dataclasses import dataclass, field

from harness import signer

SECRETS = {
    "GITHUB_WEBHOOK_SECRET": "github-demo-key-000001",
    "SLACK_SIGNING_SECRET": "slack-demo-key-0000001",
    "STRIPE_WEBHOOK_SECRET": "whsec_stripe-demo-key-1",
    "BITBUCKET_WEBHOOK_SECRET": "bitbucket-demo-key-001",
    "GITLAB_WEBHOOK_TOKEN": "gitlab-demo-token-0001",
    "BUILD_SERVER_TOKEN": "build-demo-token-00001",
}
HOOKS = "/flexdeploy/webhooks/v1"
BODY = b'{"action": "opened", "number": 7}'


@dataclass
class Delivery:
    webhook: str
    expected: str
    target: str
    headers: signer.Headers = field(default_factory=list)
    body: bytes = BODY
    method: str = "POST"
    source: str = "127.0.0.1"


def deliveries() -> list[Delivery]:
    key = SECRETS.__getitem__
    github, slack = key("GITHUB_WEBHOOK_SECRET"), key("SLACK_SIGNING_SECRET")
    stripe, bitbucket = key("STRIPE_WEBHOOK_SECRET"), key("BITBUCKET_WEBHOOK_SECRET")
    gitlab, token = key("GITLAB_WEBHOOK_TOKEN"), key("BUILD_SERVER_TOKEN")
    large = b"x" * (1 << 20) + b"x"
    return [
        Delivery("GitHub push", "200 ok", f"{HOOKS}/github", signer.github(github, BODY)),
        Delivery("GitHub, body tampered with", "401 signature_mismatch", f"{HOOKS}/github",
                 signer.github(github, BODY), BODY.replace(b"7", b"8")),
        Delivery("GitHub, not signed", "401 signature_missing", f"{HOOKS}/github"),
        Delivery("GitHub, one byte over 1 MiB", "413 body_too_large", f"{HOOKS}/github",
                 signer.github(github, large), large),
        Delivery("Slack event", "200 ok", f"{HOOKS}/slack", signer.slack(slack, BODY)),
        Delivery("Slack, replayed after 6 minutes", "401 timestamp_stale", f"{HOOKS}/slack",
                 signer.slack(slack, BODY, at=signer.now() - 360)),
        Delivery("Stripe, key being rolled", "200 ok", f"{HOOKS}/stripe",
                 signer.stripe(stripe, BODY, decoys=[b"00" * 32])),
        Delivery("Stripe, signed with another key", "401 signature_mismatch", f"{HOOKS}/stripe",
                 signer.stripe(github, BODY)),
        Delivery("Bitbucket Server push", "200 ok", f"{HOOKS}/bitbucket", signer.bitbucket(bitbucket, BODY)),
        Delivery("Bitbucket Server, GitHub's header", "401 signature_missing", f"{HOOKS}/bitbucket",
                 signer.github(bitbucket, BODY)),
        Delivery("GitLab push", "200 ok", f"{HOOKS}/gitlab", signer.gitlab_token(gitlab)),
        Delivery("GitLab, wrong token", "401 token_mismatch", f"{HOOKS}/gitlab", signer.gitlab_token("guess")),
        Delivery("Build server, token in the URL", "200 ok", f"{HOOKS}/build?job=1&token={token}"),
        Delivery("Build server, wrong token", "401 token_mismatch", f"{HOOKS}/build?job=1&token=guess"),
        Delivery("Build server, another address", "403 source_ip_not_allowed",
                 f"{HOOKS}/build?job=1&token={token}", source="127.0.0.2"),
        Delivery("The application itself", "404 no_policy", "/flexdeploy/login"),
        Delivery("A path in disguise", "404 path_malformed", f"{HOOKS}/github/..%2f..%2fadmin"),
        Delivery("GET instead of POST", "405 method_not_allowed", f"{HOOKS}/github", method="GET", body=b""),
    ]


def send(port: int, delivery: Delivery) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(delivery.source, 0))
    headers = {name.decode(): value.decode() for name, value in delivery.headers}
    connection.request(delivery.method, delivery.target, delivery.body, {"content-type": "application/json"} | headers)
    status = connection.getresponse().status
    connection.close()
    return status
