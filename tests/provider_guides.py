"""The guides in docs/providers/, one page a provider, made from src/core/catalogue.json and src/core/feeds.json.

Responsible for the one template, and for leaving out what nobody knows: `python tests/provider_guides.py` writes the
pages and removes those of providers that are gone, and a test compares. The policy of a page is the one that
`webhook-guard providers NAME` prints, which tests/cli/providers.rs holds to the core's parser.
"""

import json
import re
from textwrap import fill

from provider_table import OPERATOR, ROOT, catalogue, checks, handshakes, is_timed, model

FOLDER = ROOT / "docs/providers"
HOST = "https://hooks.example.com"
# How wide prose is, and a line of JSON.
PROSE, CODE = 190, 100
# The algorithms whose key is the provider's alone.
PUBLIC = {"ed25519", "ecdsa-p256-sha256", "rsa-sha256"}
# What the kinds of evidence are worth, where that is something to act upon.
DOUBTS = {
    "unconfirmed": "Nothing that can be cited says that this is how it authenticates its deliveries",
    "independent receiver read": "What is checked was read in the code or on a page of somebody who receives its deliveries",
}


class Guide:
    """A page in the making: sections of paragraphs, of which those without any are left out."""

    def __init__(self, title: str, *opening: str):
        self.parts = [f"# {title}", *map(prose, opening)]

    def section(self, heading: str, *paragraphs: str | None) -> None:
        if said := [paragraph for paragraph in paragraphs if paragraph]:
            self.parts += [f"## {heading}", *said]

    def text(self) -> str:
        return "\n\n".join(self.parts) + "\n"


def prose(text: str, bullet: str = "") -> str:
    """Lines of prose, which end in no piece of code."""
    whole = re.sub("`[^`]+`", lambda code: code[0].replace(" ", "\0"), text)
    lines = fill(whole, PROSE, initial_indent=bullet, subsequent_indent=" " * len(bullet), break_long_words=False, break_on_hyphens=False)
    return lines.replace("\0", " ")


def bullets(items: list[str]) -> str:
    return "\n".join(prose(item, "- ") for item in items)


def fenced(kind: str, text: str) -> str:
    return f"```{kind}\n{text}\n```"


def pretty(value: object, indent: int = 0, column: int = 0) -> str:
    """JSON in which whatever fits into a line stands in one."""
    line = json.dumps(value)
    if not isinstance(value, dict | list) or column + len(line) <= CODE:
        return line
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        keys = [f"{json.dumps(key)}: " for key in value]
        items = [key + pretty(item, indent + 2, indent + 2 + len(key)) for key, item in zip(keys, value.values())]
    else:
        items = [pretty(item, indent + 2, indent + 2) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(items) + f"\n{' ' * indent}{closing}"


def cited(source: str) -> str:
    """Sources, separated by semicolons where there are several: an address, or else a file of a repository."""
    return "; ".join(f"<{one}>" if one.startswith("https://") and " " not in one else f"`{one}`" for one in source.split("; "))


def guides() -> dict[str, str]:
    """Every page by the name of its provider."""
    blocks, feeds = catalogue(), json.loads((ROOT / "src/core/feeds.json").read_text())
    return {name: guide(name, block, blocks, feeds) for name, block in blocks.items() if name != OPERATOR}


def guide(name: str, block: dict, blocks: dict[str, dict], feeds: dict[str, dict]) -> str:
    source, shapes, known = model(blocks, block), handshakes(blocks, block), block.get("guide", {})
    page = Guide(
        block["title"],
        f"In a configuration its name is `{name}`; what is checked: {checks(source)}. Its own page: <{block['documentation']}>. "
        f"`webhook-guard providers {name}` says the same in a terminal. All providers: [providers.md](../providers.md).",
    )
    page.section("Where its secret is", known.get("secret") and prose(known["secret"]))
    page.section("A policy to paste", fenced("json", pretty(configuration(name, block, source, shapes))), prose(around_the_policy(name, block, source, shapes)))
    page.section("What its test sends", known.get("test") and prose(known["test"]), handshake(shapes))
    page.section("Retries and duplicates", known.get("retries") and prose(known["retries"]), prose(duplicates(source)), unsigned_id(source))
    page.section("Addresses", addresses(name, block, blocks, feeds))
    page.section("Client certificate", certificate(block))
    said = traps(block, source, shapes)
    page.section("Traps", said and bullets(said))
    page.section("Commands", fenced("sh", "\n".join(commands(name, source))), prose(about_the_commands(source)))
    page.section("Where this is from", bullets(sources(block)))
    return page.text()


def variable(name: str, source: dict) -> str:
    what = "TOKEN" if "token" in source else "PUBLIC_KEY" if source["scheme"]["algorithm"] in PUBLIC else "SECRET"
    return f"{name.upper()}_WEBHOOK_{what}"


def signs_url(source: dict) -> bool:
    scheme = source.get("scheme", {})
    components = scheme.get("message_signature", {}).get("components", [])
    return "{url" in scheme.get("signed", "") or "url_sha256" in scheme.get("jwt", {}) or "@target-uri" in components


def signs_id(source: dict) -> bool:
    return "{id}" in source.get("scheme", {}).get("signed", "")


def signs_body(source: dict) -> bool:
    scheme = source.get("scheme", {})
    is_in_template = any(part in scheme.get("signed", "") for part in ("{body}", "{body_sha256}", "{form}"))
    is_in_digest = "message_signature" in scheme or "body_sha256" in scheme.get("jwt", {})
    return is_in_template or is_in_digest or any("equals_body_sha256" in one for one in scheme.get("require", []))


def configuration(name: str, block: dict, source: dict, shapes: list[dict]) -> dict:
    signature = {"provider": name, "secrets": [{"env": variable(name, source)}]}
    if signs_url(source):
        signature["public_url"] = f"{HOST}/hooks/{name}"
    policy = {"name": name, "match": {"path": f"/hooks/{name}"}, "require": {"signature": signature}}
    if any("verify_token" in one for one in shapes):
        policy["handshake"] = {"verify_tokens": [{"env": f"{name.upper()}_VERIFY_TOKEN"}]}
    elif shapes:
        policy["handshake"] = "answer"
    if signs_id(source) or (signs_body(source) and not is_timed(source)):
        policy["duplicates"] = {}
    if status := block.get("deny_status"):
        policy["deny_status"] = {"signature_mismatch": status}
    return {"policies": [policy]}


def around_the_policy(name: str, block: dict, source: dict, shapes: list[dict]) -> str:
    what = "public key" if variable(name, source).endswith("KEY") else "token" if "token" in source else "secret"
    said = [f"The variable holds the {what}; the native module's `environment` has to list it.",
            f"At the provider enter `{HOST}/hooks/{name}` with your own host."]
    if "basic" in source.get("token", {}):
        said.append("The token is `USER:PASSWORD`, or the password alone where any user name will do.")
    if any("verify_token" in one for one in shapes):
        said.append("The verify token is a text that you choose and enter at the provider as well.")
    if status := block.get("deny_status"):
        said.append(f"It wants the status {status} where a signature does not hold.")
    if block.get("bare_refusals"):
        said.append("A 401 of this policy has no body, as the provider demands.")
    said.append("All keys: [configuration.md](../configuration.md); files to copy: [envoy/](../../envoy/README.md).")
    return " ".join(said)


def place(field: dict) -> str:
    return f"header `{field['header']}`" if "header" in field else f"parameter `{field['query']}`" if "query" in field else f"`{field['json']}` in the body"


def handshake(shapes: list[dict]) -> str | None:
    """How it tests an endpoint, and that the gateway can answer it."""
    requests = []
    for of in shapes:
        known_by = f" whose {place(of['when'])} is `{of['when']['equals']}`" if "when" in of else f" with the {place(of['echo'])}" if "echo" in of else ""
        signed = "signs" if of.get("signed") else "does not sign"
        requests.append(f"the method {of['method']}{known_by}, which it {signed}")
    if not requests:
        return None
    return prose(f"It tests an endpoint by a request of {', or of '.join(requests)}. With `handshake` in the policy the gateway answers that itself.")


def duplicates(source: dict) -> str:
    scheme = source.get("scheme", {})
    operating = "[operating.md](../operating.md#each-delivery-once)"
    second = f'A second one gets 409, or with `"then": "acknowledge"` 200, and one that the application did not take passes again: {operating}.'
    if "token" in source:
        return f"Nothing is signed, so nothing names a delivery and a policy for it cannot have `duplicates`: the application has to tell a second one. {operating} says why."
    if signs_id(source):
        return f"What names a delivery for `duplicates` is `{scheme['delivery_id']['header']}`, which is signed, so a retry with a new time and signature is the same delivery. {second}"
    if not signs_body(source):
        return f"The signature covers neither the body nor an id, so nothing names a delivery and a policy for it cannot have `duplicates`: {operating}."
    if not is_timed(source):
        return f"What names a delivery for `duplicates` is all that is signed: the same bytes are the same delivery, whatever the headers beside them say. {second}"
    tolerance = scheme.get("tolerance_seconds") or scheme.get("jwt", {}).get("tolerance_seconds") or 300
    return (f"The signed time admits a recorded delivery for {tolerance} seconds. `duplicates` would let it pass once, and name it by all that is signed, the time included: "
            f'a retry that is signed anew counts as another delivery, unless `"id": {{"json": POINTER}}` names a value of the body that the tries share: {operating}.')


def unsigned_id(source: dict) -> str | None:
    field = source.get("delivery_id") or source.get("scheme", {}).get("delivery_id")
    if not field or signs_id(source) or f"{{header:{field.get('header')}}}" in source.get("scheme", {}).get("signed", ""):
        return None
    return prose(f"The {place(field)} is logged as the id of the delivery and passed on as `x-webhook-guard-delivery-id`. Nothing signs it: it names nothing for `duplicates`.")


def addresses(name: str, block: dict, blocks: dict[str, dict], feeds: dict[str, dict]) -> str | None:
    listed = block.get("addresses")
    alike = [one for one in blocks if listed and blocks[one].get("addresses") == listed]
    found = [feed for feed, of in feeds.items() if name in of.get("providers", [])]
    found = found or [feed for feed, of in feeds.items() if set(alike) & set(of.get("providers", []))][:1]
    said = []
    for feed in found:
        note = feeds[feed].get("note")
        said.append(f'`{{"feed": "{feed}"}}` in `source_ip` keeps its list: {feeds[feed]["title"]}.' + (f" {note}" if note else ""))
    if not found and listed:
        listed = [listed] if isinstance(listed, str) else listed
        said.append(f"It publishes its addresses: {', '.join(f'<{one}>' if one.startswith('https://') else f'`{one}`' for one in listed)}.")
    return prose(" ".join([*said, "An address is a second lock, and hardly ever the only one: [addresses.md](../addresses.md)."])) if said else None


def certificate(block: dict) -> str | None:
    known, _, where = block.get("client_certificate", "").rpartition(": ")
    return prose(f"{known[0].upper()}{known[1:]}: <{where}>. How a policy asks for it: [configuration.md](../configuration.md#the-senders-certificate).") if known else None


def traps(block: dict, source: dict, shapes: list[dict]) -> list[str]:
    scheme, kind = source.get("scheme", {}), block["checked"]["kind"]
    found = [block.get("setup"), block.get("guide", {}).get("traps")]
    if "token" in source:
        kept = "stays in the body" if "json" in source["token"] else "is removed before the application and the access log see it"
        found.append(f"It sends a token and signs nothing: whoever has seen one delivery can send any other. At the gateway the token {kept}.")
    elif not signs_body(source):
        found.append("The signature does not cover the body." if is_timed(source) else "The signature covers neither the body nor a time: a recorded one passes for ever, with any body.")
    elif not is_timed(source) and block["timestamp"] == "unsigned":
        found.append("It sends a time and does not sign it: a recorded delivery would pass for ever without `duplicates`.")
    elif not is_timed(source):
        found.append("It signs no time: a recorded delivery would pass for ever without `duplicates`.")
    if scheme.get("algorithm") == "hmac-sha1":
        found.append("The hash of the signature is SHA-1. Where the provider offers one with SHA-256, take that.")
    if signs_url(source):
        found.append("The URL is signed: `public_url` has to be the one that was entered at the provider, letter by letter.")
    if any(not one.get("signed") and "verify_token" not in one for one in shapes):
        found.append("Its test is not signed: with `handshake` the gateway answers it for anybody who knows the path, and nothing of it reaches the application.")
    if kind in DOUBTS:
        found.append(f'{DOUBTS[kind]}: let the policy report (`"mode": "report"`) until a delivery has held.')
    return [one for one in found if one]


def commands(name: str, source: dict) -> list[str]:
    secret = f"--provider {name} --secret-env {variable(name, source)}"
    url = f" --public-url {HOST}" if signs_url(source) else ""
    sign = f"webhook-guard sign {secret} --url {HOST}/hooks/{name} --send"
    return [*([] if source.get("scheme", {}).get("algorithm") in PUBLIC else [sign]),
            f"webhook-guard try --config guard.json --url {HOST}",
            f"webhook-guard doctor {secret}{url} --request delivery.http"]


def about_the_commands(source: dict) -> str:
    sign = ("`sign` would need the provider's private key." if source.get("scheme", {}).get("algorithm") in PUBLIC
            else "`sign` sends a delivery as the provider would, with `--tamper` one that is to be refused.")
    return f"{sign} `try` tries every policy of `guard.json`. `doctor` says why a captured delivery was refused: [command-line.md](../command-line.md)."


def sources(block: dict) -> list[str]:
    of = block["checked"]
    found = [f"How a delivery is checked: {of['kind']}" + (f", {of['date']}, {cited(of['source'])}." if "source" in of else ".")]
    if known := block.get("guide"):
        found.append(f"What is said of the provider's side: {cited(known['source'])}.")
    return found


def differing() -> list[str]:
    """The pages that are not what the catalogue makes, those included that are lacking or of no provider."""
    made, there = guides(), {path.stem: path.read_text() for path in FOLDER.glob("*")}
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    made = guides()
    for path in FOLDER.glob("*"):
        if path.stem not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / f"{name}.md").write_text(text)


if __name__ == "__main__":
    main()
