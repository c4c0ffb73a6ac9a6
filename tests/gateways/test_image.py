"""The OCI image of .ci/image, unpacked as the fetchers of Istio and Envoy Gateway do it: it holds the module, and only that."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from harness.envoy import ROOT, find_module


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
    assert hashlib.sha256(module).digest() == hashlib.sha256(find_module().read_bytes()).digest()


def test_the_same_module_is_the_same_image(image, tmp_path):
    def files(path: Path) -> dict:
        return {one.relative_to(path): one.read_bytes() for one in path.rglob("*") if one.is_file()}

    assert files(build(tmp_path / "again")) == files(image)
