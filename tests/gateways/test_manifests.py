"""The manifests for Istio and Envoy Gateway, against the custom resource definitions that those projects publish.

As the API server does it with strict validation: by the structural schema, and an unknown field is refused. It judges
nothing but shape; what the manifests do is test_generated.py's matter.
"""

import copy
import json
import re
import shutil
import subprocess
import sys

import jsonschema
import pytest
import yaml

from harness import shipped
from harness.envoy import ROOT

CRDS = ROOT / "tests/gateways/crds"
GROUPS = ("istio.io", "gateway.envoyproxy.io")
# Of those projects, but not among the definitions that tests/gateways/crds was made of.
WITHOUT_SCHEMA = {"BackendTrafficPolicy"}


def manifests() -> list:
    found = []
    for path in sorted(path for folder in ("istio", "envoy-gateway") for path in (shipped.DIRECTORY / folder).glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document.get("apiVersion", "").split("/")[0].endswith(GROUPS) and document["kind"] not in WITHOUT_SCHEMA:
                found.append(pytest.param(document, id=f"{path.parent.name}/{path.name}:{document['kind']}"))
    return found


@pytest.fixture(scope="module")
def schemas() -> dict:
    """By API version and kind."""
    made = [json.loads(path.read_text()) for path in CRDS.glob("*.json")]
    return {kind: schema | {"$defs": one["$defs"]} for one in made for kind, schema in one["kinds"].items()}


def validate(document: dict, schemas: dict) -> None:
    jsonschema.Draft202012Validator(schemas[f"{document['apiVersion']} {document['kind']}"]).validate(document)


@pytest.mark.parametrize("document", manifests())
def test_a_manifest_is_valid(document, schemas):
    validate(document, schemas)


@pytest.mark.parametrize("document", manifests())
def test_a_field_that_does_not_exist_is_caught(document, schemas):
    wrong = copy.deepcopy(document)
    wrong["spec"]["targetRefz"] = []
    with pytest.raises(jsonschema.ValidationError, match="targetRefz"):
        validate(wrong, schemas)


@pytest.mark.parametrize("kind, change, message", [
    ("WasmPlugin", {"failStrategy": "FAIL_RELAOD"}, "FAIL_RELAOD"),
    ("WasmPlugin", {"vmConfig": {"env": [{"name": "A", "valueFrom": "SECRET"}]}}, "SECRET"),
    ("EnvoyExtensionPolicy", {"wasm": [{"name": "a", "code": {"type": "Image", "image": {"uri": "a"}}}]}, "uri"),
    ("EnvoyExtensionPolicy", {"dynamicModule": [{"name": "webhook_guard"}]}, "webhook_guard"),
    ("EnvoyProxy", {"dynamicModules": [{"name": "webhook-guard", "source": {"local": {"filename": "/a"}}}]}, "filename"),
    ("ClientTrafficPolicy", {"connection": {"bufferLimit": "2 MiB"}}, "2 MiB"),
])
def test_a_wrong_value_is_caught_too(kind, change, message, schemas):
    document = copy.deepcopy(next(parameter.values[0] for parameter in manifests() if parameter.values[0]["kind"] == kind))
    document["spec"] |= change
    with pytest.raises(jsonschema.ValidationError, match=message):
        validate(document, schemas)


def test_the_kinds_are_all_there():
    kinds = {parameter.values[0]["kind"] for parameter in manifests()}
    assert kinds == {"WasmPlugin", "EnvoyFilter", "Telemetry", "EnvoyExtensionPolicy", "EnvoyPatchPolicy", "EnvoyProxy", "ClientTrafficPolicy"}


def test_each_schema_says_where_it_is_from():
    for path in CRDS.glob("*.json"):
        made = json.loads(path.read_text())
        assert re.fullmatch(r"\S+/\S+, commit [0-9a-f]{40} \(\d{4}-\d\d-\d\d\), \S+", made["source"])
        assert made["license"] == "Apache-2.0"


DEFINITION = """
kind: CustomResourceDefinition
spec:
  group: extensions.istio.io
  names: {kind: WasmPlugin}
  versions:
  - name: v1alpha1
    schema: {openAPIV3Schema: {type: object, description: gone, properties: {spec: {type: object, properties: {
      limit: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}], pattern: '^[0-9]+Mi$'},
      open: {type: object, x-kubernetes-preserve-unknown-fields: true},
      one: {type: array, items: {type: object, required: [name], properties: {name: {type: string, minLength: 1, maxLength: 253, pattern: '^[a-z0-9.-]+$'}}}},
      two: {type: array, items: {type: object, required: [name], properties: {name: {type: string, minLength: 1, maxLength: 253, pattern: '^[a-z0-9.-]+$'}}}}}}}}}
  - {name: v1, schema: {openAPIV3Schema: {type: object, properties: {}}}}
"""


def test_a_schema_is_made_of_a_definition_as_an_api_server_reads_it(tmp_path):
    """On a copy of the script, beside a copy of envoy/, whose kinds and versions are those that are kept."""
    script = tmp_path / "tests/gateways/crds/make.py"
    script.parent.mkdir(parents=True)
    shutil.copy(CRDS / "make.py", script)
    (tmp_path / "envoy").symlink_to(shipped.DIRECTORY)
    (tmp_path / "crd.yaml").write_text(DEFINITION)
    subprocess.run([sys.executable, script, "some", "a source", tmp_path / "crd.yaml"], check=True)
    made = json.loads((script.parent / "some.json").read_text())
    assert (made["source"], list(made["kinds"])) == ("a source", ["extensions.istio.io/v1alpha1 WasmPlugin"])
    assert made["$defs"], "what stands there twice is written once"
    validator = jsonschema.Draft202012Validator(made["kinds"]["extensions.istio.io/v1alpha1 WasmPlugin"] | {"$defs": made["$defs"]})
    assert validator.is_valid({"kind": "WasmPlugin", "spec": {"limit": 5, "open": {"any": 1}, "one": [{"name": "a"}]}})
    wrong = [{"limit": "5 Mi"}, {"limit": []}, {"another": 1}, {"one": [{"name": ""}]}, {"two": [{"name": "a", "more": 1}]}, {"two": [{}]}]
    assert not [spec for spec in wrong if validator.is_valid({"spec": spec})]
