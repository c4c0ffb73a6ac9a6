"""Fresh deliveries that the vendors' own libraries sign pass a real Envoy, and the same with one byte changed do not.

Some libraries sign; where a vendor publishes a verifier alone, the delivery is signed here and the verifier has to
accept it before Envoy is asked. Either way it is the vendor's code, not ours, that says what a good delivery is.
"""

import hashlib
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness import signer
from harness.client import Headers, Request
from harness.gateway import Gateway

EVENT = '{"id": "evt_1", "type": "order.created", "amount": 1200, "note": "Zoë paid 12 €"}'
FORM = {"To": "+15550001111", "From": "+15550002222", "Body": "Grüße & more", "MessageSid": "SM1", "Empty": ""}
PUBLIC_URL = "https://hooks.example.com"
KEY = hashlib.sha256(b"a key of 32 bytes").digest()
WHSEC = signer.svix_secret(KEY)
P256 = ec.generate_private_key(ec.SECP256R1())
PLAIN = "a-secret-of-this-test-0b8e-7f31c2"
ID = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"


def seconds() -> str:
    return str(signer.now())


def milliseconds() -> str:
    return str(int(time.time() * 1000))


# Libraries that sign


def adyen(body: str) -> dict:
    from Adyen.util import generate_payload_sig
    return {"HmacSignature": generate_payload_sig(body.encode(), KEY.hex()).decode()}


def coinbase_commerce(body: str) -> dict:
    from coinbase_commerce.webhook import WebhookSignature
    return {"X-CC-Webhook-Signature": WebhookSignature._compute_signature(body, PLAIN)}


def http_message_signatures(body: str) -> dict:
    import requests
    from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

    class Keys(HTTPSignatureKeyResolver):
        def resolve_private_key(self, key_id: str) -> bytes:
            return PLAIN.encode()

    request = requests.Request("POST", f"{PUBLIC_URL}/http_message_signatures", data=body.encode()).prepare()
    HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=Keys()).sign(
        request, key_id="key-1", covered_component_ids=("@method", "@authority", "@path", "content-digest"), body=body.encode())
    return {name: request.headers[name] for name in ("Content-Digest", "Signature-Input", "Signature")}


def modern_treasury(body: str) -> dict:
    from modern_treasury import ModernTreasury
    client = ModernTreasury(api_key="none", organization_id="none")
    return {"X-Signature": client.webhooks.get_signature(body, key=PLAIN)}


def paddle(body: str) -> dict:
    from paddle_billing.Notifications.PaddleSignature import PaddleSignature
    stamp = seconds()
    return {"Paddle-Signature": f"ts={stamp};h1={PaddleSignature.calculate_hmac(PLAIN, f'{stamp}:{body}'.encode()).hexdigest()}"}


def pusher(body: str) -> dict:
    from pusher.signature import sign
    return {"X-Pusher-Key": "key-1", "X-Pusher-Signature": sign(PLAIN, body)}


def resend(body: str) -> dict:
    from resend import Webhooks
    stamp = seconds()
    tag = Webhooks._generate_signature(KEY, f"{ID}.{stamp}.{body}".encode())
    return {"svix-id": ID, "svix-timestamp": stamp, "svix-signature": f"v1,{tag}"}


def retell(body: str) -> dict:
    from retell.lib.webhook_auth import symmetric
    return {"X-Retell-Signature": symmetric["sign"](body, PLAIN)}


def slack(body: str) -> dict:
    from slack_sdk.signature import SignatureVerifier
    stamp = seconds()
    tag = SignatureVerifier(PLAIN).generate_signature(timestamp=stamp, body=body)
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": tag}


def standard_webhooks(body: str) -> dict:
    from standardwebhooks import Webhook
    now = datetime.now(timezone.utc)
    return {"webhook-id": ID, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": Webhook(WHSEC).sign(ID, now, body)}


def stripe(body: str) -> dict:
    from stripe import WebhookSignature
    return {"Stripe-Signature": WebhookSignature.generate_signature_header(body, PLAIN)}


def svix(body: str) -> dict:
    from svix.webhooks import Webhook
    now = datetime.now(timezone.utc)
    return {"svix-id": ID, "svix-timestamp": str(int(now.timestamp())), "svix-signature": Webhook(WHSEC).sign(ID, now, body)}


def twilio(body: str) -> dict:
    from twilio.request_validator import RequestValidator
    return {"X-Twilio-Signature": RequestValidator(PLAIN).compute_signature(f"{PUBLIC_URL}/twilio", FORM)}


def viber(body: str) -> dict:
    from viberbot import Api, BotConfiguration
    api = Api(BotConfiguration(name="bot", avatar="", auth_token=PLAIN))
    return {"X-Viber-Content-Signature": api._calculate_message_signature(body.encode())}


def workos(body: str) -> dict:
    from workos.actions import _compute_signature
    stamp = milliseconds()
    return {"WorkOS-Signature": f"t={stamp}, v1={_compute_signature(f'{stamp}.{body}', PLAIN)}"}


def castle(body: str) -> dict:
    from castle.webhooks.verify import WebhooksVerify
    webhook = SimpleNamespace(data=body.encode(), headers={})
    return {"X-Castle-Signature": WebhooksVerify._compute_signature(webhook, PLAIN)}


def hubspot_v3(body: str) -> dict:
    from hubspot.utils.signature import Signature
    stamp = milliseconds()
    tag = Signature.get_signature(PLAIN, body, "v3", f"{PUBLIC_URL}/hubspot_v3", "POST", stamp)
    return {"X-HubSpot-Request-Timestamp": stamp, "X-HubSpot-Signature-v3": tag}


def mollie(body: str) -> dict:
    from mollie.utils.webhooks.signature_validator import SignatureValidator
    return {"X-Mollie-Signature": f"sha256={SignatureValidator.create_signature(body, PLAIN)}"}


def sinch(body: str) -> dict:
    from sinch.domains.authentication.sinch_events.v1 import authentication_validation as validation
    stamp = seconds()
    tag = validation.calculate_sinch_event_signature(validation.compute_signed_data(body, ID, stamp), PLAIN)
    return {"x-sinch-webhook-signature": tag, "x-sinch-webhook-signature-nonce": ID, "x-sinch-webhook-signature-timestamp": stamp}


def sinch_numbers(body: str) -> dict:
    from sinch.domains.authentication.sinch_events.v1.authentication_validation import compute_hmac_signature
    return {"x-sinch-signature": compute_hmac_signature(body, PLAIN)}


# Libraries that verify: each has to accept what was signed here


def anthropic(body: str) -> dict:
    from anthropic import Anthropic
    headers = _standard(KEY, body)
    Anthropic(api_key="none").beta.webhooks.unwrap(body, headers=headers, key=WHSEC)
    return headers


def boldsign(body: str) -> dict:
    from boldsign.webhook_utility import WebhookUtility
    header = _like_stripe(body, by="s0=")
    WebhookUtility.validate_signature(body, header, PLAIN)
    return {"X-BoldSign-Signature": header}


def creem(body: str) -> dict:
    from creem.webhooks import verify_signature
    assert verify_signature(body, _hex(body), PLAIN)
    return {"creem-signature": _hex(body)}


def cronofy(body: str) -> dict:
    from pycronofy.client import Client
    assert Client(client_secret=PLAIN).hmac_valid(_base64(body), body)
    return {"Cronofy-HMAC-SHA256": _base64(body)}


def dodo_payments(body: str) -> dict:
    from dodopayments import DodoPayments
    headers = _standard(KEY, body)
    DodoPayments(bearer_token="none").webhooks.unwrap(body, headers=headers, key=WHSEC)
    return headers


def easypost(body: str) -> dict:
    from easypost.util import validate_webhook
    headers = {"X-Hmac-Signature": f"hmac-sha256-hex={_hex(body)}"}
    validate_webhook(body.encode(), headers, PLAIN)
    return headers


def elevenlabs(body: str) -> dict:
    from elevenlabs.client import ElevenLabs
    header = _like_stripe(body, by="v0=")
    ElevenLabs(api_key="none").webhooks.construct_event(body, header, PLAIN)
    return {"ElevenLabs-Signature": header}


def finch(body: str) -> dict:
    from finch import Finch
    stamp, secret = seconds(), b64encode(KEY).decode()
    tag = b64encode(signer.mac(KEY, f"{ID}.{stamp}.{body}")).decode()
    headers = {"Finch-Event-Id": ID, "Finch-Timestamp": stamp, "Finch-Signature": f"v1,{tag}"}
    Finch(access_token="none").webhooks.verify_signature(body, headers, secret=secret)
    return headers


def gocardless(body: str) -> dict:
    from gocardless_pro.webhooks import _verify_signature
    _verify_signature(body, PLAIN, _hex(body))
    return {"Webhook-Signature": _hex(body)}


def gr4vy(body: str) -> dict:
    from gr4vy.webhooks import verify_webhook
    stamp = seconds()
    tag = _hex(f"{stamp}.{body}")
    verify_webhook(body, PLAIN, tag, stamp, 300)
    return {"X-Gr4vy-Signature": tag, "X-Gr4vy-Timestamp": stamp}


def imagekit(body: str) -> dict:
    from imagekitio import ImageKit
    headers = _standard(PLAIN.encode(), body)
    ImageKit(private_key="none").webhooks.unwrap(body, headers=headers, key=PLAIN)
    return headers


def increase(body: str) -> dict:
    from increase import Increase
    headers = _standard(PLAIN.encode(), body)
    Increase(api_key="none").events.unwrap(body, headers=headers, key=PLAIN.encode())
    return headers


def liveblocks(body: str) -> dict:
    from liveblocks.webhooks import WebhookHandler
    headers = _standard(KEY, body)
    WebhookHandler(WHSEC).verify_request(headers=headers, raw_body=body)
    return headers


def livekit(body: str) -> dict:
    from livekit.api import TokenVerifier, WebhookReceiver
    digest = b64encode(hashlib.sha256(body.encode()).digest()).decode()
    token = _token({"iss": "APIkey", "nbf": signer.now(), "exp": signer.now() + 60, "sha256": digest})
    WebhookReceiver(TokenVerifier("APIkey", PLAIN)).receive(body, token)
    return {"Authorization": token}


def mailtrap(body: str) -> dict:
    from mailtrap.webhooks import verify_signature
    assert verify_signature(body, _hex(body), PLAIN)
    return {"Mailtrap-Signature": _hex(body)}


def messagebird(body: str) -> dict:
    from messagebird.request_validator import RequestValidator
    url = f"{PUBLIC_URL}/messagebird"
    digests = {"url_hash": hashlib.sha256(url.encode()).hexdigest(), "payload_hash": hashlib.sha256(body.encode()).hexdigest()}
    token = _token({"iss": "MessageBird", "nbf": signer.now(), "exp": signer.now() + 60, "jti": ID, **digests})
    RequestValidator(PLAIN).validate_signature(token, url, body.encode())
    return {"MessageBird-Signature-JWT": token}


def orb(body: str) -> dict:
    from orb import Orb
    stamp = datetime.now(timezone.utc).replace(tzinfo=None).isoformat(timespec="milliseconds")
    headers = {"X-Orb-Timestamp": stamp, "X-Orb-Signature": "v1=" + _hex(f"v1:{stamp}:{body}")}
    Orb(api_key="none").webhooks.verify_signature(body, headers, secret=PLAIN)
    return headers


def plivo_v2(body: str) -> dict:
    from plivo.utils import validate_signature
    url = f"{PUBLIC_URL}/plivo_v2"
    tag = b64encode(signer.mac(PLAIN, f"{url}{ID}")).decode()
    assert validate_signature(url, ID, tag, PLAIN)
    return {"X-Plivo-Signature-V2": tag, "X-Plivo-Signature-V2-Nonce": ID}


def qstash(body: str) -> dict:
    from qstash import Receiver
    url, now = f"{PUBLIC_URL}/qstash", signer.now()
    digest = urlsafe_b64encode(hashlib.sha256(body.encode()).digest()).decode()
    token = _token({"iss": "Upstash", "sub": url, "iat": now, "nbf": now, "exp": now + 60, "jti": ID, "body": digest})
    Receiver(PLAIN, "the next signing key").verify(signature=token, body=body, url=url)
    return {"Upstash-Signature": token}


def razorpay(body: str) -> dict:
    from razorpay import Client
    assert Client(auth=("none", "none")).utility.verify_webhook_signature(body, _hex(body), PLAIN)
    return {"X-Razorpay-Signature": _hex(body)}


def sendgrid(body: str) -> dict:
    from sendgrid.helpers.eventwebhook import EventWebhook
    stamp = seconds()
    tag = b64encode(P256.sign(stamp.encode() + body.encode(), ec.ECDSA(hashes.SHA256()))).decode()
    verifier = EventWebhook(_p256_public())
    assert verifier.verify_signature(body, tag, stamp)
    return {"X-Twilio-Email-Event-Webhook-Signature": tag, "X-Twilio-Email-Event-Webhook-Timestamp": stamp}


def _p256_public() -> str:
    return b64encode(P256.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def square(body: str) -> dict:
    from square.utils.webhooks_helper import verify_signature
    url = f"{PUBLIC_URL}/square"
    tag = b64encode(signer.mac(PLAIN, url + body)).decode()
    assert verify_signature(request_body=body, signature_header=tag, signature_key=PLAIN, notification_url=url)
    return {"x-square-hmacsha256-signature": tag}


def stream(body: str) -> dict:
    from stream_chat.webhook import verify_signature
    assert verify_signature(body.encode(), _hex(body), PLAIN)
    return {"X-Signature": _hex(body)}


def telnyx(body: str) -> dict:
    from telnyx.lib.webhook_verification import verify_webhook_signature
    stamp = seconds()
    tag = _discord_key().sign(f"{stamp}|{body}".encode()).signature
    headers = {"telnyx-timestamp": stamp, "telnyx-signature-ed25519": b64encode(tag).decode()}
    verify_webhook_signature(body, headers, _telnyx_public())
    return headers


def _telnyx_public() -> str:
    return b64encode(_discord_key().verify_key.encode()).decode()


def terra(body: str) -> dict:
    from terra.utils.verify_signature import verify_terra_webhook_signature
    header = _like_stripe(body)
    assert verify_terra_webhook_signature(body, header, PLAIN)
    return {"terra-signature": header}


def vonage(body: str) -> dict:
    from vonage_jwt.verify_jwt import verify_signature
    digest = hashlib.sha256(body.encode()).hexdigest()
    token = _token({"iss": "Vonage", "iat": signer.now(), "jti": ID, "payload_hash": digest})
    assert verify_signature(token, PLAIN)
    return {"Authorization": f"Bearer {token}"}


def whop(body: str) -> dict:
    from whop_sdk.lib.verify_webhook import unwrap
    headers = _standard(PLAIN.encode(), body)
    unwrap(body, headers=headers, key=PLAIN)
    return headers


def discord(body: str) -> dict:
    from discord_interactions import verify_key
    stamp = seconds()
    tag = _discord_key().sign(stamp.encode() + body.encode()).signature.hex()
    assert verify_key(body.encode(), tag, stamp, _discord_public())
    return {"X-Signature-Timestamp": stamp, "X-Signature-Ed25519": tag}


def _discord_key():
    from nacl.signing import SigningKey
    return SigningKey(KEY)


def _discord_public() -> str:
    return _discord_key().verify_key.encode().hex()


def github(body: str) -> dict:
    from gidgethub.sansio import validate_event
    headers = {name.decode(): value.decode() for name, value in signer.github(PLAIN, body.encode())}
    validate_event(body.encode(), signature=headers["x-hub-signature-256"], secret=PLAIN)
    return headers


def polar(body: str) -> dict:
    from polar.webhooks import _verify_signature
    headers = _standard(KEY, body)
    _verify_signature(body, headers, WHSEC)
    return headers


def polar_text(body: str) -> dict:
    from polar.webhooks import _verify_signature
    headers = _standard(PLAIN.encode(), body)
    _verify_signature(body, headers, PLAIN)
    return headers


def replicate(body: str) -> dict:
    from replicate.webhook import Webhooks, WebhookSigningSecret
    headers = _standard(KEY, body)
    Webhooks.validate(headers=headers, body=body, secret=WebhookSigningSecret(key=WHSEC), tolerance=300)
    return headers


def _standard(key: bytes, body: str) -> dict:
    stamp = seconds()
    tag = b64encode(signer.mac(key, f"{ID}.{stamp}.{body}")).decode()
    return {"webhook-id": ID, "webhook-timestamp": stamp, "webhook-signature": f"v1,{tag}"}


def _hex(content: str) -> str:
    return signer.mac(PLAIN, content).hex()


def _base64(content: str) -> str:
    return b64encode(signer.mac(PLAIN, content)).decode()


def _like_stripe(body: str, by: str = "v1=") -> str:
    stamp = seconds()
    return f"t={stamp},{by}{_hex(f'{stamp}.{body}')}"


def _token(claims: dict) -> str:
    import jwt
    return jwt.encode(claims, PLAIN, algorithm="HS256")


@dataclass(frozen=True)
class Vendor:
    sign: Callable[[str], dict]
    secret: str = PLAIN
    body: str = EVENT
    public_url: str | None = None
    # The header to change where the body is not signed.
    signed_header: bytes | None = None


VENDORS = {
    "adyen_platforms": Vendor(adyen, KEY.hex()),
    "anthropic": Vendor(anthropic, WHSEC),
    "boldsign": Vendor(boldsign),
    "castle": Vendor(castle),
    "coinbase_commerce": Vendor(coinbase_commerce),
    "creem": Vendor(creem),
    "cronofy": Vendor(cronofy),
    "discord": Vendor(discord, _discord_public()),
    "dodo_payments": Vendor(dodo_payments, WHSEC),
    "easypost": Vendor(easypost),
    "elevenlabs": Vendor(elevenlabs),
    "finch": Vendor(finch, b64encode(KEY).decode()),
    "github": Vendor(github),
    "gocardless": Vendor(gocardless),
    "gr4vy": Vendor(gr4vy),
    "http_message_signatures": Vendor(http_message_signatures),
    "hubspot_v3": Vendor(hubspot_v3, public_url=PUBLIC_URL),
    "imagekit": Vendor(imagekit),
    "increase": Vendor(increase),
    "liveblocks": Vendor(liveblocks, WHSEC, body='{"type": "userEntered", "data": {"numActiveUsers": 12}}'),
    "livekit": Vendor(livekit, body='{"event": "room_finished", "id": "EV_12"}'),
    "mailtrap": Vendor(mailtrap),
    "messagebird": Vendor(messagebird, public_url=PUBLIC_URL),
    "modern_treasury": Vendor(modern_treasury),
    "mollie": Vendor(mollie),
    "orb": Vendor(orb),
    "paddle": Vendor(paddle),
    "plivo_v2": Vendor(plivo_v2, body=urlencode(FORM), public_url=PUBLIC_URL, signed_header=b"X-Plivo-Signature-V2-Nonce"),
    "polar": Vendor(polar, WHSEC),
    "polar_text": Vendor(polar_text),
    "pusher": Vendor(pusher),
    "qstash": Vendor(qstash),
    "razorpay": Vendor(razorpay),
    "replicate": Vendor(replicate, WHSEC),
    "resend": Vendor(resend, WHSEC),
    "retell": Vendor(retell),
    "sendgrid": Vendor(sendgrid, _p256_public()),
    "sinch": Vendor(sinch),
    "sinch_numbers": Vendor(sinch_numbers),
    "slack": Vendor(slack),
    "square": Vendor(square, public_url=PUBLIC_URL),
    "standard_webhooks": Vendor(standard_webhooks, WHSEC),
    "standard_webhooks_text": Vendor(whop),
    "stream": Vendor(stream),
    "stripe": Vendor(stripe),
    "svix": Vendor(svix, WHSEC),
    "telnyx": Vendor(telnyx, _telnyx_public()),
    "terra": Vendor(terra),
    "twilio": Vendor(twilio, body=urlencode(FORM), public_url=PUBLIC_URL),
    "viber": Vendor(viber),
    "vonage": Vendor(vonage),
    "whop": Vendor(whop),
    "workos": Vendor(workos),
}


def policy(name: str, vendor: Vendor) -> dict:
    signature = {"provider": name, "secrets": [{"env": name.upper(), "id": "of-the-vendor"}]}
    if vendor.public_url:
        signature["public_url"] = vendor.public_url
    return {"name": name, "match": {"path": f"/{name}"}, "require": {"signature": signature}}


CONFIG = {"policies": [policy(*one) for one in VENDORS.items()]}
ENVIRONMENT = {name.upper(): vendor.secret for name, vendor in VENDORS.items()}


def delivery(name: str) -> Request:
    vendor = VENDORS[name]
    headers: Headers = [(key.encode(), value.encode()) for key, value in vendor.sign(vendor.body).items()]
    kind = b"application/json" if vendor.body.startswith("{") else b"application/x-www-form-urlencoded"
    return Request(f"/{name}".encode(), [*headers, (b"content-type", kind)], vendor.body.encode())


@pytest.fixture(scope="module")
def gateway():
    with Gateway(CONFIG, good=lambda: delivery("github"), env=ENVIRONMENT) as gateway:
        yield gateway


@pytest.mark.parametrize("name", VENDORS)
def test_a_delivery_that_the_vendor_signs_passes(gateway: Gateway, name: str) -> None:
    exchange = gateway.passes(delivery(name))
    assert (exchange.record["provider"], exchange.identity["secret-id"]) == (name, b"of-the-vendor")


@pytest.mark.parametrize("name", VENDORS)
def test_a_byte_changed_in_it_is_refused(gateway: Gateway, name: str) -> None:
    request = delivery(name)
    if header := VENDORS[name].signed_header:
        headers = [(key, b"9" + value[1:] if key == header else value) for key, value in request.headers]
        gateway.refuses(request.again(headers=headers), "signature_mismatch")
        return
    at = request.body.index(b"12" if request.body.startswith(b"{") else b"1111")
    changed = request.body[:at] + b"9" + request.body[at + 1:]
    exchange = gateway.refuses(request.again(body=changed), "signature_mismatch")
    assert exchange.record["provider"] == name
