"""Makes the vectors of the providers that publish none.

    target/venv/bin/python tests/vectors/make.py                writes tests/vectors/<provider>.json, the same each time
    PYTHON_WITH_THE_VENDORS tests/vectors/make.py --vendors     asks the vendors' own libraries whether they agree

It is a second implementation: written from each provider's documentation with Python's hmac and the cryptography
package, it reads neither `src/core/catalogue.json` nor any Rust, so that a vector which passes shows two independent
readings of a scheme to agree. Published vectors are not its business; their files it leaves alone. To add a provider,
add a call of `provider`: how its sender makes the headers, given the key and the body.

Every secret, id and time is fixed. A provider gets three vectors: an event, an event without a body where its
deliveries can be without one, and an event that somebody with another secret signed.
"""

import base64
import hashlib
import hmac
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from unittest import mock
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

DIRECTORY = Path(__file__).parent
MADE = "with Python's hmac, hashlib and base64 from the description in the provider's documentation: nobody publishes a vector"
MADE_WITH_KEYS = MADE.replace("hmac, hashlib and base64", "cryptography package")
NOW = 1_767_225_600
SECONDS, MILLISECONDS, RFC3339 = str(NOW), str(NOW * 1000), "2026-01-01T00:00:00Z"
HTTP_DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
UUID = "7d6c9f0a-5b0e-4c1d-9a53-1f2e3d4c5b6a"
EVENT = '{"id": "evt_0001", "type": "order.created", "note": "Zoë paid 12 €"}'
FORM = "To=%2B15550001111&From=%2B15550002222&Body=Gr%C3%BC%C3%9Fe+%26+more&MessageSid=SM0001&Empty="
URL = "https://hooks.example.com/hooks/in?tenant=a%20b&n=1"
HUBSPOT_URL = "https://hooks.example.com/hooks/in?portal=1"

Headers = dict[str, str]


# What the schemes are made of


def text(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def mac(key: bytes, *parts: str | bytes, digest: str = "sha256") -> bytes:
    return hmac.new(key, b"".join(map(text, parts)), digest).digest()


def hexmac(key: bytes, *parts: str | bytes, digest: str = "sha256") -> str:
    return mac(key, *parts, digest=digest).hex()


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def b64mac(key: bytes, *parts: str | bytes, digest: str = "sha256") -> str:
    return b64(mac(key, *parts, digest=digest))


def sorted_form(body: bytes) -> str:
    """Twilio and Mandrill: the parameters by name, each name and value behind one another."""
    return "".join(name + value for name, value in sorted(parse_qsl(body.decode(), keep_blank_values=True)))


# Keys: each takes a seed and gives what an operator configures and what the sender signs with


def plain(seed: str) -> tuple[str, bytes]:
    secret = f"{seed}-{hashlib.sha256(seed.encode()).hexdigest()[:20]}"
    return secret, secret.encode()


def pair(seed: str) -> tuple[str, bytes]:
    secret = f"hooks:{plain(seed)[0]}"
    return secret, secret.encode()


def api_key(seed: str) -> tuple[str, bytes]:
    """Clearbit: what stands before the key says of what kind it is, and is no part of it."""
    secret, key = plain(seed)
    return f"sk_{secret}", key


def in_hex(seed: str) -> tuple[str, bytes]:
    key = hashlib.sha256(seed.encode()).digest()
    return key.hex(), key


def in_base64(seed: str, prefix: str = "") -> tuple[str, bytes]:
    key = hashlib.sha256(seed.encode()).digest()
    return prefix + b64(key), key


def whsec(seed: str) -> tuple[str, bytes]:
    return in_base64(seed, "whsec_")


def supabase(seed: str) -> tuple[str, bytes]:
    return in_base64(seed, "v1,whsec_")


def _ed25519(seed: str) -> tuple[bytes, ed25519.Ed25519PrivateKey]:
    private = ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())
    return private.public_key().public_bytes_raw(), private


def ed25519_hex(seed: str) -> tuple[str, ed25519.Ed25519PrivateKey]:
    public, private = _ed25519(seed)
    return public.hex(), private


def ed25519_base64(seed: str) -> tuple[str, ed25519.Ed25519PrivateKey]:
    public, private = _ed25519(seed)
    return b64(public), private


def rsa_pem(seed: str) -> tuple[str, rsa.RSAPrivateKey]:
    """A throw-away key that is the same each time, which no library would make; good enough to be signed with."""
    numbers, primes, e = random.Random(seed), [], 65537
    while len(primes) < 2:
        candidate = numbers.getrandbits(1024) | 3 << 1022 | 1
        if pow(2, candidate - 1, candidate) == 1 and candidate % e != 1:
            primes.append(candidate)
    p, q = primes
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    private = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q), public).private_key()
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.decode(), private


# Vectors


@dataclass(frozen=True)
class Provider:
    name: str
    sign: Callable[..., Headers]
    in_query: Callable[..., str] | None
    key: Callable[[str], tuple]
    body: str | Callable[[bytes], str]
    has_empty: bool
    also: Headers
    url: str | None
    now: int | None
    mismatch: str
    made: str

    def vectors(self) -> list[dict]:
        vectors = [self._vector("event", self.body)]
        if self.has_empty:
            vectors.append(self._vector("no-body", ""))
        return [*vectors, self._vector("other-secret", self.body, "another sender", self.mismatch)]

    def _vector(self, label: str, body: str | Callable[[bytes], str], signer: str | None = None, expect: str = "ok") -> dict:
        secret, key = self.key(self.name)
        if signer:
            _, key = self.key(signer)
        body = body(key) if callable(body) else body
        vector = {"name": f"{self.name.replace('_', '-')}-{label}", "made": self.made, "secret": secret,
                  "headers": self.also | self.sign(key, body.encode())}
        if self.url:
            vector |= {"url": self.url, "method": "POST"}
        if self.in_query:
            vector["target"] = f"/hooks/in?{self.in_query(key, body.encode())}"
        return vector | {"body": body, "now": self.now, "expect": expect}


PROVIDERS: dict[str, Provider] = {}


def provider(name: str, sign: Callable[..., Headers], *, key=plain, body: str | Callable[[bytes], str] = EVENT, has_empty: bool = True,
             also: Headers | None = None, url: str | None = None, now: int | None = None,
             mismatch: str = "signature_mismatch", made: str = MADE, agrees: str = "",
             in_query: Callable[..., str] | None = None) -> None:
    """`agrees` names the vendor's own library that was asked, and what in it; `--vendors` asks again."""
    made += f"; {agrees} agrees" if agrees else ""
    assert name not in PROVIDERS, name
    PROVIDERS[name] = Provider(name, sign, in_query, key, body, has_empty, also or {}, url, now, mismatch, made)


def token(name: str, header: str, **options: object) -> None:
    provider(name, lambda key, body: {header: key.decode()}, mismatch="token_mismatch", **options)


def bearer(name: str, **options: object) -> None:
    provider(name, lambda key, body: {"Authorization": f"Bearer {key.decode()}"}, mismatch="token_mismatch", **options)


def basic(name: str, **options: object) -> None:
    provider(name, lambda key, body: {"Authorization": f"Basic {b64(key)}"}, key=pair, mismatch="token_mismatch", **options)


def in_body(name: str, body: Callable[[str], dict], **options: object) -> None:
    """A token that is a value of the body."""
    provider(name, lambda key, body: {"Content-Type": "application/json"}, body=lambda key: json.dumps(body(key.decode())), has_empty=False,
             mismatch="token_mismatch", **options)


def message_signature(key: bytes, body: bytes) -> Headers:
    """RFC 9421 over the components that a webhook's must have, with a digest of RFC 9530."""
    digest = f"sha-256=:{b64(hashlib.sha256(body).digest())}:"
    parameters = f'("@method" "@authority" "@path" "content-digest");created={NOW};keyid="acme-1";alg="hmac-sha256"'
    base = f'"@method": POST\n"@authority": hooks.example.com\n"@path": /hook\n"content-digest": {digest}\n"@signature-params": {parameters}'
    return {"Content-Digest": digest, "Signature-Input": f"sig1={parameters}", "Signature": f"sig1=:{b64mac(key, base)}:"}


def standard(name: str, *, names: str = "webhook", key=whsec, **options: object) -> None:
    """Standard Webhooks, and Svix, which is the same under other names."""
    def sign(key: bytes, body: bytes) -> Headers:
        return {f"{names}-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", f"{names}-timestamp": SECONDS,
                f"{names}-signature": "v1," + b64mac(key, f"msg_2KWPBgLlAfxdpx2AI54pPJ85f4W.{SECONDS}.", body)}
    provider(name, sign, key=key, now=NOW, **options)


# Source hosts and builds

token("gitlab", "X-Gitlab-Token", also={"X-Gitlab-Event": "Push Hook", "X-Gitlab-Event-UUID": UUID})
standard("gitlab_signed", also={"X-Gitlab-Event": "Push Hook"})
provider("bitbucket_server", lambda key, body: {"X-Hub-Signature": "sha256=" + hexmac(key, body)},
         also={"X-Event-Key": "repo:refs_changed", "X-Request-Id": UUID})
provider("gitea", lambda key, body: {"X-Gitea-Signature": hexmac(key, body)},
         also={"X-Gitea-Event": "push", "X-Gitea-Delivery": UUID})
provider("forgejo", lambda key, body: {"X-Forgejo-Signature": hexmac(key, body), "X-Gitea-Signature": hexmac(key, body)},
         also={"X-Forgejo-Event": "push", "X-Forgejo-Delivery": UUID})
provider("gogs", lambda key, body: {"X-Gogs-Signature": hexmac(key, body)},
         also={"X-Gogs-Event": "push", "X-Gogs-Delivery": UUID})
basic("azure_devops")
provider("buildkite", lambda key, body: {
    "X-Buildkite-Signature": f"timestamp={SECONDS},signature={hexmac(key, f'{SECONDS}.', body)}"},
         also={"X-Buildkite-Event": "build.finished"}, now=NOW)
token("buildkite_token", "X-Buildkite-Token", also={"X-Buildkite-Event": "build.finished"})
provider("hcp_terraform", lambda key, body: {"X-TFE-Notification-Signature": hexmac(key, body, digest="sha512")})
provider("sonarqube", lambda key, body: {"X-Sonar-Webhook-HMAC-SHA256": hexmac(key, body)},
         also={"X-SonarQube-Project": "guard"})
provider("nexus", lambda key, body: {"X-Nexus-Webhook-Signature": hexmac(key, body, digest="sha1")},
         also={"X-Nexus-Webhook-Id": "rm:repository:asset", "X-Nexus-Webhook-Delivery": UUID})
token("harbor", "Authorization")
provider("snyk", lambda key, body: {"X-Hub-Signature": "sha256=" + hexmac(key, body)}, also={"X-Snyk-Event": "ping/v0"})
provider("launchdarkly", lambda key, body: {"X-LD-Signature": hexmac(key, body)})
provider("doppler", lambda key, body: {"X-Doppler-Signature": "sha256=" + hexmac(key, body)})

# Chat and voice

provider("discord", lambda key, body: {
    "X-Signature-Timestamp": SECONDS, "X-Signature-Ed25519": key.sign(SECONDS.encode() + body).hex()},
         key=ed25519_hex, now=NOW, made=MADE_WITH_KEYS, agrees="discord-interactions 0.4.0 (verify_key)")
token("telegram", "X-Telegram-Bot-Api-Secret-Token")
for name in ("meta", "whatsapp", "messenger", "instagram"):
    provider(name, lambda key, body: {"X-Hub-Signature-256": "sha256=" + hexmac(key, body)})
provider("microsoft_teams", lambda key, body: {"Authorization": "HMAC " + b64mac(key, body)}, key=in_base64)
provider("webex", lambda key, body: {"X-Spark-Signature": hexmac(key, body, digest="sha1")})
TWITCH_TIME = "2026-01-01T00:00:00.123456789Z"
provider("twitch", lambda key, body: {
    "Twitch-Eventsub-Message-Id": UUID, "Twitch-Eventsub-Message-Timestamp": TWITCH_TIME,
    "Twitch-Eventsub-Message-Signature": "sha256=" + hexmac(key, UUID, TWITCH_TIME, body)},
         also={"Twitch-Eventsub-Subscription-Type": "channel.follow"}, now=NOW)
provider("zoom", lambda key, body: {
    "x-zm-request-timestamp": SECONDS, "x-zm-signature": "v0=" + hexmac(key, f"v0:{SECONDS}:", body)}, now=NOW)
token("ringcentral", "Verification-Token")
provider("telnyx", lambda key, body: {
    "telnyx-timestamp": SECONDS, "telnyx-signature-ed25519": b64(key.sign(f"{SECONDS}|".encode() + body))},
         key=ed25519_base64, now=NOW, made=MADE_WITH_KEYS, agrees="telnyx 4.189.0 (verify_webhook_signature)")
provider("plivo_v2", lambda key, body: {
    "X-Plivo-Signature-V2-Nonce": "40418171934281", "X-Plivo-Signature-V2": b64mac(key, URL.split("?")[0], "40418171934281")},
         body=FORM, also={"Content-Type": "application/x-www-form-urlencoded"}, url=URL,
         agrees="plivo 4.63.0 (validate_signature)")

# Payments

provider("mollie", lambda key, body: {"X-Mollie-Signature": "sha256=" + hexmac(key, body)},
         agrees="mollie-api-py 1.10.20 (SignatureValidator.validate)")
provider("checkout_com", lambda key, body: {"Cko-Signature": hexmac(key, body)})
provider("lemon_squeezy", lambda key, body: {"X-Signature": hexmac(key, body)}, also={"X-Event-Name": "order_created"})
provider("authorize_net", lambda key, body: {"X-ANET-Signature": "sha512=" + hexmac(key, body, digest="sha512").upper()})
provider("paystack", lambda key, body: {"x-paystack-signature": hexmac(key, body, digest="sha512")})
provider("worldpay", lambda key, body: {
    "Event-Signature": f"2/SHA256/{hexmac(b'the key that is being phased in', body)},1/SHA256/{hexmac(key, body)}"})
token("revenuecat", "Authorization")
provider("revenuecat_signed", lambda key, body: {
    "X-RevenueCat-Webhook-Signature": f"t={SECONDS},v1={hexmac(key, f'{SECONDS}.', body)}"}, now=NOW)
basic("chargebee")
provider("wise", lambda key, body: {
    "X-Signature-SHA256": b64(key.sign(body, padding.PKCS1v15(), hashes.SHA256())), "X-Delivery-Id": UUID},
         key=rsa_pem, made=MADE_WITH_KEYS)
provider("modern_treasury", lambda key, body: {"X-Signature": hexmac(key, body)},
         agrees="modern-treasury 1.80.0 (webhooks.get_signature)")
provider("xero", lambda key, body: {"x-xero-signature": b64mac(key, body)})
provider("quickbooks", lambda key, body: {"intuit-signature": b64mac(key, body)})
standard("dodo_payments")
standard("brex", key=in_base64)
standard("polar", agrees="polar-sdk 1.0.2 (validate_event)")
standard("polar_text", key=plain, agrees="polar-sdk 1.0.2 (validate_event)")

# Shops

provider("woocommerce", lambda key, body: {"X-WC-Webhook-Signature": b64mac(key, body)},
         also={"X-WC-Webhook-Topic": "order.created", "X-WC-Webhook-Delivery-ID": UUID})
standard("bigcommerce", key=plain)
token("bigcommerce_token", "Authorization")
standard("etsy")

# Customers

provider("hubspot_v3", lambda key, body: {
    "X-HubSpot-Request-Timestamp": MILLISECONDS, "X-HubSpot-Signature-v3": b64mac(key, "POST", HUBSPOT_URL, body, MILLISECONDS)},
         url=HUBSPOT_URL, now=NOW,
         agrees="hubspot-api-client 12.0.0 (Signature.get_signature)")
provider("intercom", lambda key, body: {"X-Hub-Signature": "sha1=" + hexmac(key, body, digest="sha1")})
provider("zendesk", lambda key, body: {
    "X-Zendesk-Webhook-Signature-Timestamp": RFC3339, "X-Zendesk-Webhook-Signature": b64mac(key, RFC3339, body)},
         also={"X-Zendesk-Webhook-Invocation-Id": "8350205582"}, now=NOW)
provider("front", lambda key, body: {
    "X-Front-Request-Timestamp": MILLISECONDS, "X-Front-Signature": b64mac(key, f"{MILLISECONDS}:", body)}, now=NOW)
provider("front_rule", lambda key, body: {"X-Front-Signature": b64mac(key, body, digest="sha1")})
provider("help_scout", lambda key, body: {"X-HelpScout-Signature": b64mac(key, body, digest="sha1")},
         also={"X-HelpScout-Event": "convo.created"})
provider("customer_io", lambda key, body: {
    "X-CIO-Timestamp": SECONDS, "X-CIO-Signature": hexmac(key, f"v0:{SECONDS}:", body)}, now=NOW)
provider("klaviyo", lambda key, body: {
    "Klaviyo-Timestamp": HTTP_DATE, "Klaviyo-Signature": hexmac(key, body, HTTP_DATE)}, now=NOW)
provider("segment", lambda key, body: {"X-Signature": hexmac(key, body, digest="sha1")})
provider("attio", lambda key, body: {"Attio-Signature": hexmac(key, body)}, also={"Idempotency-Key": UUID})
provider("close", lambda key, body: {
    "close-sig-timestamp": SECONDS, "close-sig-hash": hexmac(key, SECONDS, body)}, key=in_hex, now=NOW)
provider("dixa", lambda key, body: {
    "X-DIXA-SIGNATURE": f"t={MILLISECONDS},v1={hexmac(key, f'{MILLISECONDS}.', body)}"}, key=in_hex, now=NOW)
token("salesforce", "Authorization")
basic("freshdesk")
basic("pipedrive")
basic("workspace_one")
token("gorgias", "Authorization")
basic("postmark")
basic("sparkpost")
provider("mandrill", lambda key, body: {"X-Mandrill-Signature": b64mac(key, URL, sorted_form(body), digest="sha1")},
         body="mandrill_events=%5B%7B%22event%22%3A%22open%22%2C%22msg%22%3A%22Z%C3%BCrich%22%7D%5D", url=URL,
         also={"Content-Type": "application/x-www-form-urlencoded"})
provider("nylas", lambda key, body: {"X-Nylas-Signature": hexmac(key, body)})
standard("resend", names="svix", agrees="resend 2.52.0 (Webhooks.verify)")
standard("loops")

# Work

provider("linear", lambda key, body: {"Linear-Signature": hexmac(key, body)}, has_empty=False, now=NOW,
         body=f'{{"action": "create", "data": {{"title": "Zoë\'s issue"}}, "webhookTimestamp": {MILLISECONDS}}}',
         also={"Linear-Event": "Issue", "Linear-Delivery": UUID})
provider("notion", lambda key, body: {"X-Notion-Signature": "sha256=" + hexmac(key, body)})
provider("asana", lambda key, body: {"X-Hook-Signature": hexmac(key, body)})
provider("trello", lambda key, body: {"X-Trello-Webhook": b64mac(key, body, URL, digest="sha1")}, url=URL)
provider("airtable", lambda key, body: {"X-Airtable-Content-MAC": "hmac-sha256=" + hexmac(key, body)}, key=in_base64)
provider("clickup", lambda key, body: {"X-Signature": hexmac(key, body)})
provider("calendly", lambda key, body: {
    "Calendly-Webhook-Signature": f"t={SECONDS},v1={hexmac(key, f'{SECONDS}.', body)}"}, now=NOW)
provider("cal_com", lambda key, body: {"X-Cal-Signature-256": hexmac(key, body)})
provider("typeform", lambda key, body: {"Typeform-Signature": "sha256=" + b64mac(key, body)})
provider("docusign", lambda key, body: {
    "X-DocuSign-Signature-1": b64mac(b"the first of the account's keys", body), "X-DocuSign-Signature-2": b64mac(key, body)})
provider("dropbox", lambda key, body: {"X-Dropbox-Signature": hexmac(key, body)})
for name in ("google_drive", "google_calendar"):
    token(name, "X-Goog-Channel-Token", body="", has_empty=False,
          also={"X-Goog-Resource-State": "update", "X-Goog-Channel-ID": UUID, "X-Goog-Message-Number": "10"})
provider("webflow", lambda key, body: {
    "x-webflow-timestamp": MILLISECONDS, "x-webflow-signature": hexmac(key, f"{MILLISECONDS}:", body)}, now=NOW)
provider("frame_io", lambda key, body: {
    "X-Frameio-Request-Timestamp": SECONDS, "X-Frameio-Signature": "v0=" + hexmac(key, f"v0:{SECONDS}:", body)}, now=NOW)

# The operator, who sends a message again

RESUBMIT = "x-webhook-guard-resubmit"
provider("operator", lambda key, body: {
    f"{RESUBMIT}-of": UUID, f"{RESUBMIT}-by": "anna", f"{RESUBMIT}-time": SECONDS,
    f"{RESUBMIT}-signature": "v1=" + hexmac(key, f"v1\n{SECONDS}\n{UUID}\nanna\nPOST\n/hook\n", body)},
         now=NOW, made="with Python's hmac from docs/messages.md")

# Operation

provider("sentry", lambda key, body: {"Sentry-Hook-Signature": hexmac(key, body)},
         also={"Sentry-Hook-Resource": "issue", "Sentry-Hook-Timestamp": SECONDS, "Request-ID": UUID})
basic("datadog")
provider("grafana", lambda key, body: {"X-Grafana-Alerting-Signature": hexmac(key, body)})
provider("grafana_timestamp", lambda key, body: {
    "X-Grafana-Alerting-Timestamp": SECONDS, "X-Grafana-Alerting-Signature": hexmac(key, f"{SECONDS}:", body)}, now=NOW)
provider("vercel", lambda key, body: {"x-vercel-signature": hexmac(key, body, digest="sha1")})
provider("heroku", lambda key, body: {"Heroku-Webhook-Hmac-SHA256": b64mac(key, body)})
token("cloudflare", "cf-webhook-auth")
token("new_relic", "Authorization")
token("honeycomb", "X-Honeycomb-Webhook-Token", also={"X-Honeycomb-Webhook-Delivery-ID": UUID})
bearer("alertmanager")
provider("mongodb_atlas", lambda key, body: {"X-MMS-Signature": b64mac(key, body, digest="sha1")},
         also={"X-MMS-Event": "alert.open"})
token("auth0", "Authorization")
token("okta", "Authorization")
provider("workos", lambda key, body: {
    "WorkOS-Signature": f"t={MILLISECONDS}, v1={hexmac(key, f'{MILLISECONDS}.', body)}"}, now=NOW,
         agrees="workos 10.8.0 (webhooks verify_header)")
standard("supabase_auth", key=supabase)
standard("render")

# Webhooks as a service

standard("clerk", names="svix")
provider("convoy", lambda key, body: {"X-Convoy-Signature": hexmac(key, body)})
provider("convoy_advanced", lambda key, body: {
    "X-Convoy-Signature": f"t={SECONDS},v1={hexmac(b'the secret before', f'{SECONDS},', body)},v1={hexmac(key, f'{SECONDS},', body)}"},
         now=NOW)
provider("hookdeck", lambda key, body: {
    "x-hookdeck-signature": b64mac(b"the secret before", body), "x-hookdeck-signature-2": b64mac(key, body)},
         also={"x-hookdeck-eventid": "evt_0001"})

# Models

standard("anthropic", agrees="anthropic 2.12.0 (beta.webhooks.unwrap)")
standard("replicate", agrees="replicate 1.0.7 (webhooks.validate)")
standard("recall_ai")
standard("recall_ai_svix", names="svix")
standard("google_gemini")
provider("elevenlabs", lambda key, body: {
    "ElevenLabs-Signature": f"t={SECONDS},v0={hexmac(key, f'{SECONDS}.', body)}"}, now=NOW,
         agrees="elevenlabs 2.78.0 (webhooks.construct_event)")
provider("retell", lambda key, body: {
    "x-retell-signature": f"v={MILLISECONDS},d={hexmac(key, body, MILLISECONDS)}"}, now=NOW,
         agrees="retell-sdk 6.2.13 (lib.webhook_auth.verify)")
bearer("vapi")
provider("vapi_signed", lambda key, body: {"X-Vapi-Signature": hexmac(key, body)})
token("vapi_token", "X-Vapi-Secret")
basic("deepgram", also={"dg-token": UUID})
token("hugging_face", "X-Webhook-Secret")
provider("cursor", lambda key, body: {"X-Webhook-Signature": "sha256=" + hexmac(key, body)},
         also={"X-Webhook-Event": "statusChange", "X-Webhook-ID": UUID})


# Senders that sign the body alone

HEX_OF_BODY = {
    "creem": "creem-signature", "mailtrap": "Mailtrap-Signature", "stream": "X-Signature", "plane": "X-Plane-Signature",
    "flagsmith": "X-Flagsmith-Signature", "logto": "logto-signature-sha-256",
    "phabricator": "X-Phabricator-Webhook-Signature", "checkr": "X-Checkr-Signature", "circleback": "x-signature",
    "alchemy": "X-Alchemy-Signature", "signal_sciences": "X-SigSci-Signature", "trend_micro_conformity": "X-TrendMicro-Signature",
    "veriff": "X-HMAC-Signature",
}
for name, header in HEX_OF_BODY.items():
    provider(name, lambda key, body, header=header: {header: hexmac(key, body)})
SHA256_OF_BODY = {
    "btcpay": "BTCPay-Sig", "ashby": "Ashby-Signature", "fireflies": "x-hub-signature", "confluence": "X-Hub-Signature",
    "yousign": "X-Yousign-Signature-256", "savvycal": "X-Savvycal-Signature",
}
for name, header in SHA256_OF_BODY.items():
    provider(name, lambda key, body, header=header: {header: "sha256=" + hexmac(key, body)})
BASE64_OF_BODY = {
    "tally": "Tally-Signature", "fastspring": "X-FS-Signature", "aftership": "aftership-hmac-sha256",
    "aftership_returns": "as-signature-hmac-sha256", "jobber": "X-Jobber-Hmac-SHA256", "castle": "X-Castle-Signature",
    "shiphero": "x-shiphero-hmac-sha256", "london_theatre_direct": "LTD-Webhook-Signature", "bolt": "X-Bolt-Hmac-Sha256",
}
for name, header in BASE64_OF_BODY.items():
    provider(name, lambda key, body, header=header: {header: b64mac(key, body)})
provider("greenhouse", lambda key, body: {"Signature": "sha256 " + hexmac(key, body)})
provider("rutter", lambda key, body: {"X-Rutter-Signature": "sha256=" + b64mac(key, body)})
provider("clearbit", lambda key, body: {"X-Request-Signature": "sha1=" + hexmac(key, body, digest="sha1")}, key=api_key)
provider("maxio", lambda key, body: {"X-Chargify-Webhook-Signature-Hmac-Sha-256": hexmac(key, body)},
         body="id=81&event=signup_success&payload[site][subdomain]=acme&payload[customer][first_name]=Zo%C3%AB",
         also={"Content-Type": "application/x-www-form-urlencoded"})
provider("expo", lambda key, body: {"expo-signature": "sha1=" + hexmac(key, body, digest="sha1")})
provider("autodesk", lambda key, body: {"x-adsk-signature": "sha1hash=" + hexmac(key, body, digest="sha1")},
         also={"x-adsk-delivery-id": UUID})
provider("autotask", lambda key, body: {"X-Hook-Signature": "sha1=" + b64mac(key, body, digest="sha1")})
provider("sinch_numbers", lambda key, body: {"X-Sinch-Signature": hexmac(key, body, digest="sha1")})
provider("lago", lambda key, body: {"X-Lago-Signature": b64mac(key, body), "X-Lago-Signature-Algorithm": "hmac"},
         also={"X-Lago-Unique-Key": UUID})
provider("acuity", lambda key, body: {"X-Acuity-Signature": b64mac(key, body)},
         body="action=appointment.scheduled&id=1&calendarID=1&appointmentTypeID=1",
         also={"Content-Type": "application/x-www-form-urlencoded"})
provider("cronofy", lambda key, body: {
    "Cronofy-HMAC-SHA256": f"{b64mac(b'the client secret before', body)},{b64mac(key, body)}"})
provider("oracle_commerce", lambda key, body: {"X-Oracle-CC-WebHook-Signature": b64mac(key, body, digest="sha512")})
provider("onfleet", lambda key, body: {"X-Onfleet-Signature": hexmac(key, body, digest="sha512")}, key=in_hex)
provider("recharge", lambda key, body: {"X-Recharge-Hmac-Sha256": hashlib.sha256(key + body).hexdigest()},
         also={"X-Recharge-Topic": "order/created"})
provider("pandadoc", lambda key, body: {}, in_query=lambda key, body: f"signature={hexmac(key, body)}")
provider("appwrite", lambda key, body: {"X-Appwrite-Webhook-Signature": b64mac(key, URL, body, digest="sha1")}, url=URL,
         also={"X-Appwrite-Webhook-Events": "users.*.create"})
token("documenso", "X-Documenso-Secret")
for name, header in {"highlevel": "x-wh-signature", "freshchat": "X-Freshchat-Signature"}.items():
    provider(name, lambda key, body, header=header: {header: b64(key.sign(body, padding.PKCS1v15(), hashes.SHA256()))},
             key=rsa_pem, made=MADE_WITH_KEYS)

# Senders that sign a time with it

LIKE_STRIPE = {
    # the header, what stands before the time and before the signature, the time, and what joins it with the body
    "tailscale": ("Tailscale-Webhook-Signature", "t=", "v1=", SECONDS, "."),
    "cloudflare_stream": ("Webhook-Signature", "time=", "sig1=", SECONDS, "."),
    "coinbase_cdp": ("X-Hook0-Signature", "t=", "v0=", SECONDS, "."),
    "persona": ("Persona-Signature", "t=", "v1=", SECONDS, "."),
    "shippo": ("Shippo-Auth-Signature", "t=", "v1=", SECONDS, "."),
    "boldsign": ("X-BoldSign-Signature", "t=", "s0=", SECONDS, "."),
    "tiktok": ("TikTok-Signature", "t=", "s=", SECONDS, "."),
    "terra": ("terra-signature", "t=", "v1=", SECONDS, "."),
    "langfuse": ("x-langfuse-signature", "t=", "v1=", SECONDS, "."),
    "outline": ("Outline-Signature", "t=", "s=", MILLISECONDS, "."),
    "rootly": ("X-Rootly-Signature", "t=", "v1=", SECONDS, ""),
    "moneybird": ("Moneybird-Signature", "t=", "v1=", SECONDS, "."),
    "exa": ("Exa-Signature", "t=", "v1=", SECONDS, "."),
    "fintoc": ("Fintoc-Signature", "t=", "v1=", SECONDS, "."),
    "go1": ("Go1-Signature", "t=", "v1=", SECONDS, "."),
}
for name, (header, at, by, stamp, joint) in LIKE_STRIPE.items():
    def like_stripe(key: bytes, body: bytes, header=header, at=at, by=by, stamp=stamp, joint=joint) -> Headers:
        return {header: f"{at}{stamp},{by}{hexmac(key, stamp + joint, body)}"}
    provider(name, like_stripe, now=NOW)
provider("airwallex", lambda key, body: {"x-timestamp": MILLISECONDS, "x-signature": hexmac(key, MILLISECONDS, body)}, now=NOW)
provider("port", lambda key, body: {
    "X-Port-Timestamp": SECONDS, "X-Port-Signature": "v1," + b64mac(key, f"{SECONDS}.", body)}, now=NOW)
provider("cashfree", lambda key, body: {
    "x-webhook-timestamp": MILLISECONDS, "x-webhook-signature": b64mac(key, MILLISECONDS, body)}, now=NOW)
provider("orb", lambda key, body: {
    "X-Orb-Timestamp": "2026-01-01T00:00:00.000", "X-Orb-Signature": "v1=" + hexmac(key, "v1:2026-01-01T00:00:00.000:", body)})
provider("gr4vy", lambda key, body: {
    "X-Gr4vy-Timestamp": SECONDS,
    "X-Gr4vy-Signature": f"{hexmac(b'the secret before', f'{SECONDS}.', body)},{hexmac(key, f'{SECONDS}.', body)}"}, now=NOW)
provider("docuseal", lambda key, body: {"X-Docuseal-Signature": f"{SECONDS}.{hexmac(key, f'{SECONDS}.', body)}"}, now=NOW)
provider("ghost", lambda key, body: {"X-Ghost-Signature": f"sha256={hexmac(key, body, MILLISECONDS)}, t={MILLISECONDS}"}, now=NOW)
provider("recurly", lambda key, body: {
    "recurly-signature": f"{MILLISECONDS},{hexmac(b'the secret before', f'{MILLISECONDS}.', body)},{hexmac(key, f'{MILLISECONDS}.', body)}"},
         now=NOW)
provider("chatwoot", lambda key, body: {
    "X-Chatwoot-Timestamp": SECONDS, "X-Chatwoot-Signature": "sha256=" + hexmac(key, f"{SECONDS}.", body)},
         also={"X-Chatwoot-Delivery": UUID}, now=NOW)
provider("sinch", lambda key, body: {
    "x-sinch-webhook-signature-timestamp": SECONDS, "x-sinch-webhook-signature-nonce": "01FJA8B4A7BM43YGWSG9GBV067",
    "x-sinch-webhook-signature": b64mac(key, body, f".01FJA8B4A7BM43YGWSG9GBV067.{SECONDS}")},
         also={"x-sinch-webhook-signature-algorithm": "HmacSHA256"}, now=NOW)
provider("everee", lambda key, body: {
    "x-everee-webhook-timestamp": SECONDS, "x-everee-webhook-signature": f"v1={hexmac(key, f'{SECONDS}.', body)}"}, now=NOW)
provider("revolut", lambda key, body: {
    "Revolut-Request-Timestamp": MILLISECONDS, "Revolut-Signature": f"v1={hexmac(key, f'v1.{MILLISECONDS}.', body)}"}, now=NOW)
provider("tabapay", lambda key, body: {
    "X-HMAC-Signature": f"t={SECONDS},v1={hexmac(b'the secret to come', f'{SECONDS}.', body)},v2={hexmac(key, f'{SECONDS}.', body)}"},
         now=NOW)
provider("ripple", lambda key, body: {
    "X-Webhook-Timestamp": MILLISECONDS,
    "X-Webhook-Signature": f"t={MILLISECONDS},v1={hexmac(key, f'{MILLISECONDS}.{hashlib.sha256(body).hexdigest()}')}"},
         key=in_base64, now=NOW)


def fal(key: ed25519.Ed25519PrivateKey, body: bytes) -> Headers:
    content = "\n".join([UUID, "github|1", SECONDS, hashlib.sha256(body).hexdigest()])
    return {"X-Fal-Webhook-Request-Id": UUID, "X-Fal-Webhook-User-Id": "github|1", "X-Fal-Webhook-Timestamp": SECONDS,
            "X-Fal-Webhook-Signature": key.sign(content.encode()).hex()}


provider("fal", fal, key=ed25519_hex, now=NOW, made=MADE_WITH_KEYS)

# Senders of a JSON Web Token with the body's digest


def jwt_part(value: dict | bytes) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def hs256(key: bytes, claims: dict) -> str:
    content = f"{jwt_part({'alg': 'HS256', 'typ': 'JWT'})}.{jwt_part(claims)}"
    return f"{content}.{jwt_part(mac(key, content))}"


def es256(key: ec.EllipticCurvePrivateKey, claims: dict) -> str:
    content = f"{jwt_part({'alg': 'ES256', 'typ': 'JWT', 'kid': UUID})}.{jwt_part(claims)}"
    # By RFC 6979 it is the same signature each time.
    r, s = decode_dss_signature(key.sign(content.encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return f"{content}.{jwt_part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def p256_pem(seed: str) -> tuple[str, ec.EllipticCurvePrivateKey]:
    private = ec.derive_private_key(int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big"), ec.SECP256R1())
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.decode(), private


def sha256_hex(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


provider("http_message_signatures", message_signature, now=NOW)
in_body("aircall", lambda key: {"resource": "call", "event": "call.ended", "timestamp": NOW, "token": key, "data": {"id": 812}})
in_body("microsoft_graph", lambda key: {"value": [
    {"subscriptionId": UUID, "clientState": key, "changeType": "created", "resource": "users/1/messages/2"},
    {"subscriptionId": UUID, "clientState": key, "changeType": "updated", "resource": "users/1/messages/3"}]})

provider("netlify", lambda key, body: {"X-Webhook-Signature": hs256(key, {"iss": "netlify", "sha256": sha256_hex(body)})})
provider("vonage", lambda key, body: {"Authorization": "Bearer " + hs256(key, {
    "iss": "Vonage", "iat": NOW, "jti": UUID, "payload_hash": sha256_hex(body), "api_key": "a1b2c3d4"})}, now=NOW)
provider("livekit", lambda key, body: {"Authorization": hs256(key, {
    "iss": "APIkey", "nbf": NOW, "exp": NOW + 300, "sha256": b64(hashlib.sha256(body).digest())})},
         also={"Content-Type": "application/webhook+json"}, now=NOW)
provider("qstash", lambda key, body: {"Upstash-Signature": hs256(key, {
    "iss": "Upstash", "sub": URL, "iat": NOW, "nbf": NOW, "exp": NOW + 300, "jti": UUID,
    "body": base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode()})}, now=NOW)
provider("fusionauth", lambda key, body: {"X-FusionAuth-Signature-JWT": hs256(key, {
    "request_body_sha256": b64(hashlib.sha256(body).digest())})})
provider("plaid", lambda key, body: {"Plaid-Verification": es256(key, {"iat": NOW, "request_body_sha256": sha256_hex(body)})},
         key=p256_pem, made=MADE_WITH_KEYS, now=NOW)
provider("monday", lambda key, body: {"Authorization": hs256(key, {"aud": URL, "iat": NOW, "exp": NOW + 300})}, now=NOW)

# Standard Webhooks under other names

for name in ("liveblocks", "incident_io", "fathom", "folk", "granola", "linq", "learning_360", "signatureapi", "higgsfield"):
    standard(name)
for name in ("seam", "vanta"):
    standard(name, names="svix")
for name in ("standard_webhooks_text", "increase", "whop", "imagekit"):
    standard(name, key=plain)
provider("finch", lambda key, body: {
    "Finch-Event-Id": UUID, "Finch-Timestamp": SECONDS, "Finch-Signature": "v1," + b64mac(key, f"{UUID}.{SECONDS}.", body)},
         key=in_base64, now=NOW)


# The vendors' own libraries, each asked about one vector: true, or nothing raised, means yes


def _discord(vector: dict, headers: Headers) -> bool:
    from discord_interactions import verify_key
    return verify_key(vector["body"].encode(), headers["X-Signature-Ed25519"], headers["X-Signature-Timestamp"], vector["secret"])


def _telnyx(vector: dict, headers: Headers) -> None:
    from telnyx.lib.webhook_verification import verify_webhook_signature
    verify_webhook_signature(vector["body"], headers, vector["secret"])


def _plivo_v2(vector: dict, headers: Headers) -> bool:
    from plivo.utils import validate_signature
    return validate_signature(vector["url"], headers["X-Plivo-Signature-V2-Nonce"], headers["X-Plivo-Signature-V2"], vector["secret"])


def _modern_treasury(vector: dict, headers: Headers) -> bool:
    from modern_treasury import ModernTreasury
    client = ModernTreasury(api_key="none", organization_id="none")
    return client.webhooks.validate_signature(vector["body"], headers, key=vector["secret"])


def _polar(vector: dict, headers: Headers) -> None:
    from polar.webhooks import _verify_signature
    _verify_signature(vector["body"], headers, vector["secret"])


def _mollie(vector: dict, headers: Headers) -> bool:
    from mollie.utils.webhooks.signature_validator import SignatureValidator
    return SignatureValidator.validate(vector["body"], vector["secret"], headers["X-Mollie-Signature"])


def _hubspot_v3(vector: dict, headers: Headers) -> bool:
    from hubspot.utils.signature import Signature
    stamp = headers["X-HubSpot-Request-Timestamp"]
    made = Signature.get_signature(vector["secret"], vector["body"], "v3", vector["url"], vector["method"], stamp)
    return made == headers["X-HubSpot-Signature-v3"]


def _resend(vector: dict, headers: Headers) -> None:
    from resend import Webhooks
    Webhooks.verify({"payload": vector["body"], "webhook_secret": vector["secret"], "headers": {
        key: headers[f"svix-{key}"] for key in ("id", "timestamp", "signature")}})


def _workos(vector: dict, headers: Headers) -> None:
    from workos.webhooks._verification import verify_header
    verify_header(event_body=vector["body"].encode(), event_signature=headers["WorkOS-Signature"], secret=vector["secret"])


def _anthropic(vector: dict, headers: Headers) -> None:
    from anthropic import Anthropic
    Anthropic(api_key="none").beta.webhooks.unwrap(vector["body"], headers=headers, key=vector["secret"])


def _replicate(vector: dict, headers: Headers) -> None:
    from replicate.webhook import Webhooks, WebhookSigningSecret
    Webhooks.validate(headers=headers, body=vector["body"], secret=WebhookSigningSecret(key=vector["secret"]), tolerance=300)


def _elevenlabs(vector: dict, headers: Headers) -> None:
    from elevenlabs.client import ElevenLabs
    ElevenLabs(api_key="none").webhooks.construct_event(vector["body"], headers["ElevenLabs-Signature"], vector["secret"])


def _retell(vector: dict, headers: Headers) -> bool:
    from retell.lib.webhook_auth import verify
    return verify(vector["body"], vector["secret"], headers["x-retell-signature"])


VENDORS = {
    "discord": _discord, "telnyx": _telnyx, "plivo_v2": _plivo_v2, "modern_treasury": _modern_treasury, "polar": _polar,
    "polar_text": _polar, "mollie": _mollie,
    "hubspot_v3": _hubspot_v3, "resend": _resend, "workos": _workos, "anthropic": _anthropic, "replicate": _replicate,
    "elevenlabs": _elevenlabs, "retell": _retell,
}


class _Frozen(datetime):
    @classmethod
    def now(cls, tz: timezone | None = None) -> datetime:
        return datetime.fromtimestamp(NOW, tz)


def ask_vendors() -> bool:
    """Every vendor has to accept the event that its own secret signed and to refuse the other."""
    all_agree = True
    for name, ask in VENDORS.items():
        for vector in PROVIDERS[name].vectors():
            if not vector["body"]:
                continue  # some of the libraries want JSON
            with mock.patch("time.time", lambda: float(NOW)), mock.patch("standardwebhooks.webhooks.datetime", _Frozen):
                try:
                    accepted = ask(vector, vector["headers"]) is not False
                except Exception as error:
                    if isinstance(error, ImportError):
                        raise
                    accepted = False
            agrees = accepted == (vector["expect"] == "ok")
            all_agree &= agrees
            print(f"{'agrees   ' if agrees else 'DISAGREES'} {name}: {vector['name']}")
    return all_agree


def write() -> None:
    for name, one in PROVIDERS.items():
        document = {"provider": name, "vectors": one.vectors()}
        (DIRECTORY / f"{name}.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["--vendors"]:
        sys.exit(not ask_vendors())
    write()
