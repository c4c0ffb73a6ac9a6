"""What all Envoy files under envoy/ have in common: the options without which the guard is not one."""

import json
import re

import pytest
import yaml

from harness import shipped
from harness.envoy import PLAIN_METRICS, ROOT

TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *shipped.DIRECTORY.rglob("*")] if path.is_file()}
FILES = {str(path.relative_to(shipped.DIRECTORY)): path.read_text() for path in shipped.files()}
# `is_optional` lets Envoy ignore what it cannot use; `key_values` would hold secrets; the last two take a certificate that nobody vouches for.
BANNED = ["is_optional", "fail_open", "failopen", "key_values", "accept_untrusted", "allow_expired"]
ALL = pytest.mark.parametrize("name", FILES)
WASM, NATIVE, OF_ROUTE = "filters.http.wasm.v3.Wasm", "filters.http.dynamic_modules.v3.DynamicModuleFilter", "DynamicModuleFilterPerRoute"


def nodes(node: object):
    """Every object of a file."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from nodes(child)


def of_type(name: str, kind: str) -> list[dict]:
    found = [node for document in yaml.safe_load_all(FILES[name]) for node in nodes(document)]
    return [node for node in found if str(node.get("@type", "")).endswith(kind)]


def nodes_with(name: str, kind: str) -> list[dict]:
    """The filters of that type."""
    found = [node for document in yaml.safe_load_all(FILES[name]) for node in nodes(document)]
    return [node for node in found if str(node.get("typed_config", {}).get("@type", "")).endswith(kind)]


def test_the_files_are_found():
    assert {"standalone/envoy.yaml", "ecds/guard.yaml", "per-route/named-filters.yaml", "flexdeploy/envoy.yaml"} <= FILES.keys()
    assert {name for name in FILES if of_type(name, NATIVE)} >= {f"native/{name}.yaml" for name in ("envoy", "per-route", "guard", "listener")}
    assert [name for name in FILES if of_type(name, OF_ROUTE)] == ["native/per-route.yaml"]


@pytest.mark.parametrize("name", TEXTS)
def test_no_option_opens_anything(name):
    """In any file that ships, whatever its kind. Only comments and the prose of a README may warn of such an option."""
    text = TEXTS[name]
    if name.endswith(".md"):
        text = "\n".join(re.findall(r"^ *```.*?^ *```", text, re.MULTILINE | re.DOTALL))
    text = "\n".join(line.split("#")[0] for line in text.splitlines()).lower()
    assert not [word for word in BANNED if word in text]


@ALL
def test_a_guard_holds_the_head_and_survives_a_trap_and_has_its_secrets_from_the_environment(name):
    for wasm in of_type(name, WASM):
        plugin = wasm["config"]
        assert plugin["allow_on_headers_stop_iteration"] is True
        assert plugin["failure_policy"] == "FAIL_RELOAD"
        assert plugin["vm_config"]["environment_variables"]["host_env_keys"]
        assert '"value":' not in plugin["configuration"]["value"]


@ALL
def test_a_native_guard_stays_loaded_and_lists_the_variables_that_it_reads(name):
    """And no others: each is one that a secret of the same configuration names."""
    guards = []
    for module in of_type(name, NATIVE) + of_type(name, OF_ROUTE):
        assert module["dynamic_module_config"]["name"] == "webhook_guard"
        assert module["dynamic_module_config"]["do_not_close"] is True
        assert "terminal_filter" not in module
        guards.append(json.loads(module["filter_config"]["value"]))
    # Envoy Gateway's words for the same.
    for manifest in (node for document in yaml.safe_load_all(FILES[name]) for node in nodes(document)):
        assert all(one["doNotClose"] is True for one in manifest.get("dynamicModules", []))
        guards += [one["config"] for one in manifest.get("dynamicModule", [])]
        assert "terminalFilter" not in manifest
    for guard in guards:
        secrets = [secret for node in nodes(guard["policies"]) for secret in node.get("secrets", [])]
        assert all(secret.keys() <= {"env", "file", "id"} for secret in secrets)
        assert guard.get("environment", []) == list(dict.fromkeys(secret["env"] for secret in secrets if "env" in secret))


@ALL
def test_an_envoy_with_the_native_guard_has_its_metrics_under_their_names(name):
    """The whole Envoy files, that is: what they discover has none of that."""
    for config in (document for document in yaml.safe_load_all(FILES[name]) if isinstance(document, dict) and "static_resources" in document):
        is_native = NATIVE in FILES[name] or name.startswith("native/")
        assert config.get("layered_runtime") == (PLAIN_METRICS if is_native else None)
        assert not (is_native and "stats_config" in config)


@ALL
def test_guards_of_one_file_do_not_share_a_vm(name):
    """Envoy up to 1.38 gives guards of one module and one vm_id one VM, with the environment of the first."""
    ids = [wasm["config"]["vm_config"].get("vm_id") for wasm in of_type(name, WASM)]
    assert len(set(ids)) == len(ids)


@ALL
def test_a_guarded_listener_believes_no_header_for_the_address(name):
    if WASM in FILES[name] or NATIVE in FILES[name]:  # also as the type of what is discovered
        assert all(manager["use_remote_address"] is True for manager in of_type(name, "v3.HttpConnectionManager"))


@ALL
def test_no_route_holds_configuration_of_the_guard_but_for_a_dynamic_module(name):
    """Which Envoy would refuse of a Wasm module, or ignore."""
    for node in (node for document in yaml.safe_load_all(FILES[name]) for node in nodes(document)):
        for filter_name, own in node.get("typed_per_filter_config", {}).items():
            if own["@type"].endswith(OF_ROUTE):
                # Under another name than that of a filter in the chain it would be ignored, too.
                assert filter_name in [one["name"] for one in nodes_with(name, NATIVE)]
            else:
                assert own["@type"] == "type.googleapis.com/envoy.config.route.v3.FilterConfig"
                assert own.get("disabled") is True or own["config"] == {}
