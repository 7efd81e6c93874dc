"""`chronos certs`: a certificate authority of the cluster's own, and a certificate for each node.

The certificate names its node in the subject alternative names (RFC 5280 §4.2.1.6): as the URI
`chronos://node/ID`, and its hosts as DNS names or IP addresses. Workers accept no other names of a peer.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NODE_URI: Final = "chronos://node/"
_CA_NAME: Final = "Chronos cluster CA"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CLOCKS_MAY_DIFFER: Final = datetime.timedelta(hours=1)


class CannotCertify(Exception):
    """The certificates cannot be made; the message says why and what would be accepted."""


class Subject(NamedTuple):
    """A node, and the hosts it is reached at."""

    node_id: str
    hosts: tuple[str, ...]


class Authority(NamedTuple):
    """Who signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def parse_nodes(text: str) -> list[Subject]:
    """Nodes from "n1,n2" or "n1=host1+10.0.0.1,n2=host2"; a node without hosts is reached at its id.

    Raises:
        CannotCertify: an id is no file name, a host is none, or a node is named twice.
    """
    found = []
    for part in text.split(","):
        node_id, equals, hosts = part.strip().partition("=")
        if not _FILE.fullmatch(node_id):
            raise CannotCertify(f"{node_id!r} is no node id for a file's name; accepted are letters, digits, . _ -")
        found.append(Subject(node_id, tuple(hosts.split("+")) if equals else (node_id,)))
    ids = [subject.node_id for subject in found]
    if len(set(ids)) < len(ids):
        raise CannotCertify(f"a node is named twice in {text!r}")
    for subject in found:
        for host in subject.hosts:
            _name(host)
    return found


def make_certificates(subjects: Sequence[Subject], out: Path, now: datetime.datetime, days: int) -> list[Path]:
    """Write ca.pem, ca.key, and ID.pem and ID.key for each node; returns what was written.

    A CA that is there already signs the new nodes, so that a cluster can grow. Nothing is overwritten.

    Raises:
        CannotCertify: a file is there already, or the directory cannot be written.
    """
    taken = [str(path) for node in subjects for path in _files(out, node.node_id) if path.exists()]
    if taken:
        raise CannotCertify(f"already there: {', '.join(taken)}; move them away, or choose another directory")
    written: list[Path] = []
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = _read_authority(out)
        if authority is None:
            authority = _new_authority(now, days)
            written += _write(out, "ca", authority.certificate, authority.key)
        for subject in subjects:
            key = ec.generate_private_key(ec.SECP256R1())
            written += _write(out, subject.node_id, _certify(subject, key, authority, now, days), key)
    except OSError as error:
        raise CannotCertify(f"{error.filename or out}: {error.strerror}") from error
    return written


def _new_authority(now: datetime.datetime, days: int) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _CA_NAME)])
    builder = _begin(name, name, key, now, days)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def _certify(
    subject: Subject, key: ec.EllipticCurvePrivateKey, authority: Authority, now: datetime.datetime, days: int
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject.node_id[:64])])
    names = [x509.UniformResourceIdentifier(NODE_URI + quote(subject.node_id, safe=""))]
    builder = _begin(name, authority.certificate.subject, key, now, days)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([*names, *(_name(host) for host in subject.hosts)]), critical=False
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    both_ends = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(both_ends), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_MAY_DIFFER)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not _HOST.fullmatch(host):
            raise CannotCertify(f"{host!r} is neither a host name nor an IP address") from None
        return x509.DNSName(host)


def _files(out: Path, name: str) -> tuple[Path, Path]:
    return out / f"{name}.pem", out / f"{name}.key"


def _read_authority(out: Path) -> Authority | None:
    certificate_file, key_file = _files(out, "ca")
    if not certificate_file.exists() and not key_file.exists():
        return None
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise CannotCertify(f"{certificate_file} and {key_file} are no certificate authority: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CannotCertify(f"{key_file} is not the key of {certificate_file}")
    return Authority(certificate, key)


def _write(out: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
    certificate_file, key_file = _files(out, name)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _create(key_file, secret, 0o600)
    _create(certificate_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate_file, key_file


def _create(path: Path, data: bytes, mode: int) -> None:
    path.touch(mode=mode, exist_ok=False)
    path.write_bytes(data)
