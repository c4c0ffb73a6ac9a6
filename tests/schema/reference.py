"""The tables of docs/configuration.md, from the schema's descriptions.

Responsible for one Markdown table a block. `python tests/schema/reference.py` prints them; with `--write docs/configuration.md`
they replace what stands between the markers of that file.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from providers import SCHEMA

BEGIN, END = "<!-- reference:begin -->", "<!-- reference:end -->"
BLOCKS = {
    "match": "`match`",
    "requirement": "Requirement",
    "source_ip": "`source_ip`",
    "client_certificate": "`client_certificate`",
    "token": "`token`",
    "signature": "`signature`",
    "secret": "Secret",
    "scheme": "`scheme`",
    "jwt": "`jwt`",
    "message_signature": "`message_signature`",
    "digest_claim": "A claim that holds a digest",
    "field": "Field",
    "forward": "`forward`",
    "feed": "Feed",
    "feed_entry": "Entry of `allow` or `deny`",
}
WORDS = {"string": "text", "integer": "int", "boolean": "bool"}


class Reference:
    """The tables of one schema."""

    def __init__(self, schema: dict) -> None:
        self.schema = schema
        self.definitions = schema["$defs"]

    def tables(self) -> str:
        """All tables, the top level and the policy first."""
        blocks = {"Top level": self.schema, "Policy": self.definitions["policy"]}
        blocks |= {title: self.definitions[name] for name, title in BLOCKS.items()}
        return "\n\n".join(self._table(title, block) for title, block in blocks.items())

    def _table(self, title: str, block: dict) -> str:
        rows = [[cell.replace("|", "\\|") for cell in row] for row in self._rows(block)]
        lines = [f"| {' | '.join(row)} |" for row in [["key", "type, default", "meaning"], ["---"] * 3, *rows]]
        return "\n".join([f"## {title}", "", *lines])

    def _rows(self, block: dict, path: str = "") -> Iterator[tuple[str, str, str]]:
        required = block.get("required", [])
        for key, value in block["properties"].items():
            if "description" in value:
                yield f"`{path}{key}`", self._type(value, key in required), value["description"]
            if inner := self._inline(value):
                yield from self._rows(inner, f"{path}{key}.")

    def _inline(self, value: dict) -> dict | None:
        """The object in a value, alone or in a list, that has no table of its own."""
        name = value.get("$ref", "").removeprefix("#/$defs/")
        if name in BLOCKS or name == "policy" or "/" in name:
            return None
        value = self._resolved(value)
        if "properties" in value:
            return value
        parts = [*value.get("anyOf", []), *([value["items"]] if "items" in value else [])]
        return next(filter(None, map(self._inline, parts)), None)

    def _resolved(self, value: dict) -> dict:
        if "$ref" not in value:
            return value
        target: dict = {"$defs": self.definitions}
        for step in value["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return self._resolved(target) | value

    def _type(self, value: dict, is_required: bool) -> str:
        words = [self._kind(value)]
        if is_required:
            words.insert(0, "required")
        if "default" in value:
            words.append(f"default `{json.dumps(value['default'])}`")
        return ", ".join(words)

    def _kind(self, value: dict) -> str:
        value = self._resolved(value)
        if "title" in value:
            return value["title"]
        if "const" in value:
            return f"`{json.dumps(value['const'])}`"
        if "enum" in value:
            return " or ".join(f"`{json.dumps(word)}`" for word in value["enum"])
        forms = value.get("anyOf", value.get("oneOf"))
        if forms and "type" not in value:
            return " or ".join(dict.fromkeys(self._kind(part) for part in forms))
        if value["type"] == "array":
            return f"list of {self._kind(value['items'])}"
        return WORDS.get(value["type"], value["type"])


def reference() -> str:
    return Reference(json.loads(SCHEMA.read_text())).tables()


def between_markers(text: str) -> tuple[str, str, str]:
    """What stands before, between and after the markers, each of which must be there once."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{BEGIN} and, after it, {END} must both be there once")
    before, rest = text.split(BEGIN)
    inside, after = rest.split(END)
    return before, inside, after


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE")
    file = parser.parse_args().write
    if file:
        before, _, after = between_markers(file.read_text())
        file.write_text(f"{before}{BEGIN}\n{reference()}\n{END}{after}")
    else:
        print(reference())
