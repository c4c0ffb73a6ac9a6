"""What is sent to a gateway that is fuzzed: a guard's configuration, and deliveries for it, good and bad, of a given source of chance.

Responsible for what a request says and for whether it may reach the application. How it is framed is for `http1` and `http2`; every
signature is made by `harness.signer`, which shares no code with the guard.
"""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from random import Random
from string import ascii_letters

from harness import signer
from harness.client import Headers, Request

HOST = b"hooks.example.com"
MOST = 64 << 10
KEY = b"24-bytes-of-svix-key----"
TOKEN = "a-token-of-the-traffic"
FORM_URL = "https://hooks.example.com/hooks/form"


class Fate(Enum):
    MUST = "must pass"
    MAY = "may pass"  # it is signed as it should be, and what is around it may keep Envoy from taking it
    NEVER = "must not pass"


@dataclass
class Delivery:
    """A request, what becomes of it, and the target that the application is to see, where that is certain."""

    request: Request
    fate: Fate
    policy: str
    target: bytes

    @property
    def key(self) -> bytes:
        """What it is known by at the application. No two bodies are the same; who has none is known by its header."""
        return self.request.body or self.request.test_id.encode()


def secret(policy: str) -> str:
    return signer.svix_secret(KEY) if policy == "svix" else f"the-secret-of-the-policy-{policy}"


def _github(policy: str) -> Callable[..., Headers]:
    return lambda body, key=None, at=None: signer.github(key or secret(policy), body)


def _form(body: bytes, key: str | None = None, at: int | None = None) -> Headers:
    pairs = sorted(piece.partition(b"=")[::2] for piece in body.split(b"&"))
    tag = signer.mac(key or secret("form"), FORM_URL, *(part for pair in pairs for part in pair), digest="sha1")
    return [(b"x-twilio-signature", base64.b64encode(tag)), (b"content-type", b"application/x-www-form-urlencoded")]


# How each policy's provider signs; another key makes a forgery, and a time an old delivery.
SIGNERS: dict[str, Callable[..., Headers]] = {
    "github": _github("github"),
    "once": _github("once"),
    "hosted": _github("hosted"),
    "addressed": _github("addressed"),
    "slack": lambda body, key=None, at=None: signer.slack(key or secret("slack"), body, at=at),
    "stripe": lambda body, key=None, at=None: signer.stripe(key or secret("stripe"), body, at=at),
    "svix": lambda body, key=None, at=None: signer.svix(key.encode() if key else KEY, body, at=at),
    "form": _form,
}
# Those whose signature is over the very bytes: a form is signed without what stands between its parameters, and changed there it is still signed.
FIRM = [policy for policy in SIGNERS if policy != "form"]
EXACT = ["slack", "form"]
TIMED = ["slack", "stripe", "svix"]
PROVIDERS = {"once": "github", "hosted": "github", "addressed": "github", "form": "twilio"}
TOKENS: dict[str, dict] = {"token": {"header": "x-token"}, "query": {"query": "token"}}
SPOOFED: Headers = [(b"x-webhook-guard-verdict", b"forged"), (b"x_webhook-guard_policy", b"forged"), (b"x-webhook-guard-secret-id", b"forged")]
HARMLESS: Headers = [
    *SPOOFED, (b"x-odd", b"\xff\xfe"), (b"x-odd", b"twice"), (b"x-empty", b""), (b"x-long", b"l" * 3000), (b"cookie", b"a=b; c=d"),
    (b"x-forwarded-for", b"192.0.2.1"), (b"x-http-method-override", b"GET"), (b"x-original-url", b"/admin"),
]
ELSEWHERE = [b"/", b"/hooks", b"/hooks/", b"/admin", b"/hooks/githubx", b"/hooks/slack/more", b"/hook/github", b"/hooks/gith"]
ANOTHER_HOST = [b"example.com", b"hooks.example.com.example.org", b"hooks.example.com@example.org", b"hooks.example.com,example.org",
                b"xhooks.example.com", b"hooks.example.com:80:80", b"hooks..example.com", b"hooks.example.com..", b"[hooks.example.com]"]
ANOTHER_METHOD = [b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"post", b"TRACE"]
# Whoever reads one of them otherwise takes it for another path: what is put behind a path, or in the place of its slash or of a letter of it.
CONFUSING_ENDS = [b"/..", b"/../admin", b"/%2e%2e/admin", b"/..%2fadmin", b"/..;/admin", b";x", b"//x", b"/./x", b"/%00", b"/%5c", b"\\", b"%20",
                  b"%", b"%zz", b"\xff", b"%252f..%252f", b"/%c0%ae%c0%ae/x"]
CONFUSING_STARTS = [b"//hooks/", b"/x/../hooks/", b"/hooks/./", b"/hooks%2f", b"/%68ooks/", b"/hook%73/", b"/HOOKS/", b"/hooks\\"]
# A request that is a body, or a part of one: whoever takes the framing otherwise would see it.
INNER = b"\r\n\r\nPOST /hooks/github HTTP/1.1\r\nhost: hooks.example.com\r\ncontent-length: 0\r\n\r\n"


def guard_config(addresses: object = "127.0.0.0/8", **more: object) -> dict:
    """The policies that the deliveries are for, one of which lets in these addresses alone; `more` are members of the whole."""
    policies = []
    for name in SIGNERS:
        signature = {"provider": PROVIDERS.get(name, name), "secrets": [{"value": secret(name), "id": "current"}]}
        match = {"path": {"exact" if name in EXACT else "prefix": f"/hooks/{name}"}}
        policy = {"name": name, "match": match, "require": {"signature": signature}, "max_body_bytes": MOST}
        policy["record"] = {"body": "all", "headers": ["x-odd", "user-agent"]}
        policies.append(policy)
        if name == "form":
            signature["public_url"] = FORM_URL
        if name == "once":
            policy["duplicates"] = {}
        if name == "hosted":
            policy["match"]["hosts"] = [HOST.decode()]
        if name == "addressed":
            policy["require"]["source_ip"] = {"allow": [addresses]}
    for name, place in TOKENS.items():
        token = place | {"secrets": [{"value": TOKEN}]}
        policies.append({"name": name, "match": {"path": {"prefix": f"/hooks/{name}"}}, "require": {"token": token}, "max_body_bytes": MOST})
    return {"policies": policies} | more


class Traffic:
    """Deliveries without end, the good ones for all policies or for these. `name` is in each, so that none is like one of another traffic."""

    def __init__(self, random: Random, name: str, policies: Iterable[str] = (*SIGNERS, *TOKENS)) -> None:
        self._random, self._name, self._policies, self._count = random, name, tuple(policies), 0

    def good(self, *policies: str, size: int | None = None) -> Delivery:
        """One for any policy, or for one of these; with a body of about so many bytes."""
        policy = self._random.choice(policies or self._policies)
        test_id, path = self._id(), f"/hooks/{policy}".encode()
        body = self._body(test_id, policy, self._size() if size is None else size)
        return self._delivery(test_id, policy, path, self._sign(policy, body), body)

    def without_body(self) -> Delivery:
        """A good one that ends with its head, or whose body is empty."""
        policy = self._random.choice(["github", "slack", "svix", "token"])
        return self._delivery(self._id(), policy, f"/hooks/{policy}".encode(), self._sign(policy, b""), b"")

    def copy(self, delivery: Delivery) -> Delivery:
        """The same once more, which must not pass where each passes once."""
        return self._refused(delivery)

    def bad(self) -> Delivery:
        """One that must not pass: each is a good one with one thing wrong about it."""
        return self._random.choice([
            self.forged, self._changed, self._stale, self._tokenless, self._elsewhere, self._confusable, self._another_host,
            self._another_method, self._too_large
        ])()

    def forged(self) -> Delivery:
        """One whose signature is not that of its body, however much or little of it Envoy takes for the body."""
        good = self.good(*SIGNERS)
        signed, others = SIGNERS[good.policy], [policy for policy in SIGNERS if policy != good.policy]
        names = {name for name, _ in signed(good.request.body)}
        rest = [pair for pair in good.request.headers if pair[0] not in names]
        key, another = "the-key-of-somebody-else", self._random.choice(others)
        wrong = self._random.choice([[], signed(good.request.body, key=key), SIGNERS[another](good.request.body)])
        return self._refused(good, headers=rest + wrong)

    def _changed(self) -> Delivery:
        good = self.good(*SIGNERS)
        headers, body = good.request.headers, good.request.body
        return self._refused(good, **self._random.choice([
            {"headers": SIGNERS[good.policy](body + b"x")}, {"headers": headers * 2},
            {"headers": [(name, value.upper() + b"=") for name, value in headers]},
            {"body": body[:-1]}, {"body": body + b"x"}, {"body": b""}, {"body": body[:-1] + bytes([body[-1] ^ 1])}]))

    def _stale(self) -> Delivery:
        good, age = self.good(*TIMED), self._random.choice([-200, 400, 4000, -100_000])
        return self._refused(good, headers=SIGNERS[good.policy](good.request.body, at=signer.now() - age))

    def _tokenless(self) -> Delivery:
        good, token = self.good(*TOKENS), TOKEN.encode()
        if good.policy == "query":
            query = self._random.choice([b"", b"?token=", b"?token=another", b"?token=a&token=" + token, b"?Token=" + token, b"?token=" + token[:-1]])
            return self._refused(good, target=b"/hooks/query" + query)
        values = self._random.choice([[], [b""], [b"another"], [token, token], [token[:-1]], [token + b"x"], [token.upper()]])
        return self._refused(good, headers=[(b"x-token", value) for value in values])

    def _elsewhere(self) -> Delivery:
        return self._refused(self.good("github", "slack"), target=self._random.choice(ELSEWHERE))

    def _confusable(self) -> Delivery:
        good = self.good("github", "slack", "hosted", "token")
        name = good.policy.encode()
        target = b"/hooks/" + name + self._random.choice(CONFUSING_ENDS)
        return self._refused(good, target=self._random.choice([target, target, self._random.choice(CONFUSING_STARTS) + name]))

    def _another_host(self) -> Delivery:
        return self._refused(self.good("hosted"), host=self._random.choice(ANOTHER_HOST))

    def _another_method(self) -> Delivery:
        return self._refused(self.good("github", "token"), method=self._random.choice(ANOTHER_METHOD))

    def _too_large(self) -> Delivery:
        return self._refused(self.good("github", "stripe", "token", size=MOST + 100))

    def _refused(self, good: Delivery, **changes: object) -> Delivery:
        return Delivery(replace(good.request, test_id=self._id(), **changes), Fate.NEVER, good.policy, good.target)

    def _delivery(self, test_id: str, policy: str, path: bytes, headers: Headers, body: bytes) -> Delivery:
        if policy not in EXACT:
            path += self._random.choice([b"", b"", b"/more", b"/more/%41"])
        query = b"" if policy == "form" else self._random.choice([b"", b"", b"?a=1", b"?a=%2e%2e/&b=;"])
        target = path + query
        sent = path + (query + b"&" if query else b"?") + b"token=" + TOKEN.encode() if policy == "query" else target
        headers = [*headers, *self._random.sample(HARMLESS, self._random.choice([0, 0, 1, 3]))]
        return Delivery(Request(sent, headers, body, host=HOST, test_id=test_id), Fate.MUST, policy, target)

    def _sign(self, policy: str, body: bytes) -> Headers:
        if policy in SIGNERS:
            return SIGNERS[policy](body)
        return [(b"x-token", TOKEN.encode())] if policy == "token" else []

    def _id(self) -> str:
        self._count += 1
        return f"{self._name}.{self._count}"

    def _size(self) -> int:
        return self._random.choice([0, 10, 10, 100, 100, 1000, 5000])

    def _body(self, test_id: str, policy: str, size: int) -> bytes:
        letters = "".join(self._random.choices(ascii_letters, k=min(size, 500))) * (size // 500 + 1)
        if policy == "form":
            return f"id={test_id}&text={letters[:size]}x".encode()
        inner = INNER * (self._random.random() < 0.2)
        return f'{{"id": "{test_id}", "text": "{letters[:size]}"'.encode() + inner + self._random.choice([b"}", b"\r\n", b"\0\xff}", b"0\r\n\r\n"])
