"""The table of providers in docs/providers.md, made from src/core/catalogue.json.

Responsible for what stands between the markers `<!-- providers:begin -->` and `<!-- providers:end -->`, and for what the
table and the guides say alike of a provider: `python tests/provider_table.py` writes the table, and a test compares. It
reads the data as any outsider would.
"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/providers.md"
BEGIN, END = "<!-- providers:begin -->\n", "<!-- providers:end -->"
# Under this name the operator signs what is sent again. That is no provider, and has a page already.
OPERATOR, RESUBMITS = "operator", "messages.md"


def catalogue() -> dict[str, dict]:
    return json.loads((ROOT / "src/core/catalogue.json").read_text())


def table() -> str:
    blocks = catalogue()
    rows = ["| provider | name | checks | time | handshake | checked against |", "| --- | --- | --- | --- | --- | --- |"]
    for name, block in blocks.items():
        source = model(blocks, block)
        handshake = "answered" if handshakes(blocks, block) else ""
        time = "signed" if is_timed(source) else ""
        guide = f"[`{name}`]({RESUBMITS if name == OPERATOR else f'providers/{name}.md'})"
        rows.append(f"| [{block['title']}]({block['documentation']}) | {guide} | {checks(source)} | {time} | {handshake} | {checked(block['checked'])} |")
    return "\n".join(rows) + "\n"


def model(blocks: dict[str, dict], block: dict) -> dict:
    """The block that says how a delivery is verified: its own, or that of the provider that does it alike."""
    return blocks[block["same_as"]] if "same_as" in block else block


def handshakes(blocks: dict[str, dict], block: dict) -> list[dict]:
    shapes = block.get("handshake") or model(blocks, block).get("handshake") or []
    return shapes if isinstance(shapes, list) else [shapes]


def is_timed(source: dict) -> bool:
    """Whether a signed time bounds how long a recorded delivery passes."""
    scheme = source.get("scheme", {})
    in_token = {"exp", "iat"} & set(scheme.get("jwt", {}).get("required", []))
    return bool({"timestamp", "message_signature"} & set(scheme) or in_token)


def checked(of: dict) -> str:
    return f"{of['kind']}, {of['date']}" if "date" in of else f"**{of['kind']}**"


def checks(block: dict) -> str:
    if "token" in block:
        ((kind, value),) = block["token"].items()
        if kind == "json":
            return f"token in the body, `{value}`"
        return f"token in `{value}`" if kind == "header" else f"token, {kind.capitalize()}"
    if jwt := block["scheme"].get("jwt"):
        return f"JWT, `{block['scheme']['algorithm']}` in `{jwt['header']}`"
    if "message_signature" in block["scheme"]:
        return f"message signature, `{block['scheme']['algorithm']}`"
    fields = block["scheme"]["signature"]
    first = fields[0] if isinstance(fields, list) else fields
    return f"`{block['scheme']['algorithm']}` in `{first.get('header') or first.get('query')}`"


def current() -> str:
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(head + BEGIN + table() + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
