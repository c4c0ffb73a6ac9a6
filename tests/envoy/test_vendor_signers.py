"""Fresh deliveries that the vendors' own libraries sign pass a real Envoy, and the same with one byte changed do not.

Fourteen libraries sign; where a vendor publishes a verifier alone, the delivery is signed here and the verifier has to
accept it before Envoy is asked. Either way it is the vendor's code, not ours, that says what a good delivery is.
"""

import hashlib
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import urlencode

import pytest

from harness import signer
from harness.client import Headers, Request
from harness.gateway import Gateway

EVENT = '{"id": "evt_1", "type": "order.created", "amount": 1200, "note": "Zoë paid 12 €"}'
FORM = {"To": "+15550001111", "From": "+15550002222", "Body": "Grüße & more", "MessageSid": "SM1", "Empty": ""}
PUBLIC_URL = "https://hooks.example.com"
KEY = hashlib.sha256(b"a key of 32 bytes").digest()
WHSEC = signer.svix_secret(KEY)
PLAIN = "a-secret-of-this-test-0b8e"
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


# Libraries that verify: each has to accept what was signed here


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


@dataclass(frozen=True)
class Vendor:
    sign: Callable[[str], dict]
    secret: str = PLAIN
    body: str = EVENT
    public_url: str | None = None


VENDORS = {
    "adyen_platforms": Vendor(adyen, KEY.hex()),
    "coinbase_commerce": Vendor(coinbase_commerce),
    "discord": Vendor(discord, _discord_public()),
    "github": Vendor(github),
    "modern_treasury": Vendor(modern_treasury),
    "paddle": Vendor(paddle),
    "polar": Vendor(polar),
    "pusher": Vendor(pusher),
    "replicate": Vendor(replicate, WHSEC),
    "resend": Vendor(resend, WHSEC),
    "retell": Vendor(retell),
    "slack": Vendor(slack),
    "standard_webhooks": Vendor(standard_webhooks, WHSEC),
    "stripe": Vendor(stripe),
    "svix": Vendor(svix, WHSEC),
    "twilio": Vendor(twilio, body=urlencode(FORM), public_url=PUBLIC_URL),
    "viber": Vendor(viber),
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
    kind = b"application/x-www-form-urlencoded" if vendor.public_url else b"application/json"
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
    at = request.body.index(b"12" if request.body.startswith(b"{") else b"1111")
    changed = request.body[:at] + b"9" + request.body[at + 1:]
    exchange = gateway.refuses(request.again(body=changed), "signature_mismatch")
    assert exchange.record["provider"] == name
