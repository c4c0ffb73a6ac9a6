"""envoy/etcd as an operator has it: TLS both ways, a user of etcd that may write nothing but its prefix, two gateways."""

import datetime
import json
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness import client, shipped, signer, transcript
from harness.client import Request
from harness.envoy import Envoy
from harness.etcd import Etcd, find_etcdctl, needs_etcd
from harness.upstream import Upstream

pytestmark = [needs_etcd, pytest.mark.skipif(find_etcdctl() is None, reason="no etcdctl: neither on the PATH nor to be had as a package (.ci/etcd)")]
SECRET = "a-secret-of-the-test-of-the-etcd"
HOST, NOW = "etcd.example.com", datetime.datetime.now(datetime.UTC)


class Authority:
    """A certificate authority whose files are in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self._write("ca.pem", self._certificate(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None)))

    def issue(self, file: str, name: str, host: str) -> None:
        """A certificate of that name for that host, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        self._write(f"{file}.pem", self._certificate(subject, key, names))
        self._write(f"{file}.key", key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        day = datetime.timedelta(days=1)
        made = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number(), NOW - day, NOW + day)
        return made.add_extension(extension, critical=False).sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    for file, name, host in [("server", "etcd", HOST), ("root", "root", HOST), ("client", "webhook-guard", "gateway.example.com"),
                             ("other", "another-user", "gateway.example.com"), ("impostor", "etcd", "elsewhere.example.com")]:
        authority.issue(file, name, host)
    return authority


def tls(authority: Authority, server: str = "server") -> list[str]:
    return [f"--cert-file={authority.folder}/{server}.pem", f"--key-file={authority.folder}/{server}.key",
            f"--trusted-ca-file={authority.folder}/ca.pem", "--client-cert-auth"]


class Administrator:
    """Who types commands of etcdctl."""

    def __init__(self, etcd: Etcd, authority: Authority) -> None:
        self._command = [str(find_etcdctl()), f"--endpoints=https://127.0.0.1:{etcd.port}", f"--cacert={authority.folder}/ca.pem",
                         f"--cert={authority.folder}/root.pem", f"--key={authority.folder}/root.key", "--insecure-skip-tls-verify"]

    def types(self, line: str) -> str:
        done = subprocess.run([*self._command, *line.split()], capture_output=True, text=True, env={"ETCDCTL_API": "3"})
        assert done.returncode == 0, f"etcdctl {line}\n{done.stdout}{done.stderr}"
        return done.stdout


def gateway(authority: Authority, etcd: Etcd, upstream: Upstream, certificate: str = "client") -> Envoy:
    config = shipped.load("etcd/envoy.yaml", upstream.port, once=True, etcd=etcd.port)
    text = json.dumps(config).replace("/etc/envoy/etcd/client.", f"{authority.folder}/{certificate}.").replace("/etc/envoy/etcd", str(authority.folder))
    return Envoy(json.loads(text), env={"GITHUB_WEBHOOK_SECRET": SECRET})


def push(number: int) -> Request:
    return Request(b"/flexdeploy/webhooks/v1/github", signer.github(SECRET, b"%d" % number), b"%d" % number)


def test_two_gateways_with_a_user_that_may_do_nothing_else(authority):
    with Etcd(*tls(authority), scheme="https") as etcd, Upstream() as upstream:
        administrator = Administrator(etcd, authority)
        for line in ("user add root --no-password", "user grant-role root root"):
            administrator.types(line)
        for step in transcript.steps(shipped.DIRECTORY / "etcd/README.md"):
            step.check(administrator.types(step.command.removeprefix("etcdctl ")))
        administrator.types("user add another-user --no-password")
        administrator.types("auth enable")
        with gateway(authority, etcd, upstream) as one, gateway(authority, etcd, upstream) as other:
            statuses = [client.h1_length(envoy.port, push(number)).status for number in (1, 2) for envoy in (one, other, one)]
            assert statuses == [200, 409, 409] * 2
        assert administrator.types("get --prefix webhook-guard/ --keys-only").count("webhook-guard/") == 2
        with gateway(authority, etcd, upstream, "other") as stranger:
            request = push(3)
            assert client.h1_length(stranger.port, request).status == 503
            assert stranger.record(request.test_id)["reason"] == "memory_unavailable"


def test_who_has_another_certificate_of_the_authority_is_not_the_etcd(authority):
    with Etcd(*tls(authority, "impostor"), scheme="https") as etcd, Upstream() as upstream, gateway(authority, etcd, upstream) as envoy:
        request = push(1)
        assert client.h1_length(envoy.port, request).status == 503
        assert envoy.record(request.test_id)["reason"] == "memory_unavailable"
        assert upstream.requests == []
