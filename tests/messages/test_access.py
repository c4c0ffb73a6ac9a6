"""Who may see messages and send them again, and what another web page cannot make a browser do."""

import base64
import datetime
import hashlib
import http.client
import json
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness.messages import Messages, run
from harness.records import Exporter, body

TOKENS = {"lena": "token-of-lena-who-lists", "paul": "token-of-paul-with-payloads", "rita": "token-of-rita-who-resends"}
MAY = {"lena": ["list"], "paul": ["list", "payload"], "rita": ["list", "payload", "resubmit"]}


def access_file(folder) -> str:
    users = [{"name": name, "token_sha256": hashlib.sha256(token.encode()).hexdigest(), "may": MAY[name]} for name, token in TOKENS.items()]
    (folder / "access.json").write_text(json.dumps({"users": users}))
    return str(folder / "access.json")


def basic(name: str, token: str | None = None) -> dict[str, str]:
    pair = f"{name}:{TOKENS[name] if token is None else token}"
    return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("access")
    (folder / "key").write_text("operator-key-0123456789\n")
    with Messages(folder, "--access", access_file(folder), "--gateway", "http://127.0.0.1:1", "--operator-key-file", str(folder / "key")) as messages:
        with Exporter(messages.otlp) as exporter:
            exporter.send({"request_id": "one", "headers": '{"x-event":"push"}'} | body(b'{"secret": "of the payload"}'))
        yield messages


@pytest.mark.parametrize("headers", [
    {}, basic("lena", "guess"), basic("lena", ""), {"authorization": "Bearer guess"}, {"authorization": "Basic !"},
    {"authorization": "Basic " + base64.b64encode(b"nobody:token-of-lena-who-lists").decode()}])
@pytest.mark.parametrize("path", ["/", "/page.js", "/api/messages", "/api/messages/1", "/api/messages/1/body", "/api/hours", "/api/live"])
def test_nobody_comes_in_without_a_token(messages, headers, path):
    answer = messages.ask(path, headers=headers)
    assert (answer.status, b"one" in answer.body) == (401, False)
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_each_may_do_what_the_file_says(messages):
    for name, may in MAY.items():
        ask = lambda path, name=name, **more: messages.ask(path, headers=basic(name) | {"origin": messages.url}, **more)  # noqa: E731
        assert ask("/api/messages").status == 200
        detail = ask("/api/messages/1").json
        assert (detail["payload"] is not None) == ("payload" in may)
        assert ("of the payload" in json.dumps(detail)) == ("payload" in may)
        assert ask("/api/messages/1/body").status == (200 if "payload" in may else 403)
        # What is in a payload is not to be found out by searching for it either.
        assert ask("/api/messages?q=payload").status == (200 if "payload" in may else 403)
        # 502: nobody listens at the gateway.
        assert ask("/api/messages/1/resubmit", method="POST", body=b"").status == (502 if "resubmit" in may else 403)
    detail = messages.ask("/api/messages/1", headers=basic("rita")).json
    assert [(one["by"], one["status"]) for one in detail["resubmits"]] == [("rita", None)], "who may not is not on record either"


def test_another_page_can_neither_read_nor_do_anything(messages):
    resubmit = {"method": "POST", "path": "/api/messages/1/resubmit", "body": b""}
    for headers, status in [
            ({"host": "evil.example"}, 421), ({"host": f"evil.example:{messages.port}"}, 421), ({"host": None}, 421), ({"host": "localhost"}, 421),
            ({"origin": "http://evil.example"}, 403), ({"origin": "null"}, 403), ({"origin": f"https://127.0.0.1:{messages.port}"}, 403),
            ({"sec-fetch-site": "cross-site"}, 403), ({"sec-fetch-site": "same-site"}, 403), ({}, 403)]:
        assert messages.ask(**resubmit, headers=basic("rita") | headers).status == status, headers
        if headers and status != 400:
            assert messages.ask("/api/messages", headers=basic("rita") | headers).status == status, headers
    # What a browser never adds by itself needs no origin.
    assert messages.ask(**resubmit, headers={"authorization": f"Bearer {TOKENS['rita']}"}).status == 502


def test_every_answer_keeps_what_strangers_wrote_from_being_more_than_text(messages):
    for path in ("/", "/page.js", "/page.css", "/icon.svg", "/api/messages", "/api/messages/1", "/api/messages/1/body", "/nowhere", "/api/messages/x"):
        for headers in (basic("rita"), {}):
            got = messages.ask(path, headers=headers).headers
            policy = got["content-security-policy"].split("; ")
            assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'",
                    "require-trusted-types-for 'script'"} <= set(policy)
            assert "unsafe" not in got["content-security-policy"]
            assert (got["x-content-type-options"], got["referrer-policy"], got["cache-control"]) == ("nosniff", "no-referrer", "no-store")
            assert "access-control-allow-origin" not in got
    got = messages.ask("/api/messages/1/body", headers=basic("rita")).headers
    assert (got["content-type"], got["content-disposition"]) == ("application/octet-stream", 'attachment; filename="message-1.bin"')


def test_what_is_no_question_has_an_answer(messages):
    for path, status in [("/api/messages?limit=x", 400), ("/api/messages?nonsense=1", 400), ("/api/messages/99", 404), ("/api/messages/x", 400),
                         ("/api/messages?status=oops", 200), ("/api/messages?q=%22%29%28*%22+OR+NEAR", 200), ("/api/messages?q=%00%ff", 200),
                         ("/api/messages?limit=4294967295", 200), ("/api/messages?before=-9223372036854775808", 200), ("/nowhere", 404)]:
        assert messages.ask(path, headers=basic("rita")).status == status, path


@pytest.mark.parametrize("arguments, complaint", [
    (["--listen", "0.0.0.0:0"], "--access must say who may do what"),
    (["--listen", "0.0.0.0:0", "--access", "ACCESS"], "--tls-cert and --tls-key, or --proxy"),
    (["--listen", "0.0.0.0:0", "--access", "ACCESS", "--proxy", "10.0.0.1"], "--public-url"),
    (["--otlp", "0.0.0.0:0"], "--otlp-token-file"),
    (["--access", "NOBODY"], "users: must not be empty"),
    (["--access", "WRONG"], "unknown field `password`"),
    (["--gateway", "http://h/path", "--operator-key-file", "KEY"], "without a path"),
    (["--gateway", "http://h", "--operator-key-file", "SHORT"], "at least 16"),
    (["--name", "a b"], "--name"),
])
def test_what_would_let_strangers_in_does_not_start(tmp_path, arguments, complaint):
    (tmp_path / "nobody").write_text('{"users": []}')
    (tmp_path / "wrong").write_text('{"users": [{"name": "a", "password": "b", "may": []}]}')
    (tmp_path / "key").write_text("operator-key-0123456789\n")
    (tmp_path / "short").write_text("short\n")
    names = {"ACCESS": access_file(tmp_path), "NOBODY": tmp_path / "nobody", "WRONG": tmp_path / "wrong", "KEY": tmp_path / "key", "SHORT": tmp_path / "short"}
    arguments = [str(names.get(one, one)) for one in arguments]
    if "--listen" not in arguments:
        arguments += ["--listen", "127.0.0.1:0"]
    answer = run("serve", "--database", str(tmp_path / "messages.db"), *arguments)
    assert answer.returncode == 2 and complaint in answer.stderr, answer.stderr


def test_others_reach_it_over_tls_alone(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "messages.example.com")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1).not_valid_before(
        now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1)).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("messages.example.com")]), critical=False).sign(key, hashes.SHA256())
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    arguments = ["--access", access_file(tmp_path), "--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    with Messages(tmp_path, *arguments, "--public-url", "https://messages.example.com") as messages:
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        context.check_hostname = False
        for host, headers, status in [("messages.example.com", basic("lena"), 200), ("messages.example.com", {}, 401), ("evil.example", basic("lena"), 421)]:
            connection = http.client.HTTPSConnection("127.0.0.1", messages.port, context=context, timeout=10)
            connection.request("GET", "/api/messages", headers={"host": host} | headers)
            assert connection.getresponse().status == status, host
        with pytest.raises((http.client.HTTPException, OSError)):
            connection = http.client.HTTPConnection("127.0.0.1", messages.port, timeout=10)
            connection.request("GET", "/")
            connection.getresponse()
