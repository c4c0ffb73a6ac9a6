"""Two builds of one commit, in different folders and with different homes of cargo, are one module, byte for byte."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

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
    real = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    for name in ("registry", "config.toml"):
        if (real / name).exists():
            (folder / name).symlink_to(real / name)
    return folder


def test_the_module_does_not_depend_on_where_it_was_built(tmp_path):
    elsewhere = copy_to(tmp_path / "a clone/of another name")
    environment = os.environ | {"CARGO_HOME": str(home(tmp_path / "another home of cargo")), "CARGO_NET_OFFLINE": "true"}
    built = subprocess.run([elsewhere / ".ci/wasm"], env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    module = (elsewhere / "target/wasm32-wasip1/release/webhook_guard.wasm").read_bytes()
    assert str(tmp_path).encode() not in module
    assert hashlib.sha256(module).hexdigest() == hashlib.sha256(find_module().read_bytes()).hexdigest()
    assert f"sha256 {hashlib.sha256(module).hexdigest()}" in built.stdout
