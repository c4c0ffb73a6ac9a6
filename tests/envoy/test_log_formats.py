"""Tokens and the access logs that nobody has chosen: Envoy's default format and Istio's.

Both begin with the path. What a token is to the guard has to be gone from it by then, for accepted and refused requests.
"""

import base64

import pytest

from harness import client, signer
from harness.client import Request
from harness.gateway import Gateway

TOKEN, WRONG = "s3cret-T0ken-of-the-hook", "a-Wr0ng-token-that-may-be-anothers"
ENV = {"TOKEN": TOKEN}
# Istio's EnvoyTextLogFormat (pilot/pkg/model/telemetry_logging.go).
ISTIO = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% '
    '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    '%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n')
LOGS = {"default.log": None, "istio.log": ISTIO}
BOTH = pytest.mark.parametrize("send", [client.h1_length, client.h1_chunked, client.h2_send], ids=["h1", "h1-chunked", "h2"])


def policy(name: str, token: dict, **more: object) -> dict:
    return {"name": name, "match": {"path": f"/{name}"}, "require": {"token": token | {"secrets": [{"env": "TOKEN"}]}}} | more


CONFIG = {"policies": [
    policy("query", {"query": "token"}),
    policy("report", {"query": "token"}, mode="report"),
    policy("header", {"header": "x-hook-token"}),
    policy("bearer", {"bearer": True}),
    policy("basic", {"basic": {"username": "hook"}}),
]}


def to(target: str, headers: client.Headers | None = None, **more: object) -> Request:
    return Request(target.encode(), headers or [], b"{}", **more)


def with_token(token: str) -> list[Request]:
    return [to(f"/query?a=1&token={token}&b=2"), to(f"/report?token={token}"), to("/header", [(b"x-hook-token", token.encode())]),
            to("/bearer", signer.bearer(token)), to("/basic", signer.basic("hook", token))]


# Requests that are refused before the token is looked at, or that no policy governs.
ELSEWHERE = [to(f"/query?token={TOKEN}", method=b"PUT"), to(f"/query/%2f?token={TOKEN}"), to(f"/nowhere?token={TOKEN}"),
             to(f"/query?token={TOKEN}&token={TOKEN}"), to(f"/query?tok%65n={TOKEN}"), to(f"/query?token={TOKEN}", [(b"content-encoding", b"br")])]


@pytest.fixture(scope="module", params=[True, False], ids=["held", "buffer-behind"])
def gateway(request):
    with Gateway(CONFIG, good=lambda: to("/bearer", signer.bearer(TOKEN)), env=ENV, hold=request.param, text_logs=LOGS) as gateway:
        yield gateway


def logged(gateway: Gateway, request: Request, send: client.Send) -> list[str]:
    """The line of the request in each of the logs, by its user agent."""
    request = request.again()
    agent = f"agent-of-{request.test_id}."
    send(gateway.envoy.port, request.again(headers=[*request.headers, (b"user-agent", agent.encode())]))
    return [gateway.envoy.wait_for_log(agent, name) for name in LOGS]


@BOTH
@pytest.mark.parametrize("token", [TOKEN, WRONG], ids=["accepted", "refused"])
def test_no_token_of_any_kind_is_in_a_default_log(gateway, send, token):
    forms = [token, base64.b64encode(f"hook:{token}".encode()).decode()]
    for request in with_token(token):
        path = request.target.split(b"?")[0].decode()
        for line in logged(gateway, request, send):
            assert f'"POST {path}' in line
            assert not [form for form in forms if form in line]


@BOTH
def test_no_token_is_in_a_default_log_whatever_else_the_request_is_refused_for(gateway, send):
    for request in ELSEWHERE:
        assert not [line for line in logged(gateway, request, send) if TOKEN in line]


@BOTH
def test_the_rest_of_the_query_is_there(gateway, send):
    for line in logged(gateway, to(f"/query?a=1&token={TOKEN}&b=2"), send):
        assert '"POST /query?a=1&b=2 HTTP/' in line


# Both formats prefer x-envoy-original-path to the path. From the internet Envoy takes that header away by itself; behind
# another proxy of one's own, which has rewritten the path, it is there, with the token that was in the query.

INSIDE = {"internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}}


@pytest.fixture(scope="module", params=[{}, INSIDE, {"use_remote_address": False}], ids=["edge", "internal", "no-remote-address"])
def behind(request):
    with Gateway(CONFIG, good=lambda: to("/bearer", signer.bearer(TOKEN)), env=ENV, hcm=request.param, text_logs=LOGS) as gateway:
        gateway.is_edge = request.param == {}
        yield gateway


@BOTH
def test_no_token_is_in_the_path_that_was_rewritten(behind, send):
    original = [(b"x-envoy-original-path", f"/rewritten?tok%65n={TOKEN}&a=1".encode())]
    for request in (to(f"/query?token={TOKEN}", original), to("/query?token=wrong", original), to("/nowhere", original), to("/query", original, method=b"PUT")):
        path = request.target.split(b"?")[0].decode()
        for line in logged(behind, request, send):
            assert f" {path} HTTP/" in line
            assert TOKEN not in line
    exchange = behind.passes(to(f"/query?token={TOKEN}", original), send, target=b"/query", removed=("x-envoy-original-path",))
    assert TOKEN.encode() not in exchange.delivered.head


def test_a_rewritten_path_without_token_stays(behind):
    original = (b"x-envoy-original-path", b"/rewritten?a=1&tokens=2")
    removed = ("x-envoy-original-path",) if behind.is_edge else ()
    behind.passes(to(f"/query?token={TOKEN}", [original]), target=b"/query", removed=removed)
