"""README and docs: short enough to be read, nothing in them that is not there, and the demo says what the README shows.

The configurations and commands that they show are held by tests/readme.rs and tests/cli/readme.rs, the tables by tests/schema.
"""

import functools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pictures
import provider_guides
import pytest

from harness import program
from harness.envoy import ROOT

PAGES = {str(path.relative_to(ROOT)): path.read_text()
         for folder in ("docs", "envoy", ".github") for path in [ROOT / "README.md", *(ROOT / folder).rglob("*.md")]}
ALL = pytest.mark.parametrize("name", PAGES)
CONTRIBUTING = (ROOT / ".github/CONTRIBUTING.md").read_text()
PACKAGE = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]


def without_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.*)", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short():
    lines = PAGES["README.md"].splitlines()
    assert len(lines) <= 260
    assert not [line for line in lines if len(line) > 120]


@ALL
def test_its_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)]+)\)", without_blocks(PAGES[name])):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            found = (ROOT / name).parent / path if path else ROOT / name
            assert found.exists(), target
            assert not anchor or anchor in anchors(found.read_text()), target


@ALL
def test_what_it_names_is_there(name):
    """Files of the project by their path, targets of the Makefile, commands of the command line."""
    spans = re.findall(r"`([^`\n]+)`", without_blocks(PAGES[name]))
    paths = [span for span in spans if re.fullmatch(r"(?:src|tests|envoy|docs|\.ci|\.github)/[\w./-]+", span) and "NAME" not in span]
    assert not [path for path in paths if not (ROOT / path).exists()]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {span.split()[1] for span in spans if span.startswith("make ")} <= targets
    assert {span.split()[1] for span in spans if re.match("webhook-guard [a-z]", span)} <= commands()


@functools.cache
def commands() -> set[str]:
    listed = program.run("--help", env={}).stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    return set(re.findall(r"^  ([a-z-]+)", listed, re.MULTILINE))


def test_the_functions_of_the_walks_are_where_they_say():
    named = re.findall(r"`(src/[\w./-]+\.rs):(\w+)`", PAGES["docs/walks.md"])
    assert named
    assert not [(path, function) for path, function in named
                if not re.search(rf"^\s*(?:pub(?:\(\w+\))? )?(?:const )?fn {function}\b", (ROOT / path).read_text(), re.MULTILINE)]


def test_every_page_is_in_the_index():
    assert not [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md" and f"]({path.name})" not in PAGES["docs/README.md"]]


def test_the_guides_are_what_the_catalogue_makes():
    assert not provider_guides.differing(), "run `make docs`"


def test_the_guides_are_short():
    """One page each, in which what nobody knows is left out with its heading."""
    for name, text in provider_guides.guides().items():
        assert len(text.splitlines()) <= 70, name
        assert not re.search(r"^## .*\n\n(?:#|\Z)|None|\(\)|(?<!`)``(?!`)", text, re.MULTILINE), name


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_is_what_its_data_make(name):
    assert (ROOT / "docs" / name).read_text() == pictures.PICTURES[name](), "run `make docs`"


def test_the_demo_prints_what_the_readme_shows():
    """Where the README leaves something out it says `…`: within a line, or as a line for any number of them."""
    shown = PAGES["README.md"].partition("```console\n$ make demo\n")[2].partition("```")[0]
    done = subprocess.run([sys.executable, ROOT / "tests/demo.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pattern = re.escape(shown).replace(re.escape("…\n"), "(?:.*\n)*?").replace("…", ".*")
    assert re.fullmatch(pattern, done.stdout), done.stdout


def test_the_oldest_rust_is_the_one_that_is_named():
    """The tests of continuous integration build with it; clippy holds the calls of the standard library to it."""
    assert f"Rust {PACKAGE['rust-version']} or newer" in CONTRIBUTING


def test_the_changelog_has_the_version():
    assert re.search(rf"^## {re.escape(PACKAGE['version'])}\b", PAGES["docs/CHANGELOG.md"], re.MULTILINE)


def test_the_tests_that_measure_time_are_named():
    """All others pass on a slow machine too."""
    bounds = re.compile(r"assert (?!.*deadline).*(?:monotonic\(\)|perf_counter\(\)|_seconds\b).*[<>]")
    found = {path.name for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__) and bounds.search(path.read_text())}
    named = re.search(r"No test measures time but (.*?), ", CONTRIBUTING)
    assert named and set(re.findall(r"`(\w+\.py)`", named[1])) == found
