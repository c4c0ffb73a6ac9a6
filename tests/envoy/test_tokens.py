"""Tokens: found where they may stand, doubted when they stand twice, and gone before anyone else reads the URL.

"Anyone else" is the upstream and the access log, for accepted and refused requests alike.
"""

import hashlib

import pytest

from harness import client, signer
from harness.client import Request
from harness.gateway import Gateway

TOKEN = "s3cret-T0ken-of-the-hook"
ESCAPED = "".join(f"%{byte:02x}" for byte in TOKEN.encode())
SECRETS = [{"env": "TOKEN", "id": "new"}, {"env": "OLD_TOKEN", "id": "old"}]
HASHED = hashlib.sha256(TOKEN.encode()).hexdigest()
BOTH = pytest.mark.parametrize("send", [client.h1_length, client.h2_send], ids=["h1", "h2"])


def policy(name: str, token: dict, *, secrets: list[dict] = SECRETS, **more: object) -> dict:
    return {"name": name, "match": {"path": f"/{name}"}, "require": {"token": token | {"secrets": secrets}}} | more


FAR = {"source_ip": {"allow": ["10.0.0.0/8"]}, "token": {"query": "token", "secrets": SECRETS}}
CONFIG = {"policies": [
    policy("query", {"query": "token"}),
    policy("hashed", {"query": "token"}, secrets=[{"sha256": HASHED}]),
    policy("kept", {"query": "token"}, forward={"token": "keep"}),
    policy("header", {"header": "X-Hook-Token"}),
    policy("bearer", {"bearer": True}),
    policy("basic", {"basic": {"username": "hook"}}),
    policy("body", {"json": "/token"}),
    policy("entries", {"json": "/items/*/token"}),
    {"name": "signed", "match": {"path": "/signed"}, "require": {"signature": {"provider": "github", "secrets": SECRETS}}},
    {"name": "open", "match": {"path": "/open"}, "require": "nothing"},
    {"name": "far", "match": {"path": "/far"}, "require": FAR},
]}


def good() -> Request:
    return Request(b"/bearer", signer.bearer(TOKEN), b"{}")


def to(target: str, headers: client.Headers | None = None) -> Request:
    return Request(target.encode(), headers or [], b'{"a": 1}')


@pytest.fixture(scope="module")
def gateway():
    with Gateway(CONFIG, good=good, env={"TOKEN": TOKEN, "OLD_TOKEN": "the-token-of-last-year"}) as gateway:
        yield gateway


ACCEPTED = {  # the query as sent, and as anyone else may see it
    "only": (f"?token={TOKEN}", ""),
    "first": (f"?token={TOKEN}&a=1&b=%20x+y", "?a=1&b=%20x+y"),
    "middle": (f"?a=1&token={TOKEN}&b=2", "?a=1&b=2"),
    "last": (f"?a=1&token={TOKEN}", "?a=1"),
    "escaped-name": (f"?a=1&%74o%6Ben={TOKEN}", "?a=1"),
    "escaped-value": (f"?token={ESCAPED}&a=%41", "?a=%41"),
    "old-secret": ("?token=the-token-of-last-year&a=1", "?a=1"),
    "odd-rest": (f"?a&&b=&=c&token={TOKEN}&&d", "?a&&b=&=c&&d"),
    "question-marks": (f"?a=b?c&token={TOKEN}&d=?", "?a=b?c&d=?"),
    "similar-names": (f"?tokens=1&Token=2&xtoken=3&token={TOKEN}", "?tokens=1&Token=2&xtoken=3"),
    "escapes-in-the-rest": (f"?a=%00&b=%2F&%=%&token={TOKEN}&c=%zz", "?a=%00&b=%2F&%=%&c=%zz"),
    "before-an-empty-one": (f"?token={TOKEN}&", ""),
    "behind-an-empty-one": (f"?&token={TOKEN}", ""),
}
REFUSED = {  # the query as sent, the reason, and the query as the access log may have it
    "no-query": ("", "token_missing", ""),
    "other-parameters": ("?a=1&tokens=2", "token_missing", "?a=1&tokens=2"),
    "wrong": ("?a=1&token=wrong&b=2", "token_mismatch", "?a=1&b=2"),
    "wrong-by-one-letter": (f"?token={TOKEN[:-1]}j", "token_mismatch", ""),
    "prefix": (f"?token={TOKEN[:-1]}", "token_mismatch", ""),
    "longer": (f"?token={TOKEN}x", "token_mismatch", ""),
    "escaped-twice": (f"?token={ESCAPED.replace('%', '%25')}", "token_mismatch", ""),
    "twice-the-same": (f"?token={TOKEN}&a=1&token={TOKEN}", "token_ambiguous", "?a=1"),
    "twice-right-and-wrong": (f"?token={TOKEN}&token=wrong", "token_ambiguous", ""),
    "twice-with-an-escape": (f"?token={TOKEN}&tok%65n=wrong", "token_ambiguous", ""),
}


@BOTH
@pytest.mark.parametrize("query, rest", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_query_token_is_verified_and_stripped(gateway, send, query, rest):
    exchange = gateway.passes(to(f"/query{query}"), send, target=f"/query{rest}".encode())
    assert exchange.record["path"] == f"/query{rest}"


@BOTH
@pytest.mark.parametrize("query, reason, rest", REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_query_token_is_stripped_from_the_log(gateway, send, query, reason, rest):
    exchange = gateway.refuses(to(f"/query{query}"), reason, send=send)
    assert exchange.record["path"] == f"/query{rest}"


@pytest.mark.parametrize("value", ["?token=", "?token"], ids=["empty", "no-equals-sign"])
def test_an_empty_query_token_is_refused(gateway, value):
    exchange = gateway.refuses(to(f"/query{value}"), "token_mismatch")
    assert exchange.record["path"] == "/query"


def test_a_token_is_stripped_from_the_log_when_something_else_failed_first(gateway):
    exchange = gateway.refuses(to(f"/far?a=1&token={TOKEN}"), "source_ip_not_allowed")
    assert exchange.record["path"] == "/far?a=1"
    exchange = gateway.refuses(to(f"/query?a=1&token={TOKEN}").again(method=b"PUT"), "method_not_allowed")
    assert exchange.record["path"] == "/query?a=1"


ELSEWHERE = {  # a target, the reason, and the target as the access log may have it
    "another-policy": (f"/header?a=1&token={TOKEN}", "token_missing", "/header?a=1"),
    "no-policy": (f"/nowhere?token={TOKEN}", "no_policy", "/nowhere"),
    "kept": (f"/kept?token={TOKEN}x", "token_mismatch", "/kept"),
    "semicolon": (f"/query?a;token={TOKEN}", "token_missing", "/query?a"),
    "semicolon-elsewhere": (f"/bearer?a;token={TOKEN};b&c", "token_missing", "/bearer?a&c"),
    "html-escape": (f"/query?a&amp;token={TOKEN}", "token_missing", "/query?a&amp"),
    "escaped-separator": (f"/query?a%26token={TOKEN}", "token_missing", "/query?a"),
    "escaped-separator-twice": (f"/query?a%2526token%253D{TOKEN}", "token_missing", "/query?a"),
    "escaped-name": (f"/header?tok%2565n={TOKEN}", "token_missing", "/header"),
    "another-case": (f"/query?Token={TOKEN}", "token_missing", "/query"),
    "array": (f"/query?token[]={TOKEN}", "token_missing", "/query"),
    "in-the-path": (f"/query&token={TOKEN}", "no_policy", "/query"),
    "escaped-question-mark": (f"/query%3ftoken={TOKEN}", "no_policy", "/query"),
    "path-parameter": (f"/query;token={TOKEN}", "path_malformed", "/query"),
    "by-the-body": (f"/signed?a=1&token={TOKEN}", "signature_mismatch", "/signed?a=1"),
}


@BOTH
@pytest.mark.parametrize("target, reason, rest", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_no_refused_request_is_logged_with_a_token_of_any_policy(gateway, send, target, reason, rest):
    headers = signer.github("another-secret-of-32-characters-", b"other") if target.startswith("/signed") else []
    exchange = gateway.refuses(to(target, headers), reason, send=send)
    assert exchange.record["path"] == rest


def test_what_goes_on_keeps_the_parameters_of_its_own(gateway):
    """The name is another policy's; here it is the application's, and the operator may log it."""
    gateway.passes(to("/open?a;token=1&token=of-the-app&b"))


def test_a_hash_in_the_configuration_is_enough(gateway):
    gateway.passes(to(f"/hashed?token={TOKEN}"), target=b"/hashed")
    gateway.refuses(to(f"/hashed?token={HASHED}"), "token_mismatch")


def test_a_token_can_be_kept_for_the_app(gateway):
    gateway.passes(to(f"/kept?a=1&token={TOKEN}"))


def test_the_operator_reads_which_secret_matched(gateway):
    assert gateway.passes(to(f"/query?token={TOKEN}"), target=b"/query").record["secret_id"] == "new"
    assert gateway.passes(to("/query?token=the-token-of-last-year"), target=b"/query").record["secret_id"] == "old"


def header(value: str) -> client.Headers:
    return [(b"x-hook-token", value.encode())]


def authorization(value: str) -> client.Headers:
    return [(b"authorization", value.encode())]


IN_HEADERS = {
    "header": ("/header", header(TOKEN), "x-hook-token"),
    "bearer": ("/bearer", signer.bearer(TOKEN), "authorization"),
    "bearer-lower-case": ("/bearer", authorization(f"bearer {TOKEN}"), "authorization"),
    "basic": ("/basic", signer.basic("hook", TOKEN), "authorization"),
}
REFUSED_IN_HEADERS = {
    "header-missing": ("/header", [], "token_missing"),
    "header-wrong": ("/header", header("wrong"), "token_mismatch"),
    "header-twice": ("/header", header(TOKEN) * 2, "token_ambiguous"),
    "header-list": ("/header", header(f"{TOKEN}, {TOKEN}"), "token_mismatch"),
    "header-token-in-the-query": ("/header?x-hook-token=any", [], "token_missing"),
    "bearer-missing": ("/bearer", [], "token_missing"),
    "bearer-wrong": ("/bearer", signer.bearer("wrong"), "token_mismatch"),
    # Envoy itself joins the values of `authorization` with a comma.
    "bearer-twice": ("/bearer", signer.bearer(TOKEN) * 2, "token_ambiguous"),
    "bearer-as-basic": ("/bearer", signer.basic("hook", TOKEN), "token_missing"),
    "basic-wrong-password": ("/basic", signer.basic("hook", "wrong"), "token_mismatch"),
    "basic-wrong-name": ("/basic", signer.basic("hool", TOKEN), "token_mismatch"),
    "basic-as-bearer": ("/basic", signer.bearer(TOKEN), "token_missing"),
    "basic-twice": ("/basic", signer.basic("hook", TOKEN) * 2, "token_ambiguous"),
}


@BOTH
@pytest.mark.parametrize("path, headers, name", IN_HEADERS.values(), ids=IN_HEADERS.keys())
def test_a_header_token_is_verified_and_removed(gateway, send, path, headers, name):
    gateway.passes(to(path, headers), send, removed=(name,))


@BOTH
@pytest.mark.parametrize("path, headers, reason", REFUSED_IN_HEADERS.values(), ids=REFUSED_IN_HEADERS.keys())
def test_a_refused_header_token(gateway, send, path, headers, reason):
    gateway.refuses(to(path, headers), reason, send=send)


def entries(*tokens: str) -> str:
    return f'{{"items": [{", ".join(f"""{{"token": "{token}"}}""" for token in tokens)}]}}'


IN_BODIES = {
    "a member": ("/body", f'{{"event": "a", "token": "{TOKEN}", "x": {{"token": "no"}}}}', "ok"),
    "another secret": ("/body", '{"token": "the-token-of-last-year"}', "ok"),
    "a wrong one": ("/body", f'{{"token": "{TOKEN}x"}}', "token_mismatch"),
    "no string": ("/body", '{"token": null}', "token_mismatch"),
    "none": ("/body", f'{{"event": "{TOKEN}"}}', "token_missing"),
    "deeper": ("/body", f'{{"x": {{"token": "{TOKEN}"}}}}', "token_missing"),
    "twice": ("/body", f'{{"token": "no", "token": "{TOKEN}"}}', "token_ambiguous"),
    "twice in disguise": ("/body", f'{{"token": "{TOKEN}", "\\u0074oken": "no"}}', "token_ambiguous"),
    "no JSON": ("/body", TOKEN, "token_missing"),
    "no body": ("/body", "", "token_missing"),
    "every entry": ("/entries", entries(TOKEN, "the-token-of-last-year", TOKEN), "ok"),
    "one wrong entry": ("/entries", entries(*[TOKEN] * 40, "no"), "token_mismatch"),
    "one entry without": ("/entries", f'{{"items": [{{"token": "{TOKEN}"}}, {{}}]}}', "token_missing"),
    "no entry": ("/entries", entries(), "token_missing"),
    "the list twice": ("/entries", f'{entries(TOKEN)[:-1]}, "items": []}}', "token_ambiguous"),
}


@pytest.mark.parametrize("path, body, reason", IN_BODIES.values(), ids=IN_BODIES.keys())
def test_a_token_in_the_body_is_verified_and_stays_there(gateway, path, body, reason):
    for send in (client.h1_length, client.h1_chunked, client.h2_send):
        request = Request(path.encode(), [(b"content-type", b"application/json")], body.encode())
        if reason == "ok":
            gateway.passes(request, send)
        else:
            gateway.refuses(request, reason, send=send)


def test_no_token_in_any_log(gateway):
    """Runs last in this module. `/kept` is the one policy that leaves its token where it was."""
    paths = " ".join(record["path"] for record in gateway.envoy.access_log() if not record["path"].startswith("/kept"))
    for text in (TOKEN, ESCAPED, HASHED):
        assert text not in gateway.envoy.log_text()
        assert text not in paths
