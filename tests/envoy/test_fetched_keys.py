"""Keys that are fetched: SNS with a local server in its place, and the key set of a publisher of tokens.

Nothing of a request waits for a key. One that names a certificate which is not known yet is refused with 503, and the certificate
is fetched for the next try; however many strangers name however many, that is one request to the publisher in five seconds.
"""

import base64
import json
import time
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from harness import client
from harness.client import Request
from harness.feed_server import HOST, FeedServer, respond
from harness.feeds import HERE, policy, start, to, until
from harness.gateway import NOTHING, Gateway

TOPIC = "arn:aws:sns:eu-central-1:123456789012:deploys"
PATH = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
KEY = rsa.generate_private_key(65537, 2048)
OTHER_KEY = rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPrivateKey, *, days: int = 1) -> bytes:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")]), datetime.now(UTC)
    builder = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
               .not_valid_before(now - timedelta(days=9)).not_valid_after(now + timedelta(days=days)))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


FIELDS = {"Notification": ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]}
FIELDS |= dict.fromkeys(["SubscriptionConfirmation", "UnsubscribeConfirmation"],
                        ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"])
MESSAGES = iter(range(10**6))


def fields(kind: str = "Notification", *, age: int = 0, **more: str | None) -> dict:
    stamp = datetime.now(UTC) - timedelta(seconds=age)
    made = {"Type": kind, "MessageId": f"id-{next(MESSAGES)}", "TopicArn": TOPIC, "Message": '{"event": "Zoë\npaid"}', "SignatureVersion": "2",
            "Timestamp": stamp.strftime("%Y-%m-%dT%H:%M:%S.") + "123Z", "SigningCertURL": f"https://{HOST}{PATH}"}
    if kind != "Notification":
        made |= {"Token": "t0ken", "SubscribeURL": f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t0ken"}
    return {name: value for name, value in (made | more).items() if value is not None}


def signed(message: dict, key: rsa.RSAPrivateKey = KEY) -> dict:
    text = "".join(f"{name}\n{message[name]}\n" for name in FIELDS[message["Type"]] if name in message)
    algorithm = hashes.SHA1() if message["SignatureVersion"] == "1" else hashes.SHA256()  # noqa: S303  (what SNS' first version is)
    return message | {"Signature": base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), algorithm)).decode()}


def request(message: dict, path: str = "/sns") -> Request:
    return Request(path.encode(), [(b"content-type", b"text/plain; charset=UTF-8")], json.dumps(message, ensure_ascii=False).encode())


def sns(name: str, algorithm: str = "rsa-sha256", **more: object) -> dict:
    signature = {"scheme": {"algorithm": algorithm, "sns": {}}, "keys": {"feed": "sns"}, "topics": [TOPIC]}
    return {"name": name, "match": {"path": f"/{name}"}, "require": {"signature": signature}} | more


CERTIFICATES = {"sns": {"cluster": "feeds", "authority": HOST, "path": "/SimpleNotificationService-", "certificates": True}}
SNS = {"feeds": CERTIFICATES, "policies": [
    policy("good", {"allow": [HERE]}), sns("sns", handshake="answer", duplicates={}), sns("first", "rsa-sha1"), sns("open")]}


def asked(server: FeedServer) -> list[str]:
    return [head.split(" ", 2)[1] for head in server.requests]


def learn(gateway: Gateway, path: str = "/sns") -> None:
    """The gateway gets to know the certificate, all its workers, as they would by a first message that is tried again."""
    until(lambda: all(client.h1_length(gateway.envoy.port, request(signed(fields()), path)).status == 200 for _ in range(20)), what=gateway.envoy.tail())


@pytest.fixture(scope="module")
def publisher(tmp_path_factory):
    with FeedServer(tmp_path_factory.mktemp("sns")) as server:
        server.answers = {PATH: respond(pem(KEY))}
        yield server


@pytest.fixture(scope="module")
def gateway(publisher):
    with start(publisher, SNS, concurrency=2) as gateway:
        gateway.refuses(request(signed(fields())), "host_fault")
        learn(gateway)
        assert asked(publisher) == [PATH]
        yield gateway


def test_a_message_is_delivered_once_its_certificate_is_known(gateway):
    gateway.passes(request(signed(fields())))
    gateway.passes(request(signed(fields(Subject="a subject", Message=""))))
    gateway.passes(request(signed(fields("UnsubscribeConfirmation"))))
    learn(gateway, "/open")
    first = signed(fields(SignatureVersion="1"))
    gateway.passes(request(first, "/first"))
    exchange = gateway.passes(request(sent := signed(fields(MessageId="named"))))
    assert exchange.identity["delivery-id"] == b"named"
    gateway.refuses(request(sent), "duplicate_delivery")


def without(message: dict, name: str) -> dict:
    return {key: value for key, value in message.items() if key != name}


REFUSED = {
    "another message": (lambda: signed(fields()) | {"Message": "x"}, "signature_mismatch"),
    "another key": (lambda: signed(fields(), OTHER_KEY), "signature_mismatch"),
    "a subject that was not signed": (lambda: signed(fields()) | {"Subject": "x"}, "signature_mismatch"),
    "another id": (lambda: signed(fields()) | {"MessageId": "x"}, "signature_mismatch"),
    "another topic": (lambda: signed(fields(TopicArn=TOPIC + "2")), "requirement_not_met"),
    "the first version": (lambda: signed(fields(SignatureVersion="1")), "signature_malformed"),
    "no version": (lambda: without(signed(fields()), "SignatureVersion"), "signature_malformed"),
    "another type": (lambda: signed(fields()) | {"Type": "Other"}, "signature_malformed"),
    "no signature": (lambda: fields(), "signature_missing"),
    "a signature of no base64": (lambda: signed(fields()) | {"Signature": "!"}, "signature_malformed"),
    "a short signature": (lambda: signed(fields()) | {"Signature": "AAAA"}, "signature_mismatch"),
    "no time": (lambda: without(signed(fields()), "Timestamp"), "signature_malformed"),
    "no such time": (lambda: signed(fields(Timestamp="yesterday")), "timestamp_malformed"),
    "too old": (lambda: signed(fields(age=301)), "timestamp_stale"),
    "ahead": (lambda: signed(fields(age=-120)), "timestamp_future"),
    "a line feed in the subject": (lambda: signed(fields(Subject="a\nTimestamp\nb")), "signature_malformed"),
    "a line feed in the id": (lambda: signed(fields(MessageId="a\nSubject\nb")), "signature_malformed"),
    "a certificate elsewhere": (lambda: signed(fields(SigningCertURL=f"https://example.com{PATH}")), "signature_malformed"),
    "a host that begins so": (lambda: signed(fields(SigningCertURL=f"https://{HOST}.example.com{PATH}")), "signature_malformed"),
    "another user": (lambda: signed(fields(SigningCertURL=f"https://{HOST}@example.com{PATH}")), "signature_malformed"),
    "without TLS": (lambda: signed(fields(SigningCertURL=f"http://{HOST}{PATH}")), "signature_malformed"),
    "another path": (lambda: signed(fields(SigningCertURL=f"https://{HOST}/other.pem")), "signature_malformed"),
    "a path that climbs": (lambda: signed(fields(SigningCertURL=f"https://{HOST}/SimpleNotificationService-/../x")), "signature_malformed"),
    "a path with a query": (lambda: signed(fields(SigningCertURL=f"https://{HOST}{PATH}?x=1")), "signature_malformed"),
    "a field twice": (lambda: None, "signature_malformed"),
    "a subscription elsewhere": (
        lambda: signed(fields("SubscriptionConfirmation", SubscribeURL="https://example.com/?Action=ConfirmSubscription&x=1")), "signature_malformed"),
    "a subscription to another action": (
        lambda: signed(fields("SubscriptionConfirmation", SubscribeURL=f"https://{HOST}/?Action=DeleteTopic&x=1")), "signature_malformed"),
}


@pytest.mark.parametrize("make, reason", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_message_of_the_topic_is_refused(gateway, publisher, make, reason):
    before = len(publisher.requests)
    message = make()
    if message is None:
        body = json.dumps(signed(fields()))[:-1] + ', "Type": "Notification"}'
        gateway.refuses(Request(b"/sns", [], body.encode()), reason)
    else:
        gateway.refuses(request(message), reason)
    time.sleep(0.2)
    assert len(publisher.requests) == before, "nothing of it is fetched"


def test_a_subscription_is_confirmed_by_one_request_to_the_publisher_where_the_operator_says_so(gateway, publisher):
    question = signed(fields("SubscriptionConfirmation"))
    gateway.passes(request(question, "/open"))
    mark = gateway.upstream.mark()
    sent = request(question)
    response = client.h1_length(gateway.envoy.port, sent)
    record = gateway.envoy.record(sent.test_id)
    assert (response.status, response.body, record["verdict"], record["reason"]) == (200, b"", "answer", "ok"), record
    confirmations = lambda: [path for path in asked(publisher) if "ConfirmSubscription" in path]  # noqa: E731
    until(lambda: confirmations(), what=gateway.envoy.tail())
    time.sleep(2.5)
    assert confirmations() == [f"/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t0ken"]
    assert gateway.upstream.delta(mark) == NOTHING


def test_strangers_can_have_no_more_than_one_certificate_fetched_in_five_seconds(gateway, publisher):
    before, began = len(publisher.requests), time.monotonic()
    for number in range(60):
        name = f"/SimpleNotificationService-{number:032x}.pem"
        gateway.refuses(request(signed(fields(SigningCertURL=f"https://{HOST}{name}"), OTHER_KEY)), "host_fault")
        gateway.passes(request(signed(fields())))
    time.sleep(1.5)
    fetched = len(publisher.requests) - before
    assert 1 <= fetched <= 1 + (time.monotonic() - began) / 5
    assert "the answer has the status 404: the last list of 1 keys stays" in gateway.envoy.log_text()
    gateway.passes(request(signed(fields())))


def test_a_certificate_that_came_while_a_message_was_sent_is_not_fetched_again(tmp_path):
    with FeedServer(tmp_path) as server, start(server, SNS) as gateway:
        server.answers = {PATH: respond(pem(KEY))}
        sent = request(signed(fields()))

        def parts():
            yield sent.body[:9]
            learn(gateway)
            yield sent.body[9:]

        response = client.h1(gateway.envoy.port, sent, [(b"content-length", b"%d" % len(sent.body))], parts())
        record = gateway.envoy.record(sent.test_id)
        assert (response.status, record["reason"]) == (503, "host_fault"), record
        gateway.passes(sent.again())
        # By then what is wished for would have been asked for.
        time.sleep(7)
        assert asked(server) == [PATH]


def test_a_certificate_that_has_ended_or_is_none_is_not_taken(tmp_path):
    with FeedServer(tmp_path) as server:
        for body, said in [(pem(KEY, days=-1), "the certificate is not valid now"), (b"<html>", "the answer is no certificate in PEM"),
                           (b"x" * 300_000, "the answer has more than 256 KiB")]:
            server.answers = {PATH: respond(body)}
            with start(server, SNS) as gateway:
                gateway.refuses(request(signed(fields())), "host_fault")
                until(lambda: said in gateway.envoy.log_text(), what=gateway.envoy.tail())  # noqa: B023
                gateway.refuses(request(signed(fields())), "host_fault")


# A certificate that the headers name: PayPal

WEBHOOK = "8PT597110X687430LKGECATA"
CERT = "/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270"
PAYPAL = {"algorithm": "rsa-sha256", "signature": {"header": "paypal-transmission-sig", "encoding": "base64"},
          "timestamp": {"header": "paypal-transmission-time", "unit": "rfc3339"}, "delivery_id": {"header": "paypal-transmission-id"},
          "signed": f"{{id}}|{{timestamp}}|{WEBHOOK}|{{body_crc32}}", "certificate": {"header": "paypal-cert-url"}}


def paypal(*, body: bytes = b'{"event_type": "PAYMENT.SALE.COMPLETED"}', signed_body: bytes | None = None, webhook: str = WEBHOOK, age: int = 0,
           url: str = f"https://{HOST}{CERT}", key: rsa.RSAPrivateKey = KEY, **more: str | None) -> Request:
    stamp = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"id-{next(MESSAGES)}|{stamp}|{webhook}|{zlib.crc32(body if signed_body is None else signed_body)}"
    headers = {"paypal-transmission-id": text.split("|")[0], "paypal-transmission-time": stamp, "paypal-cert-url": url,
               "paypal-transmission-sig": base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()}
    sent = {name: value for name, value in (headers | {name.replace("_", "-"): value for name, value in more.items()}).items() if value is not None}
    return Request(b"/paypal", [(name.encode(), value.encode()) for name, value in sent.items()], body)


def test_a_certificate_that_the_headers_name_is_fetched_and_verifies_the_checksum_of_the_body(tmp_path):
    config = {"feeds": {"paypal": {"cluster": "feeds", "authority": HOST, "path": "/v1/notifications/certs/", "certificates": True}}, "policies": [
        policy("good", {"allow": [HERE]}),
        {"name": "paypal", "match": {"path": "/paypal"}, "require": {"signature": {"scheme": PAYPAL, "keys": {"feed": "paypal"}}}, "duplicates": {}}]}
    with FeedServer(tmp_path) as server, start(server, config) as gateway:
        server.answers = {CERT: respond(pem(KEY))}
        gateway.refuses(paypal(), "host_fault")
        until(lambda: client.h1_length(gateway.envoy.port, paypal()).status == 200, what=gateway.envoy.tail())
        gateway.passes(paypal(body=b""))
        gateway.passes(sent := paypal())
        gateway.refuses(sent.again(), "duplicate_delivery")
        for sent, reason in [
            (paypal(signed_body=b"{}"), "signature_mismatch"),
            (paypal(webhook=WEBHOOK[::-1]), "signature_mismatch"),
            (paypal(key=OTHER_KEY), "signature_mismatch"),
            (paypal(paypal_transmission_id="another"), "signature_mismatch"),
            (paypal(age=301), "timestamp_stale"),
            (paypal(paypal_cert_url=None), "signature_malformed"),
            (paypal(url=f"https://example.com{CERT}"), "signature_malformed"),
            (paypal(url=f"https://{HOST}/v1/other/CERT-1"), "signature_malformed"),
            (paypal(paypal_transmission_sig=None), "signature_missing"),
        ]:
            gateway.refuses(sent, reason)
        assert asked(server) == [CERT]


# Key sets


def part(value: dict | bytes) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def number(value: int) -> str:
    return part(value.to_bytes((value.bit_length() + 7) // 8, "big"))


EC_KEY = ec.generate_private_key(ec.SECP256R1())


def jwk(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str) -> dict:
    public = key.public_key().public_numbers()
    if isinstance(public, rsa.RSAPublicNumbers):
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": number(public.n), "e": number(public.e)}
    return {"kty": "EC", "crv": "P-256", "kid": kid, "x": part(public.x.to_bytes(32, "big")), "y": part(public.y.to_bytes(32, "big"))}


SENDER, HOOK = "push@project.iam.gserviceaccount.com", "https://hooks.example.com/tokens"


def token(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = KEY, kid: str | None = "one", alg: str = "RS256", **more: object) -> str:
    now = int(time.time())
    claims = {"iss": "https://accounts.example.com", "aud": HOOK, "email": SENDER, "iat": now, "exp": now + 3600} | more
    content = f"{part({'alg': alg, 'typ': 'JWT'} | ({'kid': kid} if kid else {}))}.{part(claims)}"
    match alg:
        case "RS256":
            signature = key.sign(content.encode(), padding.PKCS1v15(), hashes.SHA256())
        case "ES256":
            r, s = decode_dss_signature(key.sign(content.encode(), ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        case _:
            mac = hmac.HMAC(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo), hashes.SHA256())
            mac.update(content.encode())
            signature = mac.finalize()
    return f"{content}.{part(signature)}"


def bearing(value: str, path: str = "/tokens") -> Request:
    return Request(path.encode(), [(b"authorization", f"Bearer {value}".encode()), (b"content-type", b"application/json")], b'{"message": {}}')


def tokens(name: str, algorithm: str) -> dict:
    jwt = {"header": "authorization", "prefix": "Bearer ", "required": ["exp", "iat"], "issuer": "https://accounts.example.com"}
    signature = {"scheme": {"algorithm": algorithm, "jwt": jwt}, "keys": {"feed": "keys"}, "claims": {"aud": HOOK, "email": SENDER}}
    return {"name": name, "match": {"path": f"/{name}"}, "require": {"signature": signature}}


KEYS = {"keys": {"cluster": "feeds", "authority": HOST, "path": "/certs", "key_set": True, "refresh_seconds": 1}}
TOKENS = {"feeds": KEYS, "policies": [policy("good", {"allow": [HERE]}), tokens("tokens", "rsa-sha256"), tokens("curve", "ecdsa-p256-sha256")]}


def key_set(*keys: dict) -> bytes:
    return json.dumps({"keys": keys}).encode()


def test_a_token_is_verified_by_the_key_of_the_set_that_it_names(tmp_path):
    with FeedServer(tmp_path) as server, start(server, TOKENS, concurrency=2) as gateway:
        gateway.refuses(bearing(token()), "host_fault")
        odd = {"kty": "oct", "kid": "odd", "k": "AAAA"}
        server.answer = respond(key_set(jwk(KEY, "one"), jwk(EC_KEY, "two"), odd, jwk(OTHER_KEY, "enc") | {"use": "enc"}))
        until(lambda: gateway.envoy.metric("webhook_guard_feed_prefixes", feed="keys") == 2, what=gateway.envoy.tail())
        # Each worker takes over what one has fetched.
        for _ in range(2):
            until(lambda: all(client.h1_length(gateway.envoy.port, bearing(token())).status == 200 for _ in range(20)))
        gateway.passes(bearing(token()), removed=())
        gateway.passes(bearing(token(aud=[HOOK, "another"])))
        gateway.passes(bearing(token(EC_KEY, "two", "ES256"), "/curve"))
        for sent, reason in [
            (bearing(token(kid="three")), "signature_mismatch"),
            (bearing(token(kid=None)), "signature_malformed"),
            (bearing(token(OTHER_KEY)), "signature_mismatch"),
            (bearing(token(OTHER_KEY, "enc")), "signature_mismatch"),
            (bearing(token(kid="two")), "signature_mismatch"),
            (bearing(token(alg="HS256")), "signature_malformed"),
            (bearing(token(EC_KEY, "two", "ES256")), "signature_malformed"),
            (bearing(token(email="somebody@example.com")), "requirement_not_met"),
            (bearing(token(email=None)), "requirement_not_met"),
            (bearing(token(aud="https://example.com")), "requirement_not_met"),
            (bearing(token(iss="https://accounts.example.org")), "requirement_not_met"),
            (bearing(token(exp=int(time.time()) - 1)), "timestamp_stale"),
            (Request(b"/tokens", [], b"{}"), "signature_missing"),
        ]:
            gateway.refuses(sent, reason)


SETS = {
    "no set": (b"[]", "the answer is no set of keys"), "no JSON": (b"<html>", "the answer is no set of keys"),
    "two lists": (b'{"keys": [], "keys": []}', "the answer is no set of keys"), "no key": (key_set(), "there is no key in it that could be used"),
    "none of ours": (key_set({"kty": "oct", "kid": "a", "k": "AAAA"}), "there is no key in it that could be used"),
    "a short key": (key_set(jwk(rsa.generate_private_key(65537, 1024), "one")), "there is no key in it that could be used"),  # noqa: S505
    "an id twice": (key_set(jwk(KEY, "one"), jwk(OTHER_KEY, "one")), "two of its keys have the same id"),
    "too many": (key_set(*[jwk(KEY, f"k{n}") for n in range(65)]), "there are more than 64 keys in it"),
    "too long": (key_set(jwk(KEY, "one") | {"x5c": "A" * 300_000}), "the answer has more than 256 KiB"),
}


def test_what_is_no_key_set_leaves_the_last_one_and_a_new_one_replaces_it(tmp_path):
    with FeedServer(tmp_path) as server, start(server, TOKENS) as gateway:
        server.answer = respond(key_set(jwk(KEY, "one")))
        until(lambda: client.h1_length(gateway.envoy.port, bearing(token())).status == 200, what=gateway.envoy.tail())
        for name, (body, said) in SETS.items():
            server.answer = respond(body)
            line = f"feed keys: {said}"
            until(lambda: line in gateway.envoy.log_text(), what=f"{name}: {gateway.envoy.tail()}")  # noqa: B023
            gateway.passes(bearing(token()))
            # After failures it is asked less and less often: a good answer has it asked every second again.
            server.answer = respond(key_set(jwk(KEY, "one")))
            seen = len(server.requests)
            until(lambda: len(server.requests) > seen)  # noqa: B023
        server.answer = respond(key_set(jwk(OTHER_KEY, "new")))
        until(lambda: client.h1_length(gateway.envoy.port, bearing(token(OTHER_KEY, "new"))).status == 200)
        gateway.refuses(bearing(token()), "signature_mismatch")
