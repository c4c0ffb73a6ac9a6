"""The sender's certificate: what a policy asks of it, what Envoy shows of it, and which listeners make it worth anything."""

import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import yaml
from cryptography.x509.oid import ExtendedKeyUsageOID

from harness import certificates, client, shipped, signer
from harness.certificates import Certificate, make, trust
from harness.client import Request, Send
from harness.envoy import Envoy, bootstrap
from harness.gateway import NOTHING, Gateway
from harness.upstream import Upstream

SECRET = "a-github-secret-0001"
AUTHORITY, OTHER_AUTHORITY = make("senders' authority", is_authority=True), make("senders' authority", is_authority=True)
SERVER = make("localhost", AUTHORITY, dns=("localhost",))
DNS, URI = "hooks.example.com", "spiffe://mesh.example.com/ns/hooks"
SELF_SIGNED = make("pinned", dns=(DNS,))
CERTIFICATES = {
    "good": make("hooks", AUTHORITY, organization="Example, Inc.", dns=(DNS,), uri=(URI,)),
    "other name": make("hooks", AUTHORITY, organization="Example", dns=("other.example.com",), uri=("spiffe://other.example.com/ns/hooks",)),
    "upper case": make("hooks", AUTHORITY, dns=("HOOKS.Example.Com",), uri=(URI.upper(),)),
    "common name only": make(DNS, AUTHORITY),
    "name behind another": make("hooks", AUTHORITY, dns=("first.example.com", DNS), uri=("https://first.example.com", URI)),
    "wildcard": make("hooks", AUTHORITY, dns=("*.example.com",), uri=("https://*.uris.example.com/",)),
    "below": make("hooks", AUTHORITY, dns=("a.senders.example.com",), uri=("https://a.uris.example.com:8443/x?y",)),
    "far below": make("hooks", AUTHORITY, dns=("a.b.senders.example.com",), uri=("https://a.b.uris.example.com/",)),
    "the suffix": make("hooks", AUTHORITY, dns=("senders.example.com",), uri=("https://uris.example.com/",)),
    "wildcard below": make("hooks", AUTHORITY, dns=("*.senders.example.com",), uri=("https://evil.test/?https://a.uris.example.com/",)),
    "self-signed": SELF_SIGNED,
}
UNVERIFIED = {
    "expired": make("hooks", AUTHORITY, dns=(DNS,), is_expired=True),
    "other authority": make("hooks", OTHER_AUTHORITY, dns=(DNS,)),
    "self-signed by a stranger": make("pinned", dns=(DNS,)),
    "for servers only": make("hooks", AUTHORITY, dns=(DNS,), usage=ExtendedKeyUsageOID.SERVER_AUTH),
}
HOOK = {"signature": {"provider": "github", "secrets": [{"env": "GITHUB_WEBHOOK_SECRET"}]}}
MEMBERS = {
    "dns": {"dns": [DNS, "*.senders.example.com"]},
    "uri": {"uri": [URI, "*.uris.example.com"]},
    "subject": {"subject": [r"CN=hooks,O=Example\, Inc."]},
    "sha256": {"sha256": [SELF_SIGNED.sha256, "0" * 64]},
    "both": {"dns": [DNS], "sha256": [CERTIFICATES["good"].sha256.upper()]},
}
GUARD_CONFIG = {"policies": [
    *({"name": name, "match": {"path": f"/{name}"}, "require": {"client_certificate": members}} for name, members in MEMBERS.items()),
    {"name": "either", "match": {"path": "/either"}, "require": {"any_of": [{"client_certificate": MEMBERS["dns"]}, HOOK]}},
    {"name": "signed", "match": {"path": "/signed"}, "require": {"client_certificate": MEMBERS["dns"], **HOOK}, "duplicates": {}},
    {"name": "plain", "match": {"path": "/plain"}, "require": HOOK},
]}
# The header as it was sent reaches the guard: with Envoy's default it would be gone.
FORWARDED = {"forward_client_cert_details": "ALWAYS_FORWARD_ONLY"}
NOT_RESUMED = {"disable_stateless_session_resumption": True, "disable_stateful_session_resumption": True}


def to(path: str, *, forged: str | None = None, is_signed: bool = False, body: bytes = b"{}") -> Request:
    headers = signer.github(SECRET, body) if is_signed else []
    if forged is not None:
        headers = [*headers, (b"x-forwarded-client-cert", forged.encode())]
    return Request(path.encode(), headers, body)


def behind(validation: dict | None, *, before: tuple[dict, ...] = (), **more: object) -> Callable[[int], dict]:
    """An Envoy with a TLS listener that asks for certificates as `validation` says; filters may stand before the guard."""
    def config(port: int) -> dict:
        found = bootstrap(GUARD_CONFIG, upstream_port=port, env={"GITHUB_WEBHOOK_SECRET": SECRET}, hcm=FORWARDED)
        (chain,) = found["static_resources"]["listeners"][0]["filter_chains"]
        chain["transport_socket"] = certificates.listener(SERVER, validation, **more)
        chain["filters"][0]["typed_config"]["http_filters"][:0] = before
        return found
    return config


def over(certificate: Certificate | None, protocol: str = "h1", **more: object) -> Send:
    send, alpn = {"h1": (client.h1_length, "http/1.1"), "h2": (client.h2_send, "h2")}[protocol]
    return partial(send, tls=certificates.sender(certificate, alpn=alpn), **more)


def good() -> Request:
    return to("/plain", is_signed=True)


PROTOCOLS = pytest.mark.parametrize("protocol", ["h1", "h2"])
SAFE = trust(AUTHORITY, SELF_SIGNED)


@pytest.fixture(scope="module")
def gateway():
    """A listener that asks for a certificate, verifies one that is sent, and takes senders without one."""
    with Gateway(behind(SAFE, **NOT_RESUMED), good=good, send=over(None)) as gateway:
        yield gateway


MISSING, OTHER = "client_certificate_missing", "client_certificate_not_allowed"
ROWS = {
    "dns": {"good": "ok", "upper case": "ok", "below": "ok", "wildcard below": "ok", "self-signed": "ok"},
    "uri": {"good": "ok", "below": "ok"},
    "subject": {"good": "ok"},
    "sha256": {"self-signed": "ok"},
    "both": {"good": "ok"},
}


@PROTOCOLS
@pytest.mark.parametrize("path", ROWS)
@pytest.mark.parametrize("sender", [None, *CERTIFICATES])
def test_a_certificate_is_judged_by_all_members(gateway, protocol, path, sender):
    reason = MISSING if sender is None else ROWS[path].get(sender, OTHER)
    send = over(CERTIFICATES.get(sender), protocol)
    if reason == "ok":
        exchange = gateway.passes(to(f"/{path}"), send)
        assert exchange.record["checks"] == "path:pass,source_ip:skip,client_certificate:pass,token:skip,signature:skip"
        assert exchange.identity["policy"] == path.encode()
    else:
        exchange = gateway.refuses(to(f"/{path}"), reason, send=send)
        assert exchange.record["checks"] == "path:pass,source_ip:skip,client_certificate:fail,token:skip,signature:skip"


@PROTOCOLS
@pytest.mark.parametrize("sender", UNVERIFIED)
def test_one_that_the_listener_cannot_verify_sends_nothing(gateway, protocol, sender):
    """The handshake fails, so there is no request. Envoy counts why."""
    before, mark = failed(gateway.envoy), gateway.upstream.mark()
    response = over(UNVERIFIED[sender], protocol)(gateway.envoy.port, to("/either", is_signed=True))
    assert response.status == 0
    gateway.envoy.wait_for_stat(r"ssl\.fail_verify_error$", before + 1)
    assert gateway.upstream.delta(mark) == NOTHING
    gateway.passes_good()


def failed(envoy: Envoy) -> int:
    return sum(envoy.stats(r"ssl\.fail_verify_error$").values())


FORGED = f'Hash={CERTIFICATES["good"].sha256};Subject="CN=hooks,O=Example\\, Inc.";URI={URI};DNS={DNS}'


@PROTOCOLS
@pytest.mark.parametrize("path", ROWS)
def test_a_header_is_no_certificate(gateway, protocol, path):
    gateway.refuses(to(f"/{path}", forged=FORGED), MISSING, send=over(None, protocol))
    gateway.refuses(to(f"/{path}", forged=FORGED), OTHER, send=over(CERTIFICATES["other name"], protocol))


def test_a_header_arrives_as_it_was_sent(gateway):
    """What a listener makes of it is the listener's: here it was told to let it be, so the refusals above say something."""
    exchange = gateway.passes(to("/plain", forged="By=x", is_signed=True), over(None))
    assert exchange.delivered.values("x-forwarded-client-cert") == [b"By=x"]


@PROTOCOLS
def test_one_route_asks_for_it_and_another_does_not(gateway, protocol):
    for sender in (None, *CERTIFICATES.values()):
        exchange = gateway.passes(to("/plain", is_signed=True), over(sender, protocol))
        assert exchange.record["checks"] == "path:pass,source_ip:skip,token:skip,signature:pass"


@PROTOCOLS
def test_a_signature_may_stand_in_for_it(gateway, protocol):
    none, right, wrong = None, CERTIFICATES["good"], CERTIFICATES["other name"]
    for sender, is_signed in ((right, False), (right, True), (none, True), (wrong, True)):
        gateway.passes(to("/either", is_signed=is_signed), over(sender, protocol))
    for sender in (none, wrong):
        gateway.refuses(to("/either"), "no_alternative_held", send=over(sender, protocol))


def test_a_signature_may_be_asked_for_beside_it(gateway):
    right, body = CERTIFICATES["good"], b'{"number": 1}'
    gateway.refuses(to("/signed", is_signed=True), MISSING, send=over(None))
    gateway.refuses(to("/signed", is_signed=True), OTHER, send=over(CERTIFICATES["other name"]))
    gateway.refuses(to("/signed"), "signature_missing", send=over(right))
    gateway.passes(to("/signed", is_signed=True, body=body), over(right))
    gateway.refuses(to("/signed", is_signed=True, body=body), "duplicate_delivery", send=over(right))


def test_without_tls_there_is_no_certificate():
    def plain(port: int) -> dict:
        return bootstrap(GUARD_CONFIG, upstream_port=port, env={"GITHUB_WEBHOOK_SECRET": SECRET}, hcm=FORWARDED)
    with Gateway(plain, good=good) as gateway:
        gateway.refuses(to("/dns", forged=FORGED), MISSING)
        gateway.passes(to("/either", is_signed=True))


# Which listeners make it worth anything: the table of docs/configuration.md

@dataclass(frozen=True)
class Listener:
    """How a listener asks for a certificate, and what becomes of /dns: `refused` means that the handshake fails."""

    validation: dict | None
    none: str
    good: str
    other_authority: str
    expired: str
    more: dict


UNTRUSTED = {"trust_chain_verification": "ACCEPT_UNTRUSTED"}
REFUSED = "refused"
LISTENERS = {
    "trusted_ca": Listener(SAFE, MISSING, "ok", REFUSED, REFUSED, {}),
    "trusted_ca, required": Listener(SAFE, REFUSED, "ok", REFUSED, REFUSED, {"require_client_certificate": True}),
    "verify_certificate_hash alone": Listener({"verify_certificate_hash": [CERTIFICATES["good"].sha256]}, REFUSED, "ok", REFUSED, REFUSED, {}),
    "no validation": Listener(None, MISSING, MISSING, MISSING, MISSING, {}),
    "no validation, required": Listener(None, MISSING, MISSING, MISSING, MISSING, {"require_client_certificate": True}),
    "expired admitted": Listener(SAFE | {"allow_expired_certificate": True}, MISSING, "ok", REFUSED, "ok", {}),
    # Nobody behind the handshake can know that it verified nothing: what the documentation warns of, and `check` finds.
    "ACCEPT_UNTRUSTED": Listener(SAFE | UNTRUSTED, MISSING, "ok", "ok", "ok", {}),
    "ACCEPT_UNTRUSTED, no trusted_ca": Listener(UNTRUSTED, MISSING, "ok", "ok", "ok", {}),
}


def outcome(envoy: Envoy, request: Request, certificate: Certificate | None) -> str:
    response = over(certificate)(envoy.port, request)
    return REFUSED if response.status == 0 else envoy.record(request.test_id)["reason"]


@pytest.mark.parametrize("listener", LISTENERS.values(), ids=LISTENERS.keys())
def test_what_a_listener_makes_of_certificates(listener):
    with Upstream() as upstream, Envoy(behind(listener.validation, **listener.more)(upstream.port)) as envoy:
        got = [outcome(envoy, to("/dns"), sender) for sender in
               (None, CERTIFICATES["good"], UNVERIFIED["other authority"], UNVERIFIED["expired"])]
        assert got == [listener.none, listener.good, listener.other_authority, listener.expired]
        assert len(upstream.requests) == got.count("ok")


def test_a_digest_needs_no_chain():
    """TLS itself proves that the sender has the certificate's key, whoever signed it."""
    stranger = make("pinned", dns=(DNS,))
    with Upstream() as upstream, Envoy(behind(UNTRUSTED)(upstream.port)) as envoy:
        assert [outcome(envoy, to("/sha256"), sender) for sender in (SELF_SIGNED, stranger, None)] == ["ok", OTHER, MISSING]


# Before the guard, and told apart by what the guard cannot see.
VERIFIED_ONLY = {"name": "verified", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
    "rules": {"action": "DENY", "policies": {"unverified": {
        "permissions": [{"url_path": {"path": {"exact": "/dns"}}}],
        "principals": [{"not_id": {"custom": {"name": "envoy.rbac.principals.mtls_authenticated", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.rbac.principals.mtls_authenticated.v3.Config",
            "any_validated_client_certificate": True}}}}]}}}}}


def test_where_untrusted_ones_are_accepted_envoys_rbac_filter_knows_them():
    config = behind(SAFE | UNTRUSTED, before=(VERIFIED_ONLY,), **NOT_RESUMED)
    with Gateway(config, good=good, send=over(None)) as gateway:
        gateway.passes(to("/dns"), over(CERTIFICATES["good"]))
        for sender in (None, UNVERIFIED["other authority"], UNVERIFIED["expired"]):
            request = to("/dns")
            assert gateway.drops(partial(over(sender), request=request)).status == 403
            assert gateway.envoy.record(request.test_id)["details"] == "rbac_access_denied_matched_policy[unverified]"


# Sessions

def resumed(envoy: Envoy, certificate: Certificate | None, version: ssl.TLSVersion) -> tuple[bool, str]:
    """A request over a session that was resumed, if Envoy resumes it, and the reason that it came to."""
    context = certificates.sender(certificate)
    context.minimum_version = context.maximum_version = version
    session, was_reused, request = None, False, to("/dns")
    for request in (to("/dns"), to("/dns")):
        with socket.create_connection(("127.0.0.1", envoy.port), timeout=10) as raw:
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as connection:
                connection.sendall(b"POST /dns HTTP/1.1\r\nhost: localhost\r\nx-test-id: %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % request.test_id.encode())
                while connection.recv(65536):
                    pass
                session, was_reused = connection.session, connection.session_reused
    return was_reused, envoy.record(request.test_id)["reason"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("may_resume", [True, False])
def test_a_resumed_session_has_the_certificate_of_the_first(version, may_resume):
    """Envoy does not verify it anew, so one that has expired since would do: the shipped listener resumes none."""
    with Upstream() as upstream, Envoy(behind(SAFE, **({} if may_resume else NOT_RESUMED))(upstream.port)) as envoy:
        assert resumed(envoy, CERTIFICATES["good"], version) == (may_resume, "ok")
        assert resumed(envoy, None, version) == (may_resume, MISSING)
        assert resumed(envoy, CERTIFICATES["other name"], version) == (may_resume, OTHER)


# The files of envoy/client-certificate/

FILES = pytest.mark.parametrize("name", ["envoy.yaml", pytest.param("native.yaml", marks=pytest.mark.only("native", "it loads the dynamic module"))])
SECRETS = {"BANK_WEBHOOK_SECRET": "a-secret-of-the-bank", "GITHUB_WEBHOOK_SECRET": SECRET}
SENT_ALONG = {"server.pem": SERVER.pem, "server.key": SERVER.key_pem, "senders-ca.pem": AUTHORITY.pem + SELF_SIGNED.pem}


def hook(path: str, secret: str | None = None) -> Request:
    return Request(f"/hooks/{path}".encode(), signer.github(secret, b"{}") if secret else [], b"{}")


def test_the_two_files_are_one_but_for_the_module_and_its_metrics():
    native, wasm = (yaml.safe_load((shipped.DIRECTORY / "client-certificate" / name).read_text()) for name in ("native.yaml", "envoy.yaml"))
    (of_native,), (of_wasm,) = (
        [one["typed_config"] for one in config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][:-1]]
        for config in (native, wasm))
    guards = [json.loads(shipped.configuration(one)["value"]) for one in (of_native, of_wasm)]
    assert guards[0].pop("environment") == of_wasm["config"]["vm_config"]["environment_variables"]["host_env_keys"]
    assert guards[0] == guards[1]
    assert native.pop("layered_runtime") and wasm.pop("stats_config")
    of_native.clear(), of_wasm.clear()
    assert native == wasm


@FILES
def test_what_ships_asks_one_route_for_a_certificate_and_not_another(name):
    config = partial(shipped.load, f"client-certificate/{name}")
    bank = make("hooks.bank.example.com", AUTHORITY, organization="Bank")
    partner = make("hooks", AUTHORITY, dns=("eu.partner.example.com",))
    stranger = make("hooks", OTHER_AUTHORITY, dns=("eu.partner.example.com",))
    with Gateway(config, good=lambda: hook("github", SECRET), send=over(None), env=SECRETS, files=SENT_ALONG) as gateway:
        gateway.passes(hook("partner"), over(partner, "h2"))
        gateway.refuses(hook("partner"), MISSING, send=over(None))
        gateway.refuses(hook("partner"), OTHER, send=over(bank))
        gateway.refuses(hook("partner"), OTHER, send=over(SELF_SIGNED))
        gateway.passes(hook("bank", SECRETS["BANK_WEBHOOK_SECRET"]), over(bank))
        gateway.refuses(hook("bank", SECRETS["BANK_WEBHOOK_SECRET"]), MISSING, send=over(None))
        gateway.refuses(hook("bank", SECRET), "signature_mismatch", send=over(bank))
        gateway.passes(hook("github", SECRET), over(partner))
        assert gateway.drops(partial(over(stranger), request=hook("partner"))).status == 0
        log = [record for record in gateway.envoy.access_log() if record["policy"] == "bank"]
        assert {(record["client_subject"], record["client_sha256"]) for record in log} == {(r"CN=hooks.bank.example.com,O=Bank", bank.sha256), (None, None)}
