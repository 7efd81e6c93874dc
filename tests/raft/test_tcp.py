"""The Raft port over real sockets: members find one another, and nobody else gets a word in."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
from random import Random

import pytest

from chronos_worker.raft import BadLogConfig, ClusterSecret, MutualTls
from chronos_worker.raft.membership import founding
from chronos_worker.raft.messages import Appended
from chronos_worker.raft.tcp import TcpNetwork
from cli.chronos.certs import make_certificates, parse_nodes
from tests.raft.loopback import LIMITS, TIMING, Loopback, Stranger, frames


@pytest.fixture
def cluster(tmp_path):
    running = Loopback(tmp_path)
    yield running
    running.close()


@pytest.fixture
def tapped(cluster):
    """A cluster at work in which n2 and n3 call n1 by way of a tap."""
    tap = cluster.tap("n1")
    cluster.start(cluster.config("n1"))
    for name in ("n2", "n3"):
        cluster.start(
            cluster.config(name, members=cluster.members | {"n1": tap.address}, listen=cluster.members[name])
        )
    cluster.commit(b"through the tap")
    return cluster, tap


def certify(directory, names="n1,n2,n3"):
    make_certificates(parse_nodes(names), directory, datetime.datetime.now(datetime.UTC), 2)

    def of(name):
        return MutualTls(directory / "ca.pem", directory / f"{name}.pem", directory / f"{name}.key")

    return of


def start_with(cluster, security):
    for name in cluster.members:
        cluster.start(cluster.config(name, security=security(name)))


def unmoved(cluster, act, *, node="n1"):
    """Whatever is done, the node keeps its state, and the cluster goes on."""
    before = cluster.footprint(node)
    act()
    assert cluster.footprint(node) == before
    cluster.commit(b"it serves on")


# -- who belongs together ------------------------------------------------------------------------------------


def test_members_that_share_a_secret_work_together_and_say_nothing_readable(tapped):
    cluster, tap = tapped
    cluster.commit(b"a word nobody else may read")
    passed = b"".join(bytes(passage.to_listener + passage.to_caller) for passage in tap.passages)
    assert len(passed) > 1_000
    assert b"a word nobody" not in passed
    assert b"n1" + b"n2" not in passed
    assert all(cluster.status(name).rejected.keys() <= {"refused_by_peer"} for name in cluster.members)
    assert all(cluster.status(name).problems == {} for name in cluster.members)


def test_members_with_certificates_of_one_authority_work_together(cluster, tmp_path):
    start_with(cluster, certify(tmp_path / "pki"))
    cluster.commit(b"over TLS")
    assert cluster.status("n1").rejected == {}


def test_several_members_without_secret_or_tls_are_refused(cluster):
    with pytest.raises(BadLogConfig, match="needs a cluster secret or TLS; neither is configured"):
        cluster.start(cluster.config("n1", security=None))


def test_a_secret_that_can_be_guessed_is_refused(cluster):
    with pytest.raises(BadLogConfig, match="the cluster secret has 5 bytes, the least is 16"):
        cluster.start(cluster.config("n1", security=ClusterSecret(b"short")))


def test_a_member_with_another_secret_stays_out_and_both_sides_say_why(cluster):
    cluster.start(
        cluster.config("n1"),
        cluster.config("n2"),
        cluster.config("n3", security=ClusterSecret(b"something else altogether")),
    )
    cluster.until(lambda: cluster.refused("n1", "not_authentic") >= 2, "n1 to refuse it twice")
    assert cluster.told("n1", "a frame does not open under the cluster secret")
    assert cluster.refused("n3", "handshake_abandoned") >= 1
    assert cluster.told("n3", "is its secret or its CA another one?")
    assert cluster.status("n3").peers_contact == {"n1": float("inf"), "n2": float("inf")}


def test_a_secret_put_right_is_enough(cluster):
    cluster.start(cluster.config("n1"), cluster.config("n2"), cluster.config("n3", security=ClusterSecret(bytes(16))))
    cluster.until(lambda: cluster.refused("n1", "not_authentic"), "a refusal")
    cluster.stop("n3")
    cluster.start(cluster.config("n3"))
    cluster.commit(b"together")
    assert cluster.status("n1").problems == {}


# -- TLS -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tls(cluster, tmp_path):
    """Two members under one authority; the third is the test's."""
    own = certify(tmp_path / "pki")
    cluster.start(*(cluster.config(name, security=own(name)) for name in ("n1", "n2")))
    return cluster, own


def test_a_certificate_of_another_authority_is_refused(tls, tmp_path):
    cluster, _ = tls
    cluster.start(cluster.config("n3", security=certify(tmp_path / "foreign")("n3")))
    cluster.until(lambda: cluster.refused("n3", "tls") and cluster.refused("n1", "tls"), "both to refuse")
    assert cluster.told("n3", "certificate verify failed")


def test_a_certificate_that_names_another_node_is_refused(tls):
    cluster, own = tls
    cluster.start(cluster.config("n3", security=own("n2")))
    cluster.until(lambda: cluster.refused("n1", "certificate"), "n1 to refuse it")
    assert cluster.told("n1", "'n3' shows a certificate for ['n2']")
    assert cluster.told("n3", "n1 refuses us: 'n3' shows a certificate for ['n2']")


def test_a_member_without_tls_among_those_with_it_is_refused(tls):
    cluster, _ = tls
    cluster.start(cluster.config("n3"))
    cluster.until(lambda: cluster.refused("n1", "tls") and cluster.refused("n3", "oversized"), "both to refuse")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_caller_without_a_certificate_or_with_an_old_tls_is_refused(tls, version):
    cluster, _ = tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    arriving, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(arriving, leaving)
    stranger = Stranger(cluster.members["n1"])

    def shake():
        stranger.is_cut_off()
        arriving.write(stranger.heard)
        stranger.heard = b""
        try:
            session.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            return True
        stranger.say(leaving.read())
        return cluster.refused("n1", "tls")

    cluster.until(shake, "an end")
    cluster.until(lambda: cluster.refused("n1", "tls"), "n1 to refuse it")
    stranger.hang_up()


@pytest.mark.parametrize("missing", ["ca.pem", "n1.pem", "n1.key"])
def test_a_missing_tls_file_is_named_at_the_start(cluster, tmp_path, missing):
    own = certify(tmp_path / "pki")
    (tmp_path / "pki" / missing).unlink()
    with pytest.raises(BadLogConfig, match=rf"TLS files .*{missing}.*No such file"):
        cluster.start(cluster.config("n1", security=own("n1")))


# -- strangers -----------------------------------------------------------------------------------------------


@pytest.fixture
def working(cluster):
    cluster.start()
    cluster.commit(b"before")
    return cluster


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: n1\r\n\r\n", "oversized"),
        (b"\x80\x04\x95pickle", "oversized"),
        (b"\x00\x00\x00\x04ping", "not_authentic"),
        (b"\x00\x00\x00\x28CHRONOS\x02" + bytes(32), "not_authentic"),
        (b"\xff" * 100, "oversized"),
    ],
)
def test_what_does_not_begin_like_a_member_is_cut_off_at_once(working, said, reason):
    def act():
        stranger = Stranger(working.members["n1"], said)
        working.until(stranger.is_cut_off, "to be cut off")
        assert stranger.heard == b""

    unmoved(working, act)
    assert working.status("n1").rejected == {reason: 1}


def test_a_stranger_that_never_proves_the_secret_learns_one_random_number(working):
    stranger = Stranger(working.members["n1"], b"\x00\x00\x00\x28CHRONOS\x01" + bytes(32))
    working.until(lambda: not stranger.is_cut_off() and stranger.heard, "an answer")
    stranger.say(b"\x00\x00\x00\x40" + bytes(64))
    working.until(stranger.is_cut_off, "to be cut off")
    assert len(frames(stranger.heard)) == 1
    assert len(stranger.heard) == 4 + 8 + 32
    assert working.status("n1").rejected == {"not_authentic": 1}
    assert working.told("n1", "a frame does not open under the cluster secret")


def test_a_port_scan_is_counted(working):
    Stranger(working.members["n1"]).hang_up()
    working.until(lambda: working.refused("n1", "handshake_abandoned") == 1, "n1 to notice")
    Stranger(working.members["n1"], b"\x00\x00").reset()
    working.until(lambda: working.refused("n1", "handshake_abandoned") == 2, "n1 to notice")


def test_who_speaks_too_slowly_is_cut_off_when_its_time_is_over(working):
    preamble = b"\x00\x00\x00\x28CHRONOS\x01" + bytes(32)
    stranger, spoken = Stranger(working.members["n1"]), 0
    began = working.clock.now

    def drip():
        nonlocal spoken
        if working.clock.now - began > spoken * TIMING.handshake_s / len(preamble) * 2:
            stranger.say(preamble[spoken : spoken + 1])
            spoken += 1
        return stranger.is_cut_off()

    unmoved(working, lambda: working.until(drip, "to be cut off"))
    assert 0 < spoken < len(preamble)
    assert working.clock.now - began >= TIMING.handshake_s
    assert working.status("n1").rejected == {"handshake_timeout": 1}


def test_callers_that_have_not_greeted_are_bounded_and_hinder_nobody_who_works(working):
    def act():
        crowd = [Stranger(working.members["n1"]) for _ in range(LIMITS.pending_connections + 5)]
        working.until(lambda: working.refused("n1", "too_many_pending") == 5, "five to be turned away")
        assert working.told("n1", f"more than {LIMITS.pending_connections} connections that have not greeted")
        working.commit(b"with a crowd at the door")
        for stranger in crowd:
            stranger.hang_up()

    act()
    working.until(
        lambda: working.refused("n1", "handshake_abandoned") == LIMITS.pending_connections, "the rest to be counted"
    )
    working.stop("n2")
    working.start(working.config("n2"))
    working.commit(b"and there is room again")


# -- a man in the middle -------------------------------------------------------------------------------------


def test_a_session_recorded_before_is_refused_when_it_is_played_again(tapped):
    cluster, tap = tapped
    before = cluster.refused("n1", "not_authentic")

    def act():
        for number, passage in enumerate(list(tap.passages), 1):
            stranger = Stranger(cluster.members["n1"], bytes(passage.to_listener))
            cluster.until(stranger.is_cut_off, "to be cut off")
            assert len(frames(stranger.heard)) <= 1
            assert cluster.refused("n1", "not_authentic") == before + number

    assert len(tap.passages) >= 2
    unmoved(cluster, act)


@pytest.mark.parametrize("played", ["its own words", "what the real one said before"])
def test_nobody_takes_a_members_place_without_the_secret(tapped, played):
    cluster, tap = tapped
    said = bytes(tap.passages[0].to_caller)
    before = cluster.refused("n2", "not_authentic")
    cluster.stop("n1")
    with socket.create_server(("127.0.0.1", int(cluster.members["n1"].rpartition(":")[2]))) as impostor:
        impostor.setblocking(False)
        lines = []

        def play():
            with contextlib.suppress(BlockingIOError):
                line, _ = impostor.accept()
                line.setblocking(False)
                lines.append(line)
                if played != "its own words":
                    line.sendall(said)
            for line in lines:
                with contextlib.suppress(OSError):
                    if (heard := line.recv(1 << 16)) and played == "its own words":
                        line.sendall(heard)
            return cluster.refused("n2", "not_authentic") > before

        cluster.until(play, "n2 to refuse it")
        for line in lines:
            line.close()
    words = "our own nonce came back" if played == "its own words" else "a frame does not open"
    assert cluster.told("n2", words)


def alter_once(tap, change):
    """Change the next piece that passes."""

    def alter(passage, data):
        tap.alter = lambda _passage, later: later
        return change(passage, data)

    tap.alter = alter


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _p, data: data[:-1] + bytes([data[-1] ^ 1]), id="a bit flipped"),
        pytest.param(lambda _p, data: data + frames(data)[0], id="repeated"),
        pytest.param(lambda p, _data: frames(bytes(p.to_caller))[-1], id="reflected"),
        pytest.param(lambda p, data: frames(bytes(p.to_listener))[1] + data, id="an earlier one again"),
    ],
)
def test_a_frame_that_was_tampered_with_on_an_open_link_is_refused_and_the_link_is_made_anew(tapped, change):
    cluster, tap = tapped
    alter_once(tap, change)
    cluster.until(lambda: cluster.refused("n1", "bad_seal") == 1, "n1 to refuse it")
    cluster.until(lambda: cluster.status("n1").problems == {}, "another link")
    cluster.commit(b"over the new link")


def test_a_frame_left_out_is_noticed_at_the_next_one(tapped):
    cluster, tap = tapped
    alter_once(tap, lambda _p, data: data[len(frames(data)[0]) :])
    cluster.until(lambda: cluster.refused("n1", "bad_seal") == 1, "n1 to refuse it")
    cluster.commit(b"over the new link")


def test_a_frame_cut_off_in_the_middle_is_counted(tapped):
    cluster, tap = tapped

    def cut(passage, data):
        passage.sockets[1].sendall(data[: len(data) // 2])

    alter_once(tap, cut)
    cluster.until(lambda: cluster.refused("n1", "truncated") == 1, "n1 to count it")
    cluster.commit(b"over the new link")


def test_a_frame_beyond_the_bound_is_refused_by_its_length_alone(tapped):
    cluster, tap = tapped
    alter_once(tap, lambda _p, _data: (LIMITS.frame_bytes + 17).to_bytes(4, "big") + bytes(100))
    cluster.until(lambda: cluster.refused("n1", "oversized") == 1, "n1 to refuse it")
    cluster.commit(b"over the new link")


# -- a member that lies --------------------------------------------------------------------------------------


class Liar:
    """Holds a place in the cluster by its network alone: it may say what no log would."""

    def __init__(self, cluster, name):
        config = cluster.config(name)
        self.network = TcpNetwork(config, cluster.clock, Random(1))
        self.network.attach(self)
        self.network.configure(founding(config.members), frozenset())
        self.peers = set()

    def on_connected(self, peer):
        self.peers.add(peer)

    def on_disconnected(self, peer):
        self.peers.discard(peer)

    def on_message(self, _peer, _message):
        pass


def test_a_member_that_speaks_nonsense_is_cut_off_and_counted(cluster):
    cluster.start(cluster.config("n1"), cluster.config("n2"))
    liar = Liar(cluster, "n3")
    try:

        def connected():
            liar.network.poll(0.0)
            return "n1" in liar.peers

        cluster.until(connected, "the liar to be in")
        before = cluster.footprint("n1")
        liar.network.send("n1", Appended(-1, 0, joined=True))
        liar.network.flush()
        cluster.until(lambda: cluster.refused("n1", "malformed") == 1, "n1 to refuse it")
        assert cluster.footprint("n1")[2:] == before[2:]
        assert cluster.told("n1", "Expected `int` >= 0")
    finally:
        liar.network.close()
