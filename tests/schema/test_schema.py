"""The JSON Schema and the parser give the same answer.

Responsible for envoy/webhook-guard.schema.json against the corpora of tests/configs.rs (which holds the parser to
them), against the lists in the sources, and for the tables of docs/configuration.md, which are made from it.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from providers import ROOT, SCHEMA, lists
from jsonschema import Draft202012Validator
from reference import BLOCKS, between_markers, reference

CORPORA = ROOT / "tests/configs"
READERS = ["config.rs", "config/*.rs", "signature/*.rs", "handshake/parse.rs", "catalogue.rs"]
SOURCES = {path: path.read_text() for pattern in READERS for path in sorted((ROOT / "src/core").glob(pattern))}

# What is refused by the parser alone, by the reason why no schema can.
EXCEPTIONS = {
    "JSON Schema sees an object after its keys have been merged": {
        "deny-status-duplicate",
        "feeds-twice",
        "policy-duplicate-key",
        "secret-duplicate-key",
        "top-duplicate-key",
    },
    "the environment is not in the file": {
        "secret-env-empty",
        "secret-env-newline-only",
        "secret-env-placeholder",
        "secret-env-stars",
        "secret-env-unexpanded",
        "secret-env-unset",
        "secret-key-absent",
        "secret-key-empty-value",
        "secret-key-not-text",
        "secret-key-placeholder",
        "secret-key-twice",
        "secret-key-variable-list",
        "secret-key-variable-not-json",
        "signature-secret-not-base64",
        "signature-secret-not-hex",
        "signature-secret-only-prefix",
        "scheme-public-key-weak",
    },
    "what the guard runs as is not in the file": {
        "secret-file-without-files",
    },
    "what the catalogue knows of a feed": {
        "feeds-authority-missing",
        "feeds-cluster-missing",
        "feeds-cluster-of-a-page",
        "feeds-format-missing",
        "feeds-path-missing",
        "feeds-unknown-name",
        "feeds-unknown-name-far",
    },
    "one place must list what another names": {
        "feeds-none",
        "keys-in-an-address-list",
        "keys-of-addresses",
        "keys-of-no-certificates",
        "keys-of-no-feed",
        "feeds-not-named",
        "environment-not-listed",
    },
    "entries that differ as JSON mean the same": {
        "certificate-dns-twice",
        "content-types-twice",
        "match-hosts-same-address",
        "match-hosts-twice",
        "match-path-twice",
    },
    "one member of several objects must be unique": {
        "policy-name-taken",
        "policy-same-match",
        "policy-same-match-among-many",
        "secret-id-twice",
    },
    "an address that a resolver would complete": {
        "match-hosts-short-address",
    },
    "how many readings a path has": {
        "match-path-readings",
    },
    "what a hash was made of": {
        "secret-sha256-of-nothing",
        "secret-sha256-of-placeholder",
    },
    "two secrets must not be the same": {
        "handshake-key-signs-another-branch",
        "handshake-key-signs-another-check",
    },
    "the paths of the policy, and what the URLs and paths begin with": {
        "public-url-base-beside-a-header",
        "public-url-base-of-nested-paths",
        "public-url-base-under-a-prefix",
        "public-url-begins-with-another",
        "public-url-list-of-bases",
        "scheme-path-beside-a-header",
        "scheme-path-beside-form",
        "scheme-public-url-query",
        "scheme-url-no-query-beside-form",
    },
    "whether a requirement can hold without a signature, and what a scheme signs": {
        "duplicates-branch-without-signature",
        "duplicates-certificate-instead-of-signature",
        "duplicates-id-sns",
        "duplicates-id-url-alone",
        "duplicates-nothing-required",
        "duplicates-url-alone",
        "duplicates-without-signature",
    },
    "arithmetic on a value": {
        "held-bytes-form",
        "held-bytes-form-default",
        "secret-never-valid",
        "source-host-bits",
        "source-host-bits-nested",
        "source-host-bits-v6",
    },
}
# Lists of keys in src/core/config that are the catalogue's alone: a provider's token, its handshakes and what is in them,
# what its block was checked against, and what is known of the provider's side.
CATALOGUE_KEYS = {
    frozenset({"header", "bearer", "basic", "json"}),
    frozenset({"method", "signed", "when", "unless", "verify_token", "echo", "status", "header", "json", "keyed", "printable"}),
    frozenset({"header", "query", "json"}),
    frozenset({"header", "query", "json", "equals"}),
    frozenset({"kind", "source", "date"}),
    frozenset({"secret", "test", "retries", "traps", "source"}),
}
# In the block with the first key, the second is known only to be refused in better words.
MISPLACED = ("algorithm", "encoding")


@pytest.fixture(scope="module")
def schema() -> dict:
    return json.loads(SCHEMA.read_text())


@pytest.fixture(scope="module")
def validator(schema: dict) -> Draft202012Validator:
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def stems(corpus: str) -> list[str]:
    return sorted(path.stem for path in (CORPORA / corpus).glob("*.json"))


def complaints(validator: Draft202012Validator, corpus: str, stem: str) -> list[str]:
    try:
        configuration = json.loads((CORPORA / corpus / f"{stem}.json").read_text())
    except json.JSONDecodeError as error:
        return [str(error)]
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(configuration)]


@pytest.mark.parametrize("stem", stems("good"))
def test_what_the_parser_takes_is_valid(validator: Draft202012Validator, stem: str) -> None:
    assert complaints(validator, "good", stem) == []


def test_what_the_parser_refuses_is_invalid_and_every_exception_needed(validator: Draft202012Validator) -> None:
    valid = {stem for stem in stems("bad") if not complaints(validator, "bad", stem)}
    excepted = set().union(*EXCEPTIONS.values())
    assert sum(map(len, EXCEPTIONS.values())) == len(excepted), "an exception stands there twice"
    assert sorted(valid - excepted) == [], "the schema takes what the parser refuses"
    assert sorted(excepted - valid) == [], "no longer an exception"


def key_lists_of_the_parser() -> set[frozenset[str]]:
    """What is passed to `Node::object`, where the list stands and where it has a name."""
    found = set()
    for path, source in SOURCES.items():
        for call in re.finditer(r"\.object\(&(\[[^]]*\]|[\w:]+)\)", source):
            keys = call[1]
            if path.name == "catalogue.rs" and keys == "KEYS":
                continue
            if not keys.startswith("["):
                named = re.findall(rf"(?:const|let) {keys}\b[^=]*=\s*(\[[^]]*\]);", source[: call.start()])
                assert named, f"{path}: the keys of {keys} are not found"
                keys = named[-1]
            found.add(frozenset(re.findall(r'"(\w+)"', keys)))
    return found


def objects(node: object) -> Iterator[dict]:
    """Every schema of an object with keys of ours."""
    if isinstance(node, dict):
        if node.get("additionalProperties") is False:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from objects(child)


def test_both_know_the_same_keys_in_the_same_blocks(schema: dict) -> None:
    found = key_lists_of_the_parser()
    assert CATALOGUE_KEYS <= found, "no longer a list of the catalogue"
    known_key, misplaced_key = MISPLACED
    parser = {keys - {misplaced_key} if known_key in keys else keys for keys in found - CATALOGUE_KEYS}
    assert {frozenset(block["properties"]) for block in objects(schema)} == parser


def test_every_key_is_described_or_refers_to_one_that_is(schema: dict) -> None:
    for block in objects(schema):
        for key, value in block["properties"].items():
            assert value.get("description", "").endswith(".") or "/properties/" in value.get("$ref", ""), key


def test_the_providers_are_those_of_the_catalogue(schema: dict) -> None:
    written = {name: schema["$defs"][name]["enum"] for name in lists()}
    assert written == lists(), "run `python tests/schema/providers.py`"


def test_the_reasons_are_those_of_the_filter(schema: dict) -> None:
    source = (ROOT / "src/core/decision.rs").read_text()
    listed = re.search(r"const ALL: .*?\];", source, re.DOTALL)[0]
    codes = dict(re.findall(r'Self::(\w+) => "(\w+)"', source[: source.index("const fn status")]))
    assert schema["$defs"]["reason"]["enum"] == [codes[name] for name in re.findall(r"Self::(\w+),", listed)]


@pytest.mark.parametrize("form", [str.lower, str.upper, str.title])
def test_the_placeholders_are_those_of_the_parser(validator: Draft202012Validator, form) -> None:
    source = SOURCES[ROOT / "src/core/config/secret.rs"]
    words = re.findall(r'"([\w-]+)"', re.search(r"const PLACEHOLDERS: .*?\];", source, re.DOTALL)[0])
    secret = validator.evolve(schema={"$ref": "#/$defs/secret", "$defs": validator.schema["$defs"]})
    assert [word for word in words if secret.is_valid({"value": form(word)})] == []
    assert [word for word in words if not secret.is_valid({"value": f"{form(word)}-1"})] == []


def test_every_block_has_its_table(schema: dict) -> None:
    text = reference()
    for block in objects(schema):
        for key in block["properties"]:
            assert re.search(rf"`(?:[a-z_.]+\.)?{key}`", text), f"{key} is in no table"
    assert text.count("## ") == len(BLOCKS) + 2


def test_the_tables_of_the_documentation_are_made_from_the_schema() -> None:
    _, inside, _ = between_markers(Path(ROOT / "docs/configuration.md").read_text())
    assert inside.strip("\n") == reference(), "run `python tests/schema/reference.py --write docs/configuration.md`"
