"""Whom the program trusts."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@pytest.fixture
def certificate(tmp_path):
    """A certificate of 127.0.0.1 that vouches for itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "chronos")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "ca.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return str(file)


@pytest.fixture
def https(fake_api, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = fake_api()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_server_is_trusted_by_the_certificates_given_and_not_without(https, run, page_of, certificate):
    https.on("GET", "/jobs", 200, page_of())
    url = https.url.replace("http:", "https:")
    ended = run("--server", url, "job", "list")
    assert ended.status == 6
    assert f"no trusted TLS connection to {url}" in ended.err
    assert https.calls == []
    assert run("--server", url, "--ca", certificate, "job", "list").status == 0


def test_the_certificates_may_stand_in_the_settings(https, run, page_of, certificate, tmp_path):
    https.on("GET", "/jobs", 200, page_of())
    (tmp_path / "chronos").mkdir()
    (tmp_path / "chronos" / "config.yaml").write_text(f"ca: {certificate}\n")
    assert run("--server", https.url.replace("http:", "https:"), "job", "list").status == 0
