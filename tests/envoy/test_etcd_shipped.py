"""envoy/etcd as an operator has it: TLS both ways, a user of etcd that may write nothing but its prefix, two gateways."""

import subprocess
from pathlib import Path

import pytest

from harness import certificates, client, shipped, signer, transcript
from harness.client import Request
from harness.envoy import Envoy
from harness.etcd import Etcd, find_etcdctl, needs_etcd
from harness.upstream import Upstream

pytestmark = [needs_etcd, pytest.mark.skipif(find_etcdctl() is None, reason="no etcdctl: neither on the PATH nor to be had as a package (.ci/etcd)")]
SECRET, HOST = "a-secret-of-the-test-of-the-etcd", "etcd.example.com"
# The files, the common names, and the names of hosts in them.
CERTIFICATES = {"server": ("etcd", HOST), "root": ("root", HOST), "client": ("webhook-guard", "gateway.example.com"),
                "other": ("another-user", "gateway.example.com"), "impostor": ("etcd", "elsewhere.example.com")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Certificates of one authority, and their keys."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = certificates.make("authority", is_authority=True)
    (folder / "ca.pem").write_text(authority.pem)
    for file, (name, host) in CERTIFICATES.items():
        made = certificates.make(name, authority, dns=(host,))
        (folder / f"{file}.pem").write_text(made.pem)
        (folder / f"{file}.key").write_text(made.key_pem)
    return folder


def tls(folder: Path, server: str = "server") -> list[str]:
    return [f"--cert-file={folder}/{server}.pem", f"--key-file={folder}/{server}.key",
            f"--trusted-ca-file={folder}/ca.pem", "--client-cert-auth"]


class Administrator:
    """Who types commands of etcdctl."""

    def __init__(self, etcd: Etcd, folder: Path) -> None:
        self._command = [str(find_etcdctl()), f"--endpoints=https://127.0.0.1:{etcd.port}", f"--cacert={folder}/ca.pem",
                         f"--cert={folder}/root.pem", f"--key={folder}/root.key", "--insecure-skip-tls-verify"]

    def types(self, line: str) -> str:
        done = subprocess.run([*self._command, *line.split()], capture_output=True, text=True, env={"ETCDCTL_API": "3"})
        assert done.returncode == 0, f"etcdctl {line}\n{done.stdout}{done.stderr}"
        return done.stdout


def gateway(folder: Path, etcd: Etcd, upstream: Upstream, certificate: str = "client") -> Envoy:
    config = shipped.load("etcd/envoy.yaml", upstream.port, once=True, etcd=etcd.port)
    names = {"ca.pem": "ca.pem", "client.pem": f"{certificate}.pem", "client.key": f"{certificate}.key"}
    files = {name: (folder / file).read_text() for name, file in names.items()}
    return Envoy(config, env={"GITHUB_WEBHOOK_SECRET": SECRET}, files=files)


def push(number: int) -> Request:
    return Request(b"/flexdeploy/webhooks/v1/github", signer.github(SECRET, b"%d" % number), b"%d" % number)


def test_two_gateways_with_a_user_that_may_do_nothing_else(folder):
    with Etcd(*tls(folder), scheme="https") as etcd, Upstream() as upstream:
        administrator = Administrator(etcd, folder)
        for line in ("user add root --no-password", "user grant-role root root"):
            administrator.types(line)
        for step in transcript.steps(shipped.DIRECTORY / "etcd/README.md"):
            step.check(administrator.types(step.command.removeprefix("etcdctl ")))
        administrator.types("user add another-user --no-password")
        administrator.types("auth enable")
        with gateway(folder, etcd, upstream) as one, gateway(folder, etcd, upstream) as other:
            statuses = [client.h1_length(envoy.port, push(number)).status for number in (1, 2) for envoy in (one, other, one)]
            assert statuses == [200, 409, 409] * 2
        assert administrator.types("get --prefix webhook-guard/ --keys-only").count("webhook-guard/") == 2
        with gateway(folder, etcd, upstream, "other") as stranger:
            request = push(3)
            assert client.h1_length(stranger.port, request).status == 503
            assert stranger.record(request.test_id)["reason"] == "memory_unavailable"


def test_who_has_another_certificate_of_the_authority_is_not_the_etcd(folder):
    with Etcd(*tls(folder, "impostor"), scheme="https") as etcd, Upstream() as upstream, gateway(folder, etcd, upstream) as envoy:
        request = push(1)
        assert client.h1_length(envoy.port, request).status == 503
        assert envoy.record(request.test_id)["reason"] == "memory_unavailable"
        assert upstream.requests == []
