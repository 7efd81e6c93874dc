"""The certificates of a cluster, tried out with the workers' own TLS."""

import datetime
import socket
import ssl
import stat
import threading

import pytest
from cryptography import x509

from chronos_worker.raft.config import MutualTls
from chronos_worker.raft.tls import TlsContexts, named_nodes
from cli.chronos.certs import CannotCertify, Subject, make_certificates, parse_nodes

NOW = datetime.datetime.now(datetime.UTC)


def make(out, text):
    return make_certificates(parse_nodes(text), out, NOW, 30)


def contexts(out, node_id):
    return TlsContexts(MutualTls(out / "ca.pem", out / f"{node_id}.pem", out / f"{node_id}.key"))


def names_seen(server, client):
    """Whom each side takes the other for: (by the server, by the client)."""
    here, there = socket.socketpair()
    seen = []

    def accept():
        try:
            with server.server.wrap_socket(there, server_side=True) as accepted:
                seen.append(named_nodes(accepted))
                accepted.recv(1)
        except ssl.SSLError as error:
            seen.append(error)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        with client.client.wrap_socket(here) as connected:
            connected.send(b"x")
            by_client = named_nodes(connected)
    finally:
        thread.join(timeout=10)
    return seen[0], by_client


def test_two_nodes_know_each_other_by_their_certificates(tmp_path):
    make(tmp_path, "worker-1,worker-2=w2.example.com+10.0.0.2")
    by_server, by_client = names_seen(contexts(tmp_path, "worker-1"), contexts(tmp_path, "worker-2"))
    assert "worker-2" in by_server
    assert "worker-1" in by_client


def test_a_certificate_of_another_authority_is_refused(tmp_path):
    make(tmp_path / "a", "worker-1")
    make(tmp_path / "b", "worker-2")
    with pytest.raises(ssl.SSLCertVerificationError):
        names_seen(contexts(tmp_path / "a", "worker-1"), contexts(tmp_path / "b", "worker-2"))


def test_the_names_of_a_node_are_its_id_and_its_hosts(tmp_path):
    make(tmp_path, "worker-1=w1.example.com+10.0.0.1+::1")
    certificate = x509.load_pem_x509_certificate((tmp_path / "worker-1.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == {"chronos://node/worker-1", "w1.example.com", "10.0.0.1", "::1"}
    assert certificate.not_valid_after_utc == NOW.replace(microsecond=0) + datetime.timedelta(days=30)


def test_keys_are_for_their_owner_only(tmp_path):
    written = make(tmp_path / "out", "n1,n2")
    assert len(written) == 6
    keys = [path for path in written if path.suffix == ".key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def test_a_cluster_grows_under_the_authority_it_has(tmp_path):
    make(tmp_path, "n1")
    authority = (tmp_path / "ca.pem").read_bytes()
    assert [path.name for path in make(tmp_path, "n2")] == ["n2.pem", "n2.key"]
    assert (tmp_path / "ca.pem").read_bytes() == authority
    assert "n2" in names_seen(contexts(tmp_path, "n1"), contexts(tmp_path, "n2"))[0]


def test_nothing_is_overwritten(tmp_path):
    make(tmp_path, "n1")
    before = (tmp_path / "n1.pem").read_bytes()
    with pytest.raises(CannotCertify, match=r"already there: .*n1\.pem"):
        make(tmp_path, "n0,n1")
    assert (tmp_path / "n1.pem").read_bytes() == before
    assert not (tmp_path / "n0.pem").exists()


def test_files_that_are_no_authority_are_refused(tmp_path):
    make(tmp_path / "a", "n1")
    make(tmp_path / "b", "n1")
    (tmp_path / "a" / "ca.key").write_bytes((tmp_path / "b" / "ca.key").read_bytes())
    with pytest.raises(CannotCertify, match="is not the key of"):
        make(tmp_path / "a", "n2")
    (tmp_path / "a" / "ca.key").write_text("nonsense")
    with pytest.raises(CannotCertify, match="are no certificate authority"):
        make(tmp_path / "a", "n2")
    (tmp_path / "a" / "ca.key").unlink()
    with pytest.raises(CannotCertify, match=r"ca\.key: No such file"):
        make(tmp_path / "a", "n2")


def test_nodes_are_read_from_one_text():
    assert parse_nodes("n1, n2=h") == [Subject("n1", ("n1",)), Subject("n2", ("h",))]


@pytest.mark.parametrize("text", ["", "n1,", "../n1", "n 1", "n1,n1", "n1=", "n1=a b", "n1=a+", "n1=-a", "n_1"])
def test_what_names_no_node_or_host_is_refused(text):
    with pytest.raises(CannotCertify):
        parse_nodes(text)
