"""The lists of providers in the schema, as src/core/catalogue.json has them.

Responsible for what the schema must know of the catalogue: every name, and which providers send a token, sign a time,
sign the URL or have a handshake; and of the catalogue of feeds, src/core/feeds.json. `python tests/schema/providers.py` writes the lists into the schema.
"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "envoy/webhook-guard.schema.json"


def lists() -> dict[str, list[str]]:
    """Each definition of the schema that is a list of providers."""
    blocks = json.loads((ROOT / "src/core/catalogue.json").read_text())

    def whole(block: dict) -> dict:
        """The block with what it takes from the provider that it is the same as."""
        return whole(blocks[block["same_as"]]) | block if "same_as" in block else block

    blocks = {name: whole(block) for name, block in blocks.items()}
    schemes = {name: block["scheme"] for name, block in blocks.items() if "scheme" in block}
    # A handshake is one shape or a list of them; a token has the same name in each.
    handshakes = {name: json.dumps(block["handshake"]) for name, block in blocks.items() if "handshake" in block}
    return {
        "provider": list(blocks),
        "token_provider": [name for name in blocks if name not in schemes],
        "body_token_provider": [name for name, block in blocks.items() if "json" in block.get("token", {})],
        "claiming_provider": [name for name, scheme in schemes.items() if "jwt" in scheme],
        "public_token_provider": [name for name, scheme in schemes.items() if "jwt" in scheme and not scheme["algorithm"].startswith("hmac")],
        "timed_provider": [name for name, scheme in schemes.items()
                           if {"timestamp", "message_signature"} & set(scheme) or "iat" in scheme.get("jwt", {}).get("required", [])],
        "url_provider": [name for name, scheme in schemes.items()
                         if "{url" in scheme.get("signed", "") or "url_sha256" in scheme.get("jwt", {})],
        "answering_provider": [name for name, shapes in handshakes.items() if '"verify_token"' not in shapes],
        "catalogue_feed": list(json.loads((ROOT / "src/core/feeds.json").read_text())),
        "verifying_provider": [name for name, shapes in handshakes.items() if '"verify_token"' in shapes],
    }


if __name__ == "__main__":
    schema = json.loads(SCHEMA.read_text())
    for definition, names in lists().items():
        schema["$defs"][definition]["enum"] = names
    SCHEMA.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
