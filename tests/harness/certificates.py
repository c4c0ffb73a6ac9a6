"""Certificates made on the spot: an authority, what it signs, and the two ends of TLS that they are for.

Responsible for keys, certificates and contexts. It knows nothing of the guard, and judges no certificate.
"""

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()

    @property
    def sha256(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()


def make(common_name: str, signer: Certificate | None = None, *, organization: str = "", dns: tuple[str, ...] = (), uri: tuple[str, ...] = (),
         is_authority: bool = False, is_expired: bool = False, usage: ObjectIdentifier | None = None) -> Certificate:
    """A certificate, signed by itself where there is no `signer`; its subject has the organization before the name."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    parts = [(NameOID.ORGANIZATION_NAME, organization)] * bool(organization) + [(NameOID.COMMON_NAME, common_name)]
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(signer.certificate.subject if signer else subject)
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(now - timedelta(days=2)).not_valid_after(now + timedelta(days=-1 if is_expired else 1))
               .add_extension(x509.BasicConstraints(is_authority, None), critical=True))
    if names := [*map(x509.DNSName, dns), *map(x509.UniformResourceIdentifier, uri)]:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Certificate(builder.sign(signer.key if signer else key, hashes.SHA256()), key)


def sender(certificate: Certificate | None = None, *, alpn: str = "http/1.1") -> ssl.SSLContext:
    """A sender's end of a connection, with that certificate. Whom it speaks to it does not ask."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    if certificate:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(certificate.pem + certificate.key_pem)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def listener(server: Certificate, validation: dict | None, **more: object) -> dict:
    """The transport socket of a listener that has this certificate, and asks for its senders' as `validation` says."""
    common = {"alpn_protocols": ["h2", "http/1.1"],
              "tls_certificates": [{"certificate_chain": {"inline_string": server.pem}, "private_key": {"inline_string": server.key_pem}}]}
    if validation is not None:
        common["validation_context"] = validation
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": TLS, "common_tls_context": common, **more}}


def trust(*certificates: Certificate) -> dict:
    """The `trusted_ca` of a listener."""
    return {"trusted_ca": {"inline_string": "".join(one.pem for one in certificates)}}
