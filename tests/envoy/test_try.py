"""`webhook-guard try` against a real Envoy: it is content with the gateway that was configured, and with no other.

The gateway is right by the tests beside this one; here it is the command line that is tested, so the gateway is spoilt.
"""

import datetime
import ipaddress
import json
import re
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from harness import program, shipped
from harness.envoy import Envoy, bootstrap
from harness.upstream import Upstream

CONFIG = "envoy/standalone/envoy.yaml"
SECRETS = {
    "GITHUB_WEBHOOK_SECRET": "github-try-key-0000001",
    "SLACK_SIGNING_SECRET": "slack-try-key-00000001",
    "STRIPE_WEBHOOK_SECRET": "whsec_stripe-try-key-1",
    "BITBUCKET_WEBHOOK_SECRET": "bitbucket-try-key-0001",
    "GITLAB_WEBHOOK_TOKEN": "gitlab-try-token-00001",
    "BUILD_SERVER_TOKEN": "build-try-token-000001",
}
POLICIES = ["github", "slack", "stripe", "bitbucket", "gitlab", "build-server"]


def attempt(url: str, *arguments: str, config: str = CONFIG, env: dict | None = None) -> tuple[int, list[dict], str]:
    """The exit status, the rows, and all that was printed."""
    result = program.run("try", "--config", config, "--url", url, "--format", "json", *arguments, env=SECRETS | (env or {}))
    assert result.stdout, result.stderr
    return result.returncode, json.loads(result.stdout)["rows"], result.stdout + result.stderr


def of(rows: list[dict], result: str) -> set[tuple[str, str]]:
    return {(row["policy"], row["delivery"]) for row in rows if row["result"] == result}


def guard(envoy: dict) -> tuple[list[dict], dict]:
    """The HTTP filters of the shipped Envoy, and the guard's configuration among them."""
    manager = envoy["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    return manager["http_filters"], shipped.configuration(manager["http_filters"][0]["typed_config"])


def loosened(envoy: dict) -> None:
    configuration = guard(envoy)[1]
    config = json.loads(configuration["value"])
    config["policies"][0]["require"] = "nothing"
    del config["policies"][0]["duplicates"]
    configuration["value"] = json.dumps(config)


def without_the_guard(envoy: dict) -> None:
    del guard(envoy)[0][0]


def test_a_gateway_that_does_what_it_should_passes_row_by_row():
    with Upstream() as upstream, Envoy(shipped.load("standalone/envoy.yaml", upstream.port, once=True), env=SECRETS) as envoy:
        status, rows, printed = attempt(f"http://127.0.0.1:{envoy.port}")
        assert (status, of(rows, "wrong"), of(rows, "not_tried")) == (0, set(), set())
        good = [row["policy"] for row in rows if row["delivery"] == "good"]
        assert good == POLICIES
        # What the answers cannot tell: that each refusal was for the reason that the core foretold.
        expected = ["ok" if row["expected"] == "forwarded" else row["expected"].split(" ")[1] for row in rows]
        deadline = time.monotonic() + 10
        while len(records := envoy.access_log()) < len(rows) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [record["reason"] for record in records] == expected
        assert len(upstream.requests) == len(POLICIES)
        assert upstream.bytes_received == sum(len(one.head) + len(one.body) for one in upstream.requests)
    kinds = {(row["policy"], row["expected"]) for row in rows}
    for row in [("github", "401 signature_missing"), ("github", "401 signature_ambiguous"), ("github", "413 body_too_large"),
                ("slack", "401 timestamp_stale"), ("slack", "401 timestamp_future"), ("stripe", "401 signature_mismatch"),
                ("gitlab", "401 token_mismatch"), ("gitlab", "401 token_missing"), ("gitlab", "401 token_ambiguous"),
                ("build-server", "403 source_ip_not_allowed"), ("build-server", "405 method_not_allowed"),
                ("-", "404 no_policy"), ("-", "404 path_malformed")]:
        assert row in kinds
    assert not [secret for secret in SECRETS.values() if secret in printed]


@pytest.mark.parametrize("spoil, env, wrong", [
    pytest.param(loosened, {}, {("github", delivery) for delivery in [
        "the same once more", "body tampered with", "not signed", "signed with another key", "signature twice"]}, id="a policy that requires nothing"),
    pytest.param(lambda _: None, {"GITHUB_WEBHOOK_SECRET": "github-another-key-001"}, {("github", "good")}, id="another secret"),
])
def test_a_gateway_that_runs_something_else_is_found_out(spoil, env, wrong):
    with Upstream() as upstream:
        config = shipped.load("standalone/envoy.yaml", upstream.port, once=True)
        spoil(config)
        with Envoy(config, env=SECRETS | env) as envoy:
            status, rows, _ = attempt(f"http://127.0.0.1:{envoy.port}")
    assert (status, of(rows, "wrong"), of(rows, "not_tried")) == (1, wrong, set())


def test_a_gateway_without_the_guard_is_wrong_in_every_row_but_the_good_ones():
    with Upstream() as upstream:
        config = shipped.load("standalone/envoy.yaml", upstream.port, once=True)
        without_the_guard(config)
        with Envoy(config, env=SECRETS) as envoy:
            url = f"http://127.0.0.1:{envoy.port}"
            status, rows, _ = attempt(url, "--policy", "github", "--policy", "gitlab")
            table = program.run("try", "--config", CONFIG, "--url", url, "--policy", "gitlab", env=SECRETS)
    assert (status, of(rows, "as_expected")) == (1, {("github", "good"), ("gitlab", "good")})
    assert re.search(r"gitlab +wrong token +401 token_mismatch +200 forwarded +WRONG", table.stdout), table.stdout
    assert "1 as expected, 7 wrong; 1 should be forwarded." in table.stdout


# One policy a way in which something cannot be tried, or must be tried with care.
TOKEN, OTHER = "a-token-that-is-known-1", "a-token-that-is-known-2"
HASH = "5e884898da28047151d0e56f8dc6292773603d0d6aabbd62a11ef721d1542d8a"
PUBLIC_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
GUARDED = {"policies": [
    {"name": "hash", "match": {"path": "/hash"}, "require": {"token": {"header": "x-token", "secrets": [{"sha256": HASH}]}}},
    {"name": "public", "match": {"path": "/public"},
     "require": {"signature": {"provider": "discord", "secrets": [{"value": PUBLIC_KEY}]}}},
    {"name": "elsewhere", "match": {"path": "/elsewhere"}, "require": {"source_ip": {"allow": ["192.0.2.0/24"]}}},
    {"name": "route", "require": {"token": {"bearer": True, "secrets": [{"value": TOKEN}]}}},
    {"name": "any", "match": {"path": "/any"}, "require": {"any_of": [
        {"source_ip": {"allow": ["192.0.2.0/24"]}},
        {"token": {"basic": {"username": "ci"}, "secrets": [{"env": "TRY_TOKENS", "key": "ci"}]}}]}},
    {"name": "host", "match": {"path": {"prefix": "/host"}, "hosts": ["*.example.com"]},
     "require": {"token": {"header": "x-try-token", "secrets": [{"value": OTHER}]},
                 "signature": {"provider": "square", "public_url": "https://hooks.example.com/host/entered",
                               "secrets": [{"value": TOKEN}]}}},
    {"name": "inner", "match": {"path": "/host"}, "mode": "report",
     "require": {"signature": {"provider": "linear", "secrets": [{"value": TOKEN}]}}},
    {"name": "small", "match": {"path": "/small"}, "max_body_bytes": 100, "content_types": ["text/plain"],
     "deny_status": {"body_too_large": 499}, "require": {"signature": {"provider": "github", "secrets": [{"value": TOKEN}]}}},
]}


@pytest.fixture
def odd(tmp_path):
    """An Envoy with all of these policies, and the file that holds them."""
    tokens = {"TRY_TOKENS": json.dumps({"ci": "ci-token-0000000000001"})}
    config = tmp_path / "guard.json"
    config.write_text(json.dumps(GUARDED))
    with Upstream() as upstream, Envoy(bootstrap(GUARDED, upstream_port=upstream.port, env=tokens)) as envoy:
        yield f"http://127.0.0.1:{envoy.port}", str(config), tokens, upstream


def test_what_cannot_be_tried_is_a_row_with_the_reason(odd):
    url, config, tokens, upstream = odd
    status, rows, _ = attempt(url, config=config, env=tokens)
    assert (status, of(rows, "wrong")) == (0, set())
    reasons = {(row["policy"], row["delivery"]): row["reason"] for row in rows if row["result"] == "not_tried"}
    assert reasons == {
        ("hash", "good"): "the configuration holds only a hash of the token",
        ("public", "good"): "only the provider can sign: ed25519 is verified with a public key, and its private half is theirs",
        ("elsewhere", "good"): "127.0.0.1 is not admitted; try from an address that is, or name what the gateway sees with --source-ip",
        ("route", "all"): "it has no `match`: only a route can name it, and routes are not in here",
    }
    found = {(row["policy"], row["delivery"]): row.get("expected") for row in rows}
    for row, expected in {
        ("hash", "wrong token"): "401 token_mismatch", ("public", "not signed"): "401 signature_missing",
        ("elsewhere", "GET instead of POST"): "405 method_not_allowed", ("any", "good"): "forwarded",
        ("any", "wrong token"): "401 no_alternative_held", ("host", "good"): "forwarded", ("host", "no token"): "401 token_missing",
        ("host", "not signed"): "401 signature_missing", ("inner", "good"): "forwarded",
        ("inner", "replayed after 2 minutes"): "forwarded (report: timestamp_stale)",
        ("small", "one byte over 100 bytes"): "499 body_too_large",
    }.items():
        assert found.get(row) == expected, row
    large = [len(one.body) for one in upstream.requests if one.target.startswith(b"/host")]
    assert (1 << 20) + 1 in large, "the time in the body must not make it longer than one byte over"


def test_the_address_that_the_gateway_sees_can_be_named(odd):
    url, config, tokens, _ = odd
    status, rows, _ = attempt(url, "--policy", "elsewhere", "--source-ip", "192.0.2.7", config=config, env=tokens)
    # This gateway sees 127.0.0.1 all the same, and refuses it before it looks at anything else: rows are wrong, not skipped.
    assert (status, of(rows, "wrong")) == (1, {("elsewhere", "good"), ("elsewhere", "one byte over 1 MiB")})


def issue(subject: str, key, issuer: str, issuer_key, *extensions: x509.ExtensionType) -> str:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
               .not_valid_after(now + datetime.timedelta(days=1)))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def certificates() -> tuple[str, str, str]:
    """A company's own authority, a certificate of its for 127.0.0.1, and the key of that one."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = issue("root", authority, "root", authority, x509.BasicConstraints(ca=True, path_length=None))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return root, issue("gateway", key, "root", authority, address), private.decode()


def test_tls_is_spoken_to_whom_this_machine_trusts(tmp_path: Path):
    root, chain, key = certificates()
    trusted = tmp_path / "ca.pem"
    trusted.write_text(root)
    with Upstream() as upstream:
        config = shipped.load("standalone/envoy.yaml", upstream.port, once=True)
        config["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"] = {
            "name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"tls_certificates": [
                    {"certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}}]}}}
        with Envoy(config, env=SECRETS) as envoy:
            url = f"https://127.0.0.1:{envoy.port}"
            trusting = {"SSL_CERT_FILE": str(trusted)}
            status, rows, _ = attempt(url, "--policy", "github", env=trusting)
            assert (status, of(rows, "wrong"), of(rows, "not_tried")) == (0, set(), set()), rows
            status, rows, _ = attempt(url, "--policy", "github")
            assert status == 1 and not of(rows, "as_expected")
            assert "certificate" in rows[0]["got"]["error"], rows[0]
