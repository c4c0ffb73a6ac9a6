"""Signs webhooks the way the providers do, from their documentation and with the standard library alone.

It is deliberately a second implementation: it shares no code and no data with the Rust crate, so that a test
which passes shows two independent readings of a provider's scheme to agree. It knows nothing of policies or verdicts.
"""

import base64
import hashlib
import hmac
import time

Headers = list[tuple[bytes, bytes]]


def now() -> int:
    return int(time.time())


def mac(secret: str | bytes, *parts: str | bytes, digest: str = "sha256") -> bytes:
    """The HMAC over `parts` joined; text counts as UTF-8."""
    return hmac.new(_bytes(secret), b"".join(map(_bytes, parts)), getattr(hashlib, digest)).digest()


def flip_bit(digest: bytes) -> bytes:
    """The same digest with its very last bit turned: the smallest forgery there is."""
    return digest[:-1] + bytes([digest[-1] ^ 1])


def github(secret: str, body: bytes, *, delivery: str = "72d3162e-cc78-11e3-81ab-4c9367dc0958", flip: bool = False) -> Headers:
    digest = mac(secret, body)
    return [
        (b"x-hub-signature-256", b"sha256=" + _hex(flip_bit(digest) if flip else digest)),
        (b"x-github-delivery", _bytes(delivery)),
        (b"x-github-event", b"push"),
    ]


def bitbucket(secret: str, body: bytes, *, delivery: str = "c1c1c1c1-0001") -> Headers:
    return [(b"x-hub-signature", b"sha256=" + _hex(mac(secret, body))), (b"x-request-uuid", _bytes(delivery))]


def slack(secret: str, body: bytes, *, at: int | None = None) -> Headers:
    stamp = str(now() if at is None else at)
    return [
        (b"x-slack-request-timestamp", _bytes(stamp)),
        (b"x-slack-signature", b"v0=" + _hex(mac(secret, f"v0:{stamp}:", body))),
    ]


def stripe(secret: str, body: bytes, *, at: int | None = None, decoys: list[bytes] | None = None) -> Headers:
    """`decoys` are further v1 candidates, sent in front of the true one."""
    stamp = str(now() if at is None else at)
    candidates = [*(decoys or []), _hex(mac(secret, f"{stamp}.", body))]
    return [(b"stripe-signature", b",".join([b"t=" + _bytes(stamp), *(b"v1=" + c for c in candidates)]))]


def svix(key: bytes, body: bytes, *, delivery: str = "msg_1", at: int | None = None, decoys: list[bytes] | None = None) -> Headers:
    """`key` is the decoded key; a configuration holds `svix_secret(key)`."""
    stamp = str(now() if at is None else at)
    true = base64.b64encode(mac(key, f"{delivery}.{stamp}.", body))
    return [
        (b"svix-id", _bytes(delivery)),
        (b"svix-timestamp", _bytes(stamp)),
        (b"svix-signature", b" ".join(b"v1," + c for c in [*(decoys or []), true])),
    ]


def svix_secret(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def gitlab_token(token: str) -> Headers:
    return [(b"x-gitlab-token", _bytes(token))]


def bearer(token: str) -> Headers:
    return [(b"authorization", b"Bearer " + _bytes(token))]


def basic(username: str, password: str) -> Headers:
    return [(b"authorization", b"Basic " + base64.b64encode(_bytes(f"{username}:{password}")))]


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _hex(digest: bytes) -> bytes:
    return digest.hex().encode()
