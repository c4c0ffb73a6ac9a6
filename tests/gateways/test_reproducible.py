"""Two builds of one commit are one module, byte for byte; and what is built stands where the Makefile says, wherever cargo works."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.envoy import ROOT, find_module


def copy_to(folder: Path) -> Path:
    """What git has or would add, as it is now."""
    files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, files.decode().split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def home(folder: Path) -> Path:
    """Another home of cargo, with the packages of the real one, so that nothing is fetched twice."""
    folder.mkdir()
    real = ROOT / os.environ.get("CARGO_HOME", Path.home() / ".cargo")
    for name in ("registry", "config.toml"):
        if (real / name).exists():
            (folder / name).symlink_to(real / name)
    return folder


def test_the_module_does_not_depend_on_where_or_by_whom_it_was_built(tmp_path):
    """Another clone, another home of cargo, another place where it works, and a builder with flags of their own for rustc."""
    elsewhere = copy_to(tmp_path / "a clone/of another name")
    environment = os.environ | {
        "CARGO_HOME": str(home(tmp_path / "another home of cargo")), "CARGO_NET_OFFLINE": "true",
        "CARGO_TARGET_DIR": "../where cargo works", "RUSTFLAGS": "-Copt-level=1 -Ctarget-feature=-simd128",
        "CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS": "-Cdebuginfo=1", "CARGO_PROFILE_RELEASE_STRIP": "none", "CARGO_INCREMENTAL": "1",
    }
    built = subprocess.run([elsewhere / ".ci/wasm"], env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "a clone/where cargo works/wasm32-wasip1/release").is_dir()
    module = (elsewhere / "target/wasm32-wasip1/release/webhook_guard.wasm").read_bytes()
    assert str(tmp_path).encode() not in module
    assert hashlib.sha256(module).hexdigest() == hashlib.sha256(find_module().read_bytes()).hexdigest()
    assert f"sha256 {hashlib.sha256(module).hexdigest()}" in built.stdout


def test_cargo_is_shown_one_machine(tmp_path):
    """The names of crates hang on it; all else is the machine's own rustc."""
    (tmp_path / "rustc").write_text('#!/bin/sh\nprintf "release: 1\\nhost: aarch64-unknown-linux-gnu\\n%s\\n" "$*"\n')
    (tmp_path / "rustc").chmod(0o755)

    def said(*arguments: str) -> list[str]:
        environment = os.environ | {"WEBHOOK_GUARD_RUSTC": str(tmp_path / "rustc")}
        return subprocess.run([ROOT / ".ci/rustc", *arguments], env=environment, check=True, capture_output=True, text=True).stdout.splitlines()

    assert said("-vV") == ["release: 1", "host: x86_64-unknown-linux-gnu", "-vV"]
    assert said("--print", "a b") == ["release: 1", "host: aarch64-unknown-linux-gnu", "--print a b"]
    assert '|| export WEBHOOK_GUARD_RUSTC="$rustc" RUSTC="$(pwd -P)/.ci/rustc"' in (ROOT / ".ci/wasm").read_text()


def test_the_module_uses_the_vector_instructions(tmp_path):
    """The opcode of simd128 (0xfd) in front of i32x4.add (174 in two bytes of LEB128), which SHA-256 cannot do without."""
    assert find_module().read_bytes().count(b"\xfd\xae\x01") > 100


PACKAGE = {
    "Cargo.toml": '[package]\nname = "some"\nversion = "0.1.0"\nedition = "2024"\n[lib]\ncrate-type = ["cdylib"]\n',
    "src/lib.rs": "",
    "src/bin/thing.rs": 'fn main() { print!("{}", if cfg!(first) { "first" } else { "second" }) }',
}


@pytest.mark.parametrize("place", [None, "cargo works here", "/cargo works there"])
def test_what_cargo_builds_is_put_where_it_is_looked_for(place, tmp_path):
    """Wherever cargo works, for whichever target; with the caller's flags for rustc; and again after a change."""
    clone = tmp_path / "clone"
    for name, text in PACKAGE.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(text)
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("RUSTFLAGS", "TARGET_DIR"))}
    where = {} if place is None else {"CARGO_TARGET_DIR": str(tmp_path) + place if place.startswith("/") else place}
    host = re.search(r"^host: (.*)$", subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout, re.MULTILINE)[1]
    for more, said in (({"RUSTFLAGS": "--cfg first"}, "first"), ({}, "second"), ({"CARGO_BUILD_TARGET": host}, "second")):
        subprocess.run([ROOT / ".ci/build", "target/debug", "build", "--quiet", "--offline"], cwd=clone, env=kept | where | more, check=True)
        assert subprocess.run([clone / "target/debug/thing"], check=True, capture_output=True, text=True).stdout == said
        assert (clone / "target/debug/libsome.so").is_file()
    assert (clone / "target/debug/.fingerprint").exists() == (place is None)


def test_a_build_that_fails_says_so_and_puts_nothing_in_place(tmp_path):
    (tmp_path / "Cargo.toml").write_text(PACKAGE["Cargo.toml"])
    (tmp_path / "src").mkdir()
    (tmp_path / "src/lib.rs").write_text("no rust")
    done = subprocess.run([ROOT / ".ci/build", "out", "build", "--offline"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "expected one of" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_makefile_builds_in_no_other_way():
    """A `cargo build` of its own would leave what it makes where only the caller's cargo knows."""
    recipes = re.sub(r"^#.*", "", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert ".ci/build target/" in recipes
    assert not re.findall(r"cargo (?:build|rustc|clean)\b", recipes)
