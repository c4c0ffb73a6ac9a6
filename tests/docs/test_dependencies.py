"""docs/dependencies.md: every package that is taken from others has its reason and its place there, and unsafe code its number.

That a package is used in its place alone is held for the core and the modules by tests/core/architecture.rs.
"""

import re
import tomllib

import pytest

from harness.envoy import ROOT

TEXT = (ROOT / "docs/dependencies.md").read_text()
MEMBERS = [path.removeprefix("src/") for path in tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]]
KINDS = ("dependencies", "build-dependencies", "dev-dependencies")


def section(name: str) -> list[list[str]]:
    """The rows of the table under a heading."""
    text = TEXT.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]


def depended(member: str) -> set[str]:
    manifest = tomllib.loads((ROOT / "src" / member / "Cargo.toml").read_text())
    return {package for table in (manifest, *manifest.get("target", {}).values()) for kind in KINDS for package in table.get(kind, {})}


@pytest.mark.parametrize("member", MEMBERS)
def test_each_dependency_has_its_reason(member):
    rows = section(member)
    assert sorted(depended(member)) == [package.strip("`") for package, *_ in rows]
    assert all(reason for _, reason, _ in rows)


@pytest.mark.parametrize("member", MEMBERS)
def test_each_dependency_is_used_where_it_says(member):
    for package, _, places in section(member):
        name = package.strip("`").replace("-", "_")
        for place in re.findall(r"`([^`]+)`", places):
            path = ROOT / place
            files = [path] if path.is_file() else [path.with_suffix(".rs"), *path.rglob("*.rs")]
            texts = [file.read_text() for file in files if file.exists()]
            assert any(re.search(rf"(?<!::)\b{name}\b(?:::|;| as )", text) for text in texts), (package, place)


def test_unsafe_code_is_counted():
    """In all of src, comments apart."""
    found = {}
    for path in (ROOT / "src").rglob("*.rs"):
        code = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("//"))
        if number := len(re.findall(r"\bunsafe\b", code)):
            found[f"`{path.relative_to(ROOT)}`"] = [str(number), str(len(re.findall(r"\bunsafe \{", code)))]
    assert {file: numbers for file, *numbers in section("Unsafe code of our own")} == found
