"""The table of docs/providers.md is the catalogue's, and the catalogue says of every provider what an operator asks."""

import re

import provider_table

KINDS = {"published vector", "vendor library run in a test", "vendor code read", "documentation read",
         "independent receiver read", "unconfirmed"}


def test_the_documentation_lists_the_catalogue():
    assert provider_table.current() == provider_table.table(), "run: python tests/provider_table.py"


def test_every_provider_says_where_it_is_documented_and_what_it_was_checked_against():
    blocks = provider_table.catalogue()
    assert len(blocks) > 190
    for name, block in blocks.items():
        assert block["title"] and block["documentation"].startswith("https://"), name
        checked = block["checked"]
        assert checked["kind"] in KINDS, name
        assert set(checked) == ({"kind"} if checked["kind"] == "unconfirmed" else {"kind", "source", "date"}), name
        # What is said of a certificate ends with the page that says so.
        assert "client_certificate" not in block or block["client_certificate"].rpartition(": ")[2].startswith("https://"), name
        assert block["timestamp"] in {"signed", "unsigned", "none"}, name
        assert ("scheme" in block) + ("token" in block) + ("same_as" in block) == 1, name
        assert "same_as" not in block or "same_as" not in blocks[block["same_as"]], f"{name}: a chain"


def test_what_is_said_of_a_provider_s_side_was_read_somewhere():
    """A page, or a file of a repository at a commit; several are separated by semicolons."""
    known = {name: block["guide"] for name, block in provider_table.catalogue().items() if "guide" in block}
    assert len(known) >= 60
    source = re.compile(r"https://[^\s;]+|[\w.-]+/[\w.-]+@[0-9a-f]{7,40}:[^\s;]+")
    assert not {name: guide["source"] for name, guide in known.items() if not all(map(source.fullmatch, guide["source"].split("; ")))}
