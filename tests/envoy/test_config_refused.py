"""A configuration that could be misread is refused as a whole, with one log line that says where and what.

Refused means that Envoy does not start: a typing error never degrades to "unguarded". Each row is one small fault in
a configuration that is otherwise good.
"""

import copy
import json

import pytest

from harness import client, signer
from harness.client import Request
from harness.envoy import LINE, LOGGER, Envoy, EnvoyRefused, bootstrap
from harness.gateway import Gateway

SECRET = "a-secret-that-is-32-characters-x"
ENV = {"SECRET": SECRET, "EMPTY": "", "NEWLINE": "\n", "PLACEHOLDER": "changeme", "UNEXPANDED": "${GITHUB_SECRET}"}
GOOD = {"policies": [{
    "name": "github",
    "match": {"path": {"prefix": "/v1"}},
    "require": {
        "source_ip": {"allow": ["127.0.0.0/8"]},
        "signature": {"provider": "github", "secrets": [{"env": "SECRET"}]},
    },
}]}
REQUIRE = ["policies", 0, "require"]
SECRETS = [*REQUIRE, "signature", "secrets"]


def signed(body: bytes = b"{}") -> Request:
    return Request(b"/v1", signer.github(SECRET, body), body)


def changed(path: list[str | int], value: object) -> dict:
    """The good configuration with `value` at `path`."""
    config = copy.deepcopy(GOOD)
    inner = config
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return config


def refusal(config: dict | str, **options: object) -> str:
    """What Envoy logs instead of starting."""
    with pytest.raises(EnvoyRefused) as refused, Envoy(bootstrap(config, upstream_port=1, env=ENV, **options)):
        pass
    return refused.value.log


ROWS = {  # the configuration, the place, and words that must stand behind it
    "cidr": (changed([*REQUIRE, "source_ip", "allow"], ["10.0.0.1/33"]),
             'policies[0].require.source_ip.allow[0]: "10.0.0.1/33" is neither an IP address nor a CIDR block', []),
    "host-bits": (changed([*REQUIRE, "source_ip", "allow"], ["127.0.0.1", "10.0.0.1/8"]),
                  "policies[0].require.source_ip.allow[1]: ", ["10.0.0.0/8"]),
    "empty-list": (changed([*REQUIRE, "source_ip", "allow"], []), "policies[0].require.source_ip.allow: ", []),
    "empty-policies": ({"policies": []}, "policies: ", []),
    "empty-requirement": (changed(REQUIRE, {}), "policies[0].require: ", []),
    "unknown-key": (changed(["policies", 0, "requires"], {}), "policies[0]", ["requires", "require"]),
    "unknown-key-in-match": (changed(["policies", 0, "match", "method"], ["POST"]), "policies[0].match", ["method", "methods"]),
    "wrong-type": (changed(["policies", 0, "max_body_bytes"], "1"), "policies[0].max_body_bytes: ", []),
    "unknown-provider": (changed([*REQUIRE, "signature", "provider"], "githb"), "policies[0].require.signature.provider: ", ["githb", "github"]),
    "bad-name": (changed(["policies", 0, "name"], "Git Hub"), "policies[0].name: ", []),
    "same-name": ({"policies": [GOOD["policies"][0], changed(["policies", 0, "match"], {"path": "/v2"})["policies"][0]]}, "policies[1].name", ["earlier policy"]),
    "same-match": ({"policies": [GOOD["policies"][0], changed(["policies", 0, "name"], "other")["policies"][0]]}, "policies[1]", ["github"]),
    "secret-unset": (changed(SECRETS, [{"env": "UNSET"}]), "policies[0].require.signature.secrets[0]", ["UNSET"]),
    "secret-empty": (changed(SECRETS, [{"env": "SECRET"}, {"env": "EMPTY"}]), "policies[0].require.signature.secrets[1]", ["empty"]),
    "secret-only-a-newline": (changed(SECRETS, [{"env": "NEWLINE"}]), "policies[0].require.signature.secrets[0]", ["empty"]),
    "secret-placeholder": (changed(SECRETS, [{"env": "PLACEHOLDER"}]), "policies[0].require.signature.secrets[0]", []),
    "secret-unexpanded": (changed(SECRETS, [{"env": "UNEXPANDED"}]), "policies[0].require.signature.secrets[0]", []),
}


@pytest.mark.parametrize("config, place, words", ROWS.values(), ids=ROWS.keys())
def test_a_fault_is_refused_with_one_line_that_says_where(config, place, words):
    log = refusal(config)
    lines = [line for line in log.splitlines() if LINE in line and place in line]
    assert len(lines) == 1, log[-2000:]
    said = lines[0].split(place, 1)[1]
    assert all(word in said for word in words), lines[0]
    assert SECRET not in log


TEXTS = {
    "not-json": "policies: []",
    "empty": "",
    "duplicate-key": json.dumps(GOOD)[:-1] + ', "policies": []}',
    "a-list": "[]",
    "text-behind": json.dumps(GOOD) + "}",
    "nested-10000-deep": "[" * 10_000,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_a_text_that_is_not_one_object_is_refused(text):
    log = refusal(text)
    assert "panicked" not in log
    assert SECRET not in log


def test_a_secret_in_the_configuration_is_not_in_the_log():
    """Not even where the line has to point at it: as the value of a faulty entry, and where a name should stand."""
    text = "the-text-of-a-secret-in-the-file"
    assert text not in refusal(changed(SECRETS, [{"value": text, "idd": "x"}]))
    assert text not in refusal(changed(SECRETS, [{"value": text, "not_after": "tomorrow"}]))
    assert text not in refusal(changed(SECRETS, [{"env": "UNSET", "value": text}]))


@pytest.mark.parametrize("struct", [False, True], ids=["StringValue", "Struct"])
def test_both_forms_of_the_configuration_mean_the_same(struct):
    with Gateway(GOOD, good=signed, env=ENV, struct=struct) as gateway:
        gateway.refuses(signed().again(body=b"other"), "signature_mismatch")
        assert SECRET not in gateway.envoy.log_text()
    log = refusal(changed([*REQUIRE, "source_ip", "allow"], ["10.0.0.1/33"]), struct=struct)
    assert log.count('policies[0].require.source_ip.allow[0]: "10.0.0.1/33"') == 1


def test_an_open_policy_and_an_inline_secret_are_warned_about():
    config = changed(REQUIRE, "nothing")
    with Gateway(config, good=lambda: Request(b"/v1", []), env=ENV) as gateway:
        assert f"[warning][{LOGGER}]" in gateway.envoy.wait_for_log("policies[0].require: ")
    text = "an-inline-secret-of-32-characters"
    headers = signer.github(text, b"")
    with Gateway(changed(SECRETS, [{"value": text}]), good=lambda: Request(b"/v1", headers), env=ENV) as gateway:
        assert f"[warning][{LOGGER}]" in gateway.envoy.wait_for_log("policies[0].require.signature.secrets[0]")
        assert text not in gateway.envoy.log_text()


def test_an_env_secret_loses_one_trailing_newline():
    with Gateway(GOOD, good=signed, env=ENV | {"SECRET": SECRET + "\n"}) as gateway:
        gateway.refuses(signed().again(headers=signer.github(SECRET + "\n", b"{}")), "signature_mismatch", send=client.h2_send)
