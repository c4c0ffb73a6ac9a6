"""The workflows of .github: valid, with the least permissions, and of targets that the Makefile has; and .ci/run, which is one of their steps."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from harness.envoy import ROOT

FOLDER = ROOT / ".github/workflows"
TEXTS = {path.name: path.read_text() for path in FOLDER.iterdir()}
ALL = pytest.mark.parametrize("name", TEXTS)
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
GATE = "\n".join(line for line in (ROOT / ".ci/run").read_text().splitlines() if not line.strip().startswith(("#", "echo")))


def jobs(name: str) -> list[dict]:
    return list(yaml.safe_load(TEXTS[name])["jobs"].values())


def targets(text: str) -> list[str]:
    """Every target of every call of make, which may name several."""
    return [target for call in re.findall(r"\bmake((?: [a-z-]+)+)", text) for target in call.split()]


def runs(name: str) -> str:
    return "\n".join(step["run"] for job in jobs(name) for step in job["steps"] if "run" in step)


def test_there_are_two():
    assert TEXTS.keys() == {"ci.yaml", "release.yaml"}


@ALL
def test_it_is_a_workflow(name):
    """By the schema that check-jsonschema brings along."""
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", FOLDER / name], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("text", [runs("release.yaml"), GATE], ids=["release.yaml", ".ci/run"])
def test_it_calls_targets_that_exist(text):
    assert targets(text)
    assert set(targets(text)) <= TARGETS


def test_ci_is_what_a_submission_must_pass():
    assert ".ci/run" in runs("ci.yaml").splitlines()


def test_the_gate_is_every_test_and_the_linters():
    """`test` is two parts, and .ci/run names what the second is made of, to run some of it at once."""
    (parts,) = re.findall(r"^test: ([a-z -]+) ##", MAKEFILE, re.MULTILINE)
    (built,) = re.findall(r"^test-built: ([a-z -]+) #", MAKEFILE, re.MULTILINE)
    assert set(parts.split()) - {"test-built"} | set(built.split()) | {"lint", "test-compose"} <= set(targets(GATE))


def test_the_guides_name_targets_that_exist():
    named = {target for path in (ROOT / ".github").glob("*.md") for target in re.findall(r"`make ([a-z-]+)`", path.read_text())}
    assert named
    assert named <= TARGETS


@ALL
def test_nobody_gets_more_than_is_needed(name):
    """Reading, but for the job that publishes and attests; no action by a name that can move; no token left in the clone."""
    assert yaml.safe_load(TEXTS[name])["permissions"] == {"contents": "read"}
    publishes = {"contents": "write", "id-token": "write", "attestations": "write"}
    assert [job["permissions"] for job in jobs(name) if "permissions" in job] == ([publishes] if name == "release.yaml" else [])
    for step in (step for job in jobs(name) for step in job["steps"] if "uses" in step):
        assert re.fullmatch(r"actions/(checkout|upload-artifact|download-artifact|attest-build-provenance)@[0-9a-f]{40}", step["uses"])
        assert step["with"].get("persist-credentials") is (False if "checkout" in step["uses"] else None)


def test_a_release_names_the_rust_that_built_it():
    """With it SECURITY.md tells how to build the same module again; what else a release has is held by test_dist.py."""
    assert re.search(r'gh release create .* --notes "Built with \$\(head -n 1 target/dist/rustc\.txt\)\."', runs("release.yaml"))
    assert "rustc.txt" in (ROOT / ".github/SECURITY.md").read_text()


def test_the_oldest_rust_is_asked_of_the_manifest(tmp_path):
    """The step as it stands, with a rustup and a cargo that write down what they are told."""
    (step,) = [step["run"] for job in jobs("ci.yaml") for step in job["steps"] if "rust-version" in step.get("run", "")]
    for name in ("rustup", "cargo"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    said = subprocess.run(["sh", "-euc", step], cwd=ROOT, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True, capture_output=True, text=True).stdout
    oldest = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    assert said.splitlines() == [f"rustup toolchain install {oldest} --profile minimal", f"cargo +{oldest} check --locked"]
