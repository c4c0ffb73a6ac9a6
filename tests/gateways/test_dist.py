"""What `make dist` makes is what the workflow publishes and what docs/releasing.md names; sums, provenance and lists agree with the files.

.ci/dist and .ci/sums run as they stand, over what has been built for the tests: in a copy of the clone, since the tool that lists what
is compiled in writes into it. Where `make dist` has not installed that tool, one that writes names alone stands in.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from gateways.test_reproducible import copy_to
from harness.envoy import ROOT, find_module, find_native
from harness.program import find_program

TOOL = ROOT / "target/tools/bin/cargo-cyclonedx"
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
HOST = re.search(r"^host: (.*)$", subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout, re.MULTILINE)[1]
ARCHITECTURE = HOST.split("-")[0]
ARCHITECTURES = {"x86_64", "aarch64"}
# Of which package and for which target each artefact is built. The image is the module in a tar.
ARTEFACTS = {"webhook_guard.wasm": ("webhook-guard-filter", "wasm32-wasip1"), f"libwebhook_guard-{ARCHITECTURE}.so": ("webhook-guard-native", HOST),
             f"webhook-guard-{ARCHITECTURE}": ("webhook-guard", HOST), f"webhook-guard-messages-{ARCHITECTURE}": ("webhook-guard-messages", HOST)}
IMAGE = "webhook-guard-image.tar"
STAND_IN = """#!/usr/bin/env python3
import json, pathlib, sys, tomllib
name = sys.argv[sys.argv.index("--override-filename") + 1] + ".json"
for manifest in pathlib.Path("src").glob("*/Cargo.toml"):
    package = tomllib.loads(manifest.read_text())["package"]["name"]
    version = tomllib.loads(pathlib.Path("Cargo.toml").read_text())["workspace"]["package"]["version"]
    manifest.with_name(name).write_text(json.dumps({"metadata": {"component": {"name": package, "version": version}}}))
"""


def git(*arguments: str) -> str:
    return subprocess.run(["git", "--no-optional-locks", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which `make dist` has been run, but for what it builds."""
    clone = copy_to(tmp_path_factory.mktemp("dist") / "clone")
    programs = find_program().parent
    for name, built in (("wasm32-wasip1/release/webhook_guard.wasm", find_module()), ("released/libwebhook_guard.so", find_native()),
                        ("released/webhook-guard", programs / "webhook-guard"), ("released/webhook-guard-messages", programs / "webhook-guard-messages")):
        (clone / "target" / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / "target" / name).symlink_to(built.resolve())
    tool = clone / "target/cargo-cyclonedx"
    tool.write_text(STAND_IN)
    tool.chmod(0o755)
    for command in (".ci/image",), (".ci/dist", TOOL if TOOL.exists() else tool), (".ci/sums", "target/dist"):
        run(clone, *command)
    return clone


def run(clone: Path, *command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """As a step of the Makefile or of the workflow, with the history of the real clone and no machine of GitHub's."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "WEBHOOK_GUARD"))}
    there = {"GIT_DIR": git("rev-parse", "--absolute-git-dir"), "GIT_WORK_TREE": str(clone), "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(list(map(str, command)), cwd=clone, env=mine | there, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def dist(clone: Path) -> Path:
    return clone / "target/dist"


def made_elsewhere(dist: Path, folder: Path) -> Path:
    """What a machine of the other architecture makes, by its names."""
    (other,) = ARCHITECTURES - {ARCHITECTURE}
    folder.mkdir()
    for one in dist.iterdir():
        shutil.copy(one, folder / one.name.replace(ARCHITECTURE, other))
    return folder


def documented(architectures: set[str]) -> set[str]:
    """The files of the table in docs/releasing.md; ARCH is each of these, and `.cdx.json` stands for a file's list."""
    rows = re.findall(r"^\| `(.*?)` \|(.*)$", (ROOT / "docs/releasing.md").read_text(), re.MULTILINE)
    names = {name for name, _ in rows} | {f"{name}.cdx.json" for name, row in rows if "`.cdx.json`" in row}
    return {name.replace("ARCH", architecture) for name in names for architecture in architectures}


def test_what_is_made_is_what_is_documented(dist):
    assert {one.name for one in dist.iterdir()} == documented({ARCHITECTURE})


def test_what_is_published_is_what_the_machines_made_together(clone, dist, tmp_path):
    run(clone, ".ci/sums", tmp_path / "joined", dist, made_elsewhere(dist, tmp_path / "elsewhere"))
    assert {one.name for one in (tmp_path / "joined").iterdir()} == documented(ARCHITECTURES)
    judge(tmp_path / "joined")


def test_another_module_from_another_machine_is_no_release(clone, dist, tmp_path):
    elsewhere = made_elsewhere(dist, tmp_path / "elsewhere")
    with (elsewhere / "webhook_guard.wasm").open("ab") as module:
        module.write(b"\0")
    done = run(clone, ".ci/sums", tmp_path / "joined", dist, elsewhere, check=False)
    assert done.returncode == 1
    assert "webhook_guard.wasm is not what another machine made" in done.stderr
    assert not (tmp_path / "joined/SHA256SUMS").exists()


def test_sums_and_provenance_are_of_every_file(dist):
    judge(dist)


def judge(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    sums = {name: digest for digest, name in (line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines())}
    assert sums.keys() == {one.name for one in folder.iterdir()} - {"SHA256SUMS"}
    statement = json.loads((folder / "provenance.json").read_text())
    assert {one["name"]: one["digest"]["sha256"] for one in statement["subject"]} == {name: sums[name] for name in sums.keys() - {"provenance.json"}}


def test_the_provenance_says_of_what_and_with_what(clone, dist):
    statement = json.loads((dist / "provenance.json").read_text())
    assert (statement["_type"], statement["predicateType"]) == ("https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1")
    built, ran = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    assert built["externalParameters"] == {"command": "make dist"}
    assert built["internalParameters"]["rustc"][0] == subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    assert not any(line.startswith("host") for line in built["internalParameters"]["rustc"])
    source, lock = built["resolvedDependencies"]
    assert source["digest"] == {"gitCommit": git("rev-parse", "HEAD")}
    assert ("annotations" in source) == bool(run(clone, "git", "status", "--porcelain").stdout)
    assert lock == {"uri": "Cargo.lock", "digest": {"sha256": sha256(ROOT / "Cargo.lock")}}
    assert ran == {"builder": {"id": "local"}, "metadata": {"webhookguard_signed": False}}


def test_the_provenance_says_that_the_clone_was_changed(clone, dist, tmp_path):
    """A file that no commit has."""
    (clone / "src/core/fresh.rs").write_text("")
    run(clone, ".ci/sums", tmp_path / "joined", dist)
    (clone / "src/core/fresh.rs").unlink()
    source = json.loads((tmp_path / "joined/provenance.json").read_text())["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    assert source["annotations"] == {"changed": "files that are not in the commit"}


def test_each_artefact_is_what_was_built_and_has_its_list(dist):
    named = {one.name.removesuffix(".cdx.json") for one in dist.glob("*.cdx.json")}
    assert named == ARTEFACTS.keys() == {one.name for one in dist.iterdir()} - {"SHA256SUMS", "provenance.json", "rustc.txt", IMAGE} - {
        f"{name}.cdx.json" for name in named}
    for name, (package, _) in ARTEFACTS.items():
        component = json.loads((dist / f"{name}.cdx.json").read_text())["metadata"]["component"]
        assert (component["name"], component["version"]) == (package, VERSION)
    built = {"webhook_guard.wasm": find_module(), f"libwebhook_guard-{ARCHITECTURE}.so": find_native(), f"webhook-guard-{ARCHITECTURE}": find_program()}
    assert {name: sha256(dist / name) for name in built} == {name: sha256(path) for name, path in built.items()}
    assert not list(dist.parents[1].glob("src/*/*.cdx.json"))


@pytest.mark.skipif(not TOOL.exists(), reason=f"`make dist` has not installed {TOOL}: the workflow of a release does so before its tests")
@pytest.mark.parametrize("name", ["webhook_guard.wasm", f"webhook-guard-messages-{ARCHITECTURE}"])
def test_the_list_is_what_cargo_compiles_in(dist, name):
    """All that `cargo tree` names; and nothing that is not in cargo's own resolution, which knows no weak features and so has a little more."""
    package, target = ARTEFACTS[name]
    tree = cargo("tree", "--package", package, "--edges", "normal", "--target", target, "--prefix", "none")
    listed = json.loads((dist / f"{name}.cdx.json").read_text())
    named = {(one["name"], one["version"]) for one in [*listed["components"], listed["metadata"]["component"]]}
    assert set(re.findall(r"^(\S+) v(\S+)", tree, re.MULTILINE)) <= named <= resolved(package, target)


def cargo(*arguments: str) -> str:
    return subprocess.run(["cargo", *arguments, "--locked"], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def resolved(package: str, target: str) -> set[tuple[str, str]]:
    """The packages to which normal dependencies lead."""
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", target))
    named = {one["id"]: (one["name"], one["version"]) for one in metadata["packages"]}
    leads = {node["id"]: [dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
             for node in metadata["resolve"]["nodes"]}
    found, left = set(), [one for one, (name, _) in named.items() if name == package]
    while left:
        if (one := left.pop()) not in found:
            found.add(one)
            left += leads[one]
    return {named[one] for one in found}


WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())["jobs"]


def test_the_workflow_makes_joins_attests_and_publishes_in_this_order():
    build, publish = WORKFLOW["build"], WORKFLOW["publish"]
    assert (build["needs"], publish["needs"]) == ("test", "build")
    assert {"aarch64" if runner.endswith("-arm") else "x86_64" for runner in build["strategy"]["matrix"]["runner"]} == ARCHITECTURES
    (upload,) = [step["with"] for step in build["steps"] if "upload-artifact" in step.get("uses", "")]
    assert [step["run"] for step in build["steps"] if "run" in step][-1] == "make dist"
    assert upload["path"] == "target/dist"
    (download,) = [step["with"] for step in publish["steps"] if "download-artifact" in step.get("uses", "")]
    (attested,) = [step["with"] for step in publish["steps"] if "attest-build-provenance" in step.get("uses", "")]
    does = [step.get("run") or step["uses"].split("@")[0] for step in publish["steps"]][1:]
    assert [one.split(" ")[0] for one in does] == ["actions/download-artifact", ".ci/sums", "actions/attest-build-provenance", "gh", "printf"]
    assert does[1] == f".ci/sums target/dist {download['path']}/*"
    assert attested["subject-path"] == "target/dist/*"
    assert does[3].endswith(" target/dist/*")
    assert f"oci-archive:target/dist/{IMAGE}:latest" in does[4]


@pytest.mark.parametrize(("tag", "status"), [(f"v{VERSION}", 0), (VERSION, 1), (f"v{VERSION}-rc1", 1), ("v0.0.0", 1)])
def test_a_tag_is_the_version_of_the_manifest(tag, status):
    """The step as it stands."""
    (step,) = [step["run"] for step in WORKFLOW["test"]["steps"] if step.get("name") == "The tag is the version"]
    assert subprocess.run(["sh", "-euc", step], cwd=ROOT, env=os.environ | {"TAG": tag}).returncode == status


def test_the_version_is_the_changelog_s_newest():
    newest = re.search(r"^## (\S+), (\S+)$", (ROOT / "docs/CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == VERSION
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", newest[2])
