"""The OCI image of .ci/image, unpacked as the fetchers of Istio and Envoy Gateway do it: it holds the module, and only that.

And taken by those who are to take it: a Docker engine, and the tools that push such a layout, where they are installed.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from harness.envoy import ROOT, find_module


def digest(module: bytes) -> str:
    return hashlib.sha256(module).hexdigest()


# Where `.ci/oci-tools` unpacks the packages of what is not installed, and the libraries that they want.
UNPACKED = ROOT / "target/tools/debian"


def tool(program: str) -> str | None:
    """The program as one calls it, on the PATH or unpacked."""
    return shutil.which(program) or shutil.which(program, path=UNPACKED / "usr/bin")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(tool(program) is None, reason=f"{program} is neither installed nor in {UNPACKED}: run .ci/oci-tools {UNPACKED}")


def has_docker() -> bool:
    return shutil.which("docker") is not None and subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def build(path: Path) -> Path:
    environment = {"WEBHOOK_GUARD_IMAGE": str(path), "WEBHOOK_GUARD_WASM": str(find_module().resolve())}
    subprocess.run([sys.executable, ROOT / ".ci/image"], check=True, env=os.environ | environment, stdout=subprocess.DEVNULL)
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("image") / "image")


def blob(image: Path, descriptor: dict) -> bytes:
    data = (image / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
    assert (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data)) == (descriptor["digest"], descriptor["size"])
    return data


def test_it_holds_the_module_in_the_form_that_both_fetchers_accept(image):
    assert json.loads((image / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (descriptor,) = json.loads((image / "index.json").read_text())["manifests"]
    manifest = json.loads(blob(image, descriptor))
    assert manifest["mediaType"] == descriptor["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
    tar = gzip.decompress(blob(image, layer))
    config = json.loads(blob(image, manifest["config"]))
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(tar).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(tar)) as files:
        assert files.getnames() == ["plugin.wasm"]
        module = files.extractfile("plugin.wasm").read()
    assert digest(module) == digest(find_module().read_bytes())


def test_the_same_module_is_the_same_image(image, tmp_path):
    def files(path: Path) -> dict:
        return {one.relative_to(path): one.read_bytes() for one in path.rglob("*") if one.is_file()}

    again = build(tmp_path / "again")
    assert files(again) == files(image)
    assert again.with_suffix(".tar").read_bytes() == image.with_suffix(".tar").read_bytes()


@pytest.mark.skipif(not has_docker(), reason="no Docker engine answers")
def test_a_docker_engine_loads_it(image, tmp_path):
    loaded = run("docker", "load", "--input", image.with_suffix(".tar")).split("\n")[0]
    assert loaded == "Loaded image: webhook-guard:latest"
    container = run("docker", "create", "webhook-guard:latest", "none").strip()
    try:
        run("docker", "cp", f"{container}:/plugin.wasm", tmp_path)
    finally:
        run("docker", "rm", container)
        run("docker", "rmi", "webhook-guard:latest")
    assert digest((tmp_path / "plugin.wasm").read_bytes()) == digest(find_module().read_bytes())


@needs("skopeo")
@pytest.mark.parametrize("form", ["oci:{}:latest", "oci-archive:{}.tar:latest"])
def test_what_pushes_it_reads_the_same_manifest(image, form, tmp_path):
    """A copy that keeps every digest is what a push does, but to a folder. The workflow of a release pushes the archive."""
    run(tool("skopeo"), "--insecure-policy", "copy", "--preserve-digests", form.format(image), f"dir:{tmp_path}")
    (descriptor,) = json.loads((image / "index.json").read_text())["manifests"]
    assert f"sha256:{digest((tmp_path / 'manifest.json').read_bytes())}" == descriptor["digest"]


@needs("umoci")
def test_what_unpacks_it_finds_the_module_alone(image, tmp_path):
    run(tool("umoci"), "raw", "unpack", "--rootless", "--image", f"{image}:latest", tmp_path / "files")
    assert [one.name for one in (tmp_path / "files").rglob("*")] == ["plugin.wasm"]
    assert digest((tmp_path / "files/plugin.wasm").read_bytes()) == digest(find_module().read_bytes())


def run(*command: object) -> str:
    libraries = map(str, (UNPACKED / "usr/lib").glob("*-linux-gnu"))
    environment = {"LD_LIBRARY_PATH": ":".join(libraries)} if str(command[0]).startswith(str(UNPACKED)) else {}
    done = subprocess.run(list(map(str, command)), env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
