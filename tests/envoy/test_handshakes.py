"""Handshakes: answered by the gateway exactly as each provider documents, and nothing else is.

The answers here are written down from the providers' documentation, not read from the catalogue. An answered handshake
never reaches the upstream. The attacks: a CRC or plain token that is itself a signed text, and an echo that is a script.
"""

import base64
import hashlib
import hmac
import json
import time
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness import client, signer
from harness.client import Request
from harness.gateway import NOTHING, Gateway

KEY = "handshake-key-0123456789"
X_KEY = "handshake-key-of-x-0123456789"  # its own: it signs whatever a stranger sends as a CRC
VERIFY = "verify-token-0123456789"
# RFC 8032 7.1, test 2: the public key of the private key below.
ED25519 = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
ECHO = "aBc-123_x"


def policy(name: str, handshake: object = "answer", *, secret: str = KEY, **extra: object) -> dict:
    require = {"signature": {"provider": name, "secrets": [{"value": secret}], **extra}}
    return {"name": name, "match": {"path": f"/{name}"}, "require": require, "handshake": handshake}


CONFIG = {"policies": [
    policy("slack"), policy("zoom"), policy("x", secret=X_KEY), policy("dropbox"), policy("twitch"), policy("okta"),
    policy("cloudevents"), policy("xero"), policy("discord", secret=ED25519), policy("front"), policy("ringcentral"),
    policy("woocommerce"), policy("microsoft_graph"), policy("onfleet", secret=KEY.encode().hex()),
    policy("trello", public_url="https://hooks.example.com"),
    policy("meta", {"verify_tokens": [{"value": VERIFY}]}),
    {"name": "closed", "match": {"path": "/closed"},
     "require": {"source_ip": {"allow": ["192.0.2.1"]}, **policy("dropbox")["require"]}, "handshake": "answer"},
    {"name": "plain", "match": {"path": "/plain"}, "require": policy("dropbox")["require"]},
]}


def signed_slack(body: bytes) -> Request:
    return Request(b"/slack", signer.slack(KEY, body), body)


def good() -> Request:
    return signed_slack(b'{"type":"event_callback"}')


@pytest.fixture(scope="module", params=[True, False], ids=["hold", "buffer-behind"])
def gateway(request):
    with Gateway(CONFIG, good=good, hold=request.param) as running:
        yield running


def zoom(body: bytes) -> Request:
    stamp = str(int(time.time()))
    tag = hmac.new(KEY.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    return Request(b"/zoom", [(b"x-zm-request-timestamp", stamp.encode()), (b"x-zm-signature", f"v0={tag}".encode())], body)


def twitch(body: bytes) -> Request:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    tag = hmac.new(KEY.encode(), f"id-1{stamp}".encode() + body, hashlib.sha256).hexdigest()
    return Request(b"/twitch", [
        (b"twitch-eventsub-message-id", b"id-1"), (b"twitch-eventsub-message-timestamp", stamp.encode()),
        (b"twitch-eventsub-message-signature", f"sha256={tag}".encode()),
        (b"twitch-eventsub-message-type", b"webhook_callback_verification")], body)


def xero(body: bytes) -> Request:
    return Request(b"/xero", [(b"x-xero-signature", base64.b64encode(signer.mac(KEY, body)))], body)


def front(body: bytes, challenge: bytes = ECHO.encode()) -> Request:
    stamp = str(int(time.time() * 1000))
    tag = base64.b64encode(signer.mac(KEY, f"{stamp}:".encode() + body))
    headers = [(b"x-front-request-timestamp", stamp.encode()), (b"x-front-signature", tag)]
    return Request(b"/front", [*headers, (b"x-front-challenge", challenge)] if challenge else headers, body)


def woocommerce(body: bytes, kind: str, signature: bytes | None = None) -> Request:
    headers = [(b"content-type", kind.encode())]
    return Request(b"/woocommerce", [*headers, (b"x-wc-webhook-signature", signature)] if signature else headers, body)


FORM = "application/x-www-form-urlencoded"


def graph(token: str | None, *states: str) -> Request:
    """What Microsoft Graph sends: a question about the endpoint, or notifications with the state that their subscriber gave."""
    body = json.dumps({"value": [{"subscriptionId": "s", "clientState": state} for state in states]}) if states else ""
    return Request(f"/microsoft_graph{f'?validationToken={token}' if token is not None else ''}".encode(), [(b"content-type", b"application/json")], body.encode())


def discord(body: bytes) -> Request:
    private = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    stamp = str(int(time.time())).encode()
    tag = Ed25519PrivateKey.from_private_bytes(private).sign(stamp + body).hex().encode()
    return Request(b"/discord", [(b"x-signature-timestamp", stamp), (b"x-signature-ed25519", tag)], body)


def get(target: str, headers: signer.Headers | None = None, method: bytes = b"GET") -> Request:
    return Request(target.encode(), headers or [], method=method)


def keyed(text: str, key: str = KEY) -> bytes:
    return signer.mac(key, text)


META = f"/meta?hub.mode=subscribe&hub.verify_token={VERIFY}&hub.challenge=1158201444"
ANSWERS = {
    "slack": (lambda: signed_slack(b'{"token":"x","challenge":"%s","type":"url_verification"}' % ECHO.encode()),
              200, {"content-type": "text/plain"}, ECHO),
    "meta": (lambda: get(META), 200, {"content-type": "text/plain"}, "1158201444"),
    "zoom": (lambda: zoom(b'{"event":"endpoint.url_validation","payload":{"plainToken":"%s"}}' % ECHO.encode()),
             200, {"content-type": "application/json"}, {"plainToken": ECHO, "encryptedToken": keyed(ECHO).hex()}),
    "x": (lambda: get(f"/x?crc_token={ECHO}"), 200, {"content-type": "application/json"},
          {"response_token": "sha256=" + base64.b64encode(keyed(ECHO, X_KEY)).decode()}),
    "dropbox": (lambda: get(f"/dropbox?challenge={ECHO}"), 200, {"content-type": "text/plain"}, ECHO),
    "twitch": (lambda: twitch(b'{"challenge":"%s","subscription":{}}' % ECHO.encode()),
               200, {"content-type": "text/plain"}, ECHO),
    "discord-event-ping": (lambda: discord(b'{"version":1,"application_id":"1","type":0}'), 204, {}, ""),
    "discord-interaction-ping": (lambda: discord(b'{"id":"1","token":"t","type":1,"version":1}'),
                                 200, {"content-type": "application/json"}, {"type": 1}),
    "okta": (lambda: get("/okta", [(b"x-okta-verification-challenge", ECHO.encode())]),
             200, {"content-type": "application/json"}, {"verification": ECHO}),
    "cloudevents": (lambda: get("/cloudevents", [(b"webhook-request-origin", b"eventgrid.azure.net")], b"OPTIONS"),
                    200, {"webhook-allowed-origin": "eventgrid.azure.net"}, ""),
    "trello": (lambda: get("/trello", method=b"HEAD"), 200, {}, ""),
    "xero": (lambda: xero(b'{"events":[],"firstEventSequence":0,"lastEventSequence":0,"entropy":"KQXCGYNYTLABUEWZNDYS"}'),
             200, {}, ""),
    "front": (lambda: front(b'{"type":"sync","authorization":{"id":"cmp_1"}}'), 200, {"content-type": "text/plain"}, ECHO),
    "ringcentral": (lambda: Request(b"/ringcentral", [(b"validation-token", ECHO.encode())], b""),
                    200, {"validation-token": ECHO}, ""),
    "woocommerce": (lambda: woocommerce(b"webhook_id=3", FORM), 200, {}, ""),
    "woocommerce without curl": (lambda: woocommerce(b"webhook_id=3", f"{FORM}; charset=UTF-8"), 200, {}, ""),
    "microsoft graph": (lambda: graph("Validation%3a+Testing+client+application+reachability+for+subscription+Request-Id%3a+7d6c9f0a"),
                        200, {"content-type": "text/plain"}, "Validation: Testing client application reachability for subscription Request-Id: 7d6c9f0a"),
    "onfleet": (lambda: get(f"/onfleet?check={ECHO}"), 200, {"content-type": "text/plain"}, ECHO),
}


@pytest.mark.parametrize("make, status, headers, body", ANSWERS.values(), ids=ANSWERS.keys())
def test_a_handshake_is_answered_as_documented_and_goes_no_further(gateway, make, status, headers, body):
    mark = gateway.upstream.mark()
    request = make()
    response = client.h1_length(gateway.envoy.port, request)
    record = gateway.envoy.record(request.test_id)
    assert (response.status, record["verdict"], record["reason"]) == (status, "answer", "ok"), (response, record)
    assert (json.loads(response.body) if isinstance(body, dict) else response.body.decode()) == body
    for name, value in (headers | {"x-content-type-options": "nosniff"}).items():
        assert response.values(name) == [value], (name, response.headers)
    assert gateway.upstream.delta(mark) == NOTHING
    gateway.passes_good()


REFUSED = {
    "a CRC that is a JSON body": (lambda: get(f"/x?crc_token={quote(json.dumps({'event': 'paid'}))}"), "handshake_refused"),
    "a CRC that is too long": (lambda: get(f"/x?crc_token={'a' * 129}"), "handshake_refused"),
    "a CRC with a dot, as in a base string": (lambda: get("/x?crc_token=1700000000.body"), "handshake_refused"),
    "a plain token that is a base string": (
        lambda: zoom(b'{"event":"endpoint.url_validation","payload":{"plainToken":"v0:1700000000:{}"}}'), "handshake_refused"),
    "a script to echo": (lambda: get(f"/dropbox?challenge={quote('<script>alert(1)</script>')}"), "handshake_refused"),
    "a line break to echo": (lambda: get("/dropbox?challenge=a%0d%0aset-cookie:b"), "handshake_refused"),
    "nothing to echo": (lambda: get("/dropbox"), "handshake_refused"),
    "an empty echo": (lambda: get("/dropbox?challenge="), "handshake_refused"),
    "two echoes": (lambda: get("/dropbox?challenge=a&challenge=b"), "handshake_refused"),
    "a signed echo with a script": (
        lambda: signed_slack(b'{"type":"url_verification","challenge":"<b>"}'), "handshake_refused"),
    "a signed handshake without its echo": (lambda: signed_slack(b'{"type":"url_verification"}'), "handshake_refused"),
    "a signed handshake, not signed": (
        lambda: Request(b"/slack", [], b'{"type":"url_verification","challenge":"a"}'), "signature_missing"),
    "a challenge that is signed and unfit to echo": (
        lambda: front(b'{"type":"sync"}', b"<b>"), "handshake_refused"),
    "a form that claims to be signed": (
        lambda: woocommerce(b"webhook_id=3", FORM, base64.b64encode(b"0" * 32)), "signature_mismatch"),
    "a delivery without its signature": (lambda: woocommerce(b"{}", "application/json"), "signature_missing"),
    "a validation token that is a script": (
        lambda: Request(b"/ringcentral", [(b"validation-token", b"<script>")], b""), "handshake_refused"),
    "a printable echo with a script": (lambda: graph("%3cscript%3e"), "handshake_refused"),
    "a printable echo with a quote": (lambda: graph("a%22b"), "handshake_refused"),
    "a printable echo with a line break": (lambda: graph("a%0d%0ab"), "handshake_refused"),
    "a printable echo that is too long": (lambda: graph("a" * 513), "handshake_refused"),
    "a notification beside which another tenant's stands": (lambda: graph(None, KEY, "of another tenant"), "token_mismatch"),
    "no notification": (lambda: Request(b"/microsoft_graph", [], b'{"value":[]}'), "token_missing"),
    "a delivery without its token": (lambda: Request(b"/ringcentral", [], b"{}"), "token_missing"),
    "the wrong verify token": (lambda: get(META.replace(VERIFY, "guess")), "handshake_refused"),
    "no verify token": (lambda: get("/meta?hub.mode=subscribe&hub.challenge=1"), "handshake_refused"),
    "another mode": (lambda: get(META.replace("subscribe", "unsubscribe")), "handshake_refused"),
    "another method": (lambda: get(META, method=b"PUT"), "method_not_allowed"),
    "from another address": (lambda: get("/closed?challenge=a"), "source_ip_not_allowed"),
    "a policy that does not answer": (lambda: get("/plain?challenge=a"), "method_not_allowed"),
}


@pytest.mark.parametrize("make, reason", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_handshake_is_refused(gateway, make, reason):
    gateway.refuses(make(), reason)


def test_deliveries_beside_a_handshake_go_on(gateway):
    for request in [signed_slack(b'{"type":"event_callback","challenge":"a"}'),
                    zoom(b'{"event":"meeting.started","payload":{"plainToken":"a"}}'),
                    discord(b'{"version":1,"type":1,"event":{"type":"APPLICATION_AUTHORIZED"}}'),
                    graph(None, KEY), graph(None, KEY, KEY),
                    front(b'{"type":"sync"}', b""), front(b'{"type":"message"}'),
                    xero(b'{"events":[{"resourceId":"1"}],"firstEventSequence":1}')]:
        gateway.passes(request)


def test_a_provider_that_wants_a_bare_401_gets_one_whatever_the_reason(gateway):
    """Xero tries the endpoint with wrong signatures, and takes a 401 with a body for none at all."""
    body = b'{"events":[],"firstEventSequence":0,"lastEventSequence":0,"entropy":"KQXCGYNYTLABUEWZNDYS"}'
    wrong = base64.b64encode(signer.mac("another key", body))
    replies = set()
    for headers, reason in [([], "signature_missing"), ([(b"x-xero-signature", b"***")], "signature_malformed"),
                            ([(b"x-xero-signature", wrong)], "signature_mismatch")]:
        mark = gateway.upstream.mark()
        request = Request(b"/xero", headers, body)
        response = client.h1_length(gateway.envoy.port, request)
        record = gateway.envoy.record(request.test_id)
        assert (response.status, record["verdict"], record["reason"]) == (401, "deny", reason)
        assert (response.body, response.values("content-type")) == (b"", [])
        assert response.values("www-authenticate") == ["Webhook"]
        # Envoy closes some connections on which a body is under way.
        replies.add((response.body, tuple(sorted(name for name, _ in response.headers if name != b"connection"))))
        assert gateway.upstream.delta(mark) == NOTHING
    assert len(replies) == 1, "the reply tells one reason from another"
    gateway.refuses(Request(b"/xero", [], method=b"PUT"), "method_not_allowed")
    gateway.passes(xero(b'{"events":[{"resourceId":"1"}],"firstEventSequence":1}'))


def test_a_header_that_comes_twice_while_a_secret_is_replaced_is_two_candidates():
    """Mollie sends two for 24 hours; a sender that documents nothing of the kind may not."""
    body = b'{"resource":"event"}'
    tags = [b"sha256=" + signer.mac(key, body).hex().encode() for key in ("the secret before 0123", KEY, "a third one 012345")]

    def twice(path: bytes, header: bytes, *values: bytes) -> Request:
        return Request(path, [(header, value) for value in values], body)

    config = {"policies": [{key: value for key, value in policy(name).items() if key != "handshake"} for name in ("mollie", "github")]}

    def mollie(*values: bytes) -> Request:
        return twice(b"/mollie", b"x-mollie-signature", *values)

    with Gateway(config, good=lambda: mollie(tags[1])) as gateway:
        for values in [tags[:2], tags[1:], [b"sha256=" + b"0" * 64] * 9 + tags[:2]]:
            gateway.passes(mollie(*values))
        gateway.refuses(mollie(tags[0], tags[2]), "signature_mismatch")
        gateway.refuses(mollie(b"x", b""), "signature_malformed")
        gateway.refuses(mollie(*[tags[0]] * 16, tags[1]), "signature_mismatch")
        gateway.refuses(twice(b"/github", b"x-hub-signature-256", *tags[:2]), "signature_ambiguous")
