"""The manifests for Istio and Envoy Gateway, against the custom resource definitions that those projects publish.

As the API server does it with strict validation: by the structural schema, and an unknown field is refused. It judges
nothing but shape; what the manifests do is test_generated.py's matter.
"""

import copy

import jsonschema
import pytest
import yaml

from harness import shipped
from harness.envoy import ROOT

CRDS = ROOT.parent / "shared/crds"
GROUPS = ("istio.io", "gateway.envoyproxy.io")
# Of those projects, but not among the published definitions that we have.
WITHOUT_SCHEMA = {"BackendTrafficPolicy"}
pytestmark = pytest.mark.skipif(not CRDS.is_dir(), reason=f"the published CRDs are not at {CRDS}")


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
    definitions = [yaml.safe_load(path.read_text()) for path in CRDS.glob("*.yaml")]
    # Which every object has, whether its definition says so or not.
    common = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    for crd in definitions:
        for version in crd["spec"]["versions"]:
            version["schema"]["openAPIV3Schema"]["properties"] |= common
    return {(f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]): strict(version["schema"]["openAPIV3Schema"])
            for crd in definitions for version in crd["spec"]["versions"]}


def strict(schema: dict) -> dict:
    """The same schema in JSON Schema's words: Kubernetes refuses a field that `properties` does not name."""
    schema = copy.copy(schema)
    if schema.pop("x-kubernetes-int-or-string", False):
        schema.pop("type", None)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = strict(schema[key])
    if "properties" in schema:
        schema["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
    return schema


def validate(document: dict, schemas: dict) -> None:
    jsonschema.Draft202012Validator(schemas[document["apiVersion"], document["kind"]]).validate(document)


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
