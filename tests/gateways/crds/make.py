"""Writes the shapes of the custom resources that envoy/ uses, out of the definitions that Istio and Envoy Gateway publish.

    python tests/gateways/crds/make.py NAME SOURCE FILE...      writes tests/gateways/crds/NAME.json

SOURCE says where the files are from (project, commit, path) and is kept in what is written. A FILE is the YAML of one or
more CustomResourceDefinitions. Kept are the versions and kinds of the manifests under envoy/, as JSON Schema in the words
that an API server with strict validation means: which fields there are, their types, patterns and limits. Descriptions
and CEL rules are left out, and a part that stands there more than once is written once. Both projects are under the
Apache License, Version 2.0, as this one is.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
MANIFESTS = HERE.parents[2] / "envoy"
# What a schema may say beside its parts. A keyword that is not known here would be lost unseen, so it stops the script.
PLAIN = {"type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
         "minProperties", "maxProperties", "required"}
DROPPED = {"description", "default", "format", "nullable", "x-kubernetes-validations", "x-kubernetes-list-type",
           "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-preserve-unknown-fields"}
# Which every object has, whether its definition says so or not.
COMMON = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
WORTH_A_NAME = 120


def used() -> set[str]:
    documents = (one for path in MANIFESTS.rglob("*.yaml") for one in yaml.safe_load_all(path.read_text()))
    return {f"{one['apiVersion']} {one['kind']}" for one in documents if one and "apiVersion" in one}


def strict(schema: dict) -> dict:
    """In JSON Schema's words: Kubernetes refuses a field that `properties` does not name, and takes both for int-or-string."""
    made: dict = {}
    for key, value in schema.items():
        if key == "properties":
            made[key] = {name: strict(part) for name, part in value.items()}
            if not schema.get("x-kubernetes-preserve-unknown-fields"):
                made.setdefault("additionalProperties", False)
        elif key in ("items", "not") or key == "additionalProperties" and isinstance(value, dict):
            made[key] = strict(value)
        elif key in ("allOf", "anyOf", "oneOf"):
            made[key] = [loose(part) for part in value]
        elif key == "x-kubernetes-int-or-string" or key in DROPPED:
            pass
        elif key in PLAIN or key == "additionalProperties":
            made[key] = value
        else:
            raise SystemExit(f"the keyword {key} is not known")
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    return made


def loose(schema: dict) -> dict:
    """A part of a logical junction, which names fields only to say something of them; the others are the whole's matter."""
    made = {key: value for key, value in schema.items() if key not in DROPPED}
    if "properties" in made:
        made["properties"] = {name: loose(part) for name, part in made["properties"].items()}
    for key in ("allOf", "anyOf", "oneOf"):
        if key in made:
            made[key] = [loose(part) for part in made[key]]
    if "not" in made:
        made["not"] = loose(made["not"])
    return made


def text(schema: dict) -> str:
    return json.dumps(schema, separators=(",", ":"), sort_keys=True)


def parts(node: object) -> list[dict]:
    """All objects of a schema that are worth a name, itself included."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    found = [one for child in children for one in parts(child)]
    return found + [node] if isinstance(node, dict) and ("type" in node or "items" in node) and len(text(node)) > WORTH_A_NAME else found


def share(node: object, names: dict[str, str]) -> object:
    if isinstance(node, dict):
        made = {key: share(value, names) for key, value in node.items()}
        name = names.get(text(node))
        return made if name is None else {"$ref": f"#/$defs/{name}"}
    return [share(one, names) for one in node] if isinstance(node, list) else node


def main(name: str, source: str, *files: str) -> None:
    wanted, schemas = used(), {}
    for crd in (one for file in files for one in yaml.safe_load_all(Path(file).read_text()) if one):
        for version in crd["spec"]["versions"]:
            kind = f"{crd['spec']['group']}/{version['name']} {crd['spec']['names']['kind']}"
            if kind in wanted:
                schema = version["schema"]["openAPIV3Schema"]
                schemas[kind] = strict(schema | {"properties": schema["properties"] | COMMON})
    often = [one for one, count in Counter(text(part) for schema in schemas.values() for part in parts(schema)).items() if count > 1]
    names = {one: str(number) for number, one in enumerate(sorted(often))}
    shared = {names[one]: {key: share(value, names) for key, value in json.loads(one).items()} for one in sorted(often)}
    kinds = {kind: share(schema, names) for kind, schema in sorted(schemas.items())}

    def lines(entries: dict) -> str:
        return ",\n".join(f"{json.dumps(key)}:{text(value)}" for key, value in entries.items())

    (HERE / f"{name}.json").write_text(
        f'{{"source":{json.dumps(source)},"license":"Apache-2.0",\n"kinds":{{\n{lines(kinds)}\n}},\n"$defs":{{\n{lines(shared)}\n}}}}\n')


if __name__ == "__main__":
    main(*sys.argv[1:])
