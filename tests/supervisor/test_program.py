"""The program's smaller commands, and what it says when it cannot start."""

import re
import socket
import stat

import pytest
import yaml
from click.testing import CliRunner

from chronos_api.keys import allows, find_key
from chronos_common.config import KEYS_FILE, InvalidConfig, load_config, read_api_keys
from cli.chronos import main as program
from cli.chronos.first_key import ensure_admin_key
from cli.chronos.local_cluster import Ports, write_configs
from cli.chronos.node import beside, command, config_path, welcome
from cli.chronos.probes import PortTaken, answers, check_free, reachable
from tests.support.processes import free_port


def run(*arguments, environ=None):
    return CliRunner().invoke(program.chronos, arguments, env={"CHRONOS_CONFIG": None, **(environ or {})})


def exit_of(monkeypatch, capsys, *arguments):
    """Exit status and standard error of the whole program."""
    monkeypatch.setattr("sys.argv", ["chronos", *arguments])
    with pytest.raises(SystemExit) as ended:
        program.main()
    return ended.value.code, capsys.readouterr().err


def test_config_check_says_ok_and_shows_what_it_amounts_to(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("cluster: {secret: a secret of the tests}\nscheduler: {execution_timeout: 90s}\n")
    done = run("config", "check", "--config", str(path))
    assert done.exit_code == 0
    assert done.output.startswith(f"# ok: {path}\n")
    document = yaml.safe_load(done.output)
    assert document["cluster"]["secret"] == "********"
    assert document["scheduler"]["execution_timeout"] == "1m30s"
    assert "a secret of the tests" not in done.output


@pytest.mark.parametrize("arguments", [["config", "check"], ["worker"], ["api"], []])
def test_every_way_to_start_refuses_a_configuration_with_all_its_problems(tmp_path, monkeypatch, capsys, arguments):
    path = tmp_path / "c.yaml"
    path.write_text("cluster: {nodeid: a}\nlogging: {level: loud}\n")
    status, said = exit_of(monkeypatch, capsys, "--config", str(path), *arguments)
    assert status == 2
    assert said.startswith(
        f"chronos: {path} cannot be used:\n  cluster.nodeid is not a key of the configuration; did"
    )
    assert "\n  logging.level is 'loud'; accepted is one of" in said
    assert len(said.splitlines()) == 3


def test_the_check_looks_at_the_files_the_configuration_names(tmp_path, monkeypatch, capsys):
    path = tmp_path / "c.yaml"
    path.write_text(
        f"cluster: {{secret_file: {tmp_path}/none}}\ndispatcher: {{http: {{ca_file: {tmp_path}/no.pem}}}}\n"
    )
    status, said = exit_of(monkeypatch, capsys, "config", "check", "--config", str(path))
    assert status == 2
    assert f"cluster.secret_file {tmp_path}/none: the cluster secret cannot be read" in said
    assert f"dispatcher.http.ca_file {tmp_path}/no.pem: cannot be read: No such file" in said


def test_a_taken_port_is_named_with_its_key_and_how_to_choose_another(tmp_path, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        path = tmp_path / "c.yaml"
        path.write_text(f"server: {{http: {{address: {address}}}}}\ncluster: {{data_dir: {tmp_path}/data}}\n")
        status, said = exit_of(monkeypatch, capsys, "--config", str(path))
    assert status == 4
    assert f"server.http.address {address} cannot be listened on (address already in use)" in said
    assert "CHRONOS_SERVER_HTTP_ADDRESS" in said
    assert not (tmp_path / "data").exists()


def test_an_address_of_another_machine_is_named():
    with pytest.raises(PortTaken, match=r"192\.0\.2\.1:8080 cannot be listened on"):
        check_free("server.http.address", "192.0.2.1:8080")


def test_a_port_left_to_chance_is_refused():
    with pytest.raises(InvalidConfig, match="accepted is a port from 1 to 65535"):
        check_free("server.http.address", "127.0.0.1:0")


@pytest.mark.parametrize(
    ("address", "asked"),
    [("0.0.0.0:80", "127.0.0.1:80"), (":80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("w1:80", "w1:80")],
)
def test_a_listener_on_every_address_is_asked_on_loopback(address, asked):
    assert reachable(address) == asked


def test_what_does_not_answer_or_is_no_http_is_not_ready():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
    assert not answers(address, "/", {})


@pytest.mark.parametrize(("arguments", "part"), [((), "api"), (("api",), "api"), (("worker",), "worker")])
def test_health_of_what_does_not_run_is_a_failure(tmp_path, arguments, part):
    environ = {
        "CHRONOS_CLUSTER_DATA_DIR": str(tmp_path),
        "CHRONOS_SERVER_HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
        "CHRONOS_CLUSTER_CONTROL_ADDRESS": f"127.0.0.1:{free_port()}",
        "CHRONOS_CLUSTER_SECRET": "a secret of the tests",
    }
    asked = run("health", *arguments, environ=environ)
    assert asked.exit_code == 1
    assert asked.output == f"the {part} does not answer\n"


def test_a_new_key_is_known_by_the_lines_printed_with_it(tmp_path):
    done = run("keys", "new", "--name", "ci: the robot", "--scope", "write")
    assert done.exit_code == 0
    key = re.search(r"chronos_[\w-]{43}", done.output)[0]
    lines = done.output[done.output.index("    auth:") :]
    path = tmp_path / "c.yaml"
    path.write_text("\n".join(line[4:] for line in lines.splitlines()))
    found = find_key(key, load_config(path, {}).auth.keys)
    assert (found.name, found.scope) == ("ci: the robot", "write")
    assert allows(found.scope, "read")
    assert find_key(key + "x", load_config(path, {}).auth.keys) is None


def test_every_new_key_is_another():
    assert run("keys", "new", "--name", "a").output != run("keys", "new", "--name", "a").output


def bootstrapped(tmp_path, **environ):
    return load_config(
        None,
        {
            "CHRONOS_AUTH_BOOTSTRAP": "true",
            "CHRONOS_CLUSTER_DATA_DIR": str(tmp_path / "data"),
            "CHRONOS_SERVER_HTTP_ADDRESS": "0.0.0.0:8080",
            **environ,
        },
    )


def test_the_first_start_makes_a_key_shows_it_once_and_keeps_a_hash(tmp_path):
    config, shown = bootstrapped(tmp_path), []
    ensure_admin_key(config, {}, shown.append)
    ensure_admin_key(config, {}, shown.append)
    (key,) = shown
    kept = tmp_path / "data" / KEYS_FILE
    assert key not in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert find_key(key, read_api_keys(config)).scope == "admin"


def test_a_key_from_the_environment_is_taken_not_shown_and_replaced_by_the_next(tmp_path):
    config, shown = bootstrapped(tmp_path), []
    ensure_admin_key(config, {"CHRONOS_ADMIN_KEY": "a key of sixteen or more"}, shown.append)
    assert find_key("a key of sixteen or more", read_api_keys(config)).scope == "admin"
    ensure_admin_key(config, {"CHRONOS_ADMIN_KEY": "another of sixteen or more"}, shown.append)
    assert [key.name for key in read_api_keys(config)] == ["admin"]
    assert find_key("another of sixteen or more", read_api_keys(config))
    assert not shown


def test_a_configured_key_is_key_enough(tmp_path):
    entry = f"[{{name: ci, hash: 'sha256:{'0' * 64}', scope: read}}]"
    config = bootstrapped(tmp_path, CHRONOS_AUTH_KEYS=entry)
    ensure_admin_key(config, {}, lambda _: pytest.fail("a key was made"))
    ensure_admin_key(config, {"CHRONOS_ADMIN_KEY": "a key of sixteen or more"}, lambda _: pytest.fail("shown"))
    assert [key.name for key in read_api_keys(config)] == ["ci", "admin"]


def test_nobody_is_given_a_key_who_asked_for_none(tmp_path):
    for environ in (
        {"CHRONOS_AUTH_MODE": "none"},
        {"CHRONOS_SERVER_HTTP_ADDRESS": "127.0.0.1:1", "CHRONOS_AUTH_BOOTSTRAP": "no"},
    ):
        ensure_admin_key(bootstrapped(tmp_path, **environ), {}, lambda _: pytest.fail("a key was made"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("key", ["short", "a key with a line\nbreak", "ein Schlüssel, der länger ist"])
def test_a_key_that_no_header_could_carry_or_anyone_guess_is_refused(tmp_path, key):
    with pytest.raises(InvalidConfig) as refused:
        ensure_admin_key(bootstrapped(tmp_path), {"CHRONOS_ADMIN_KEY": key}, lambda _: None)
    assert key not in str(refused.value)


def test_a_key_that_cannot_be_kept_is_not_shown(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / KEYS_FILE).mkdir()
    with pytest.raises(InvalidConfig, match=KEYS_FILE):
        ensure_admin_key(
            bootstrapped(tmp_path / "x", CHRONOS_CLUSTER_DATA_DIR=str(tmp_path / "data")), {}, pytest.fail
        )


def test_the_welcome_names_every_place_and_who_may_use_it(tmp_path):
    text = welcome(load_config(None, {"CHRONOS_CLUSTER_DATA_DIR": str(tmp_path)}), "node node-1")
    assert "http://127.0.0.1:8080/api/v1\n" in text
    assert "http://127.0.0.1:8080/docs\n" in text
    assert "http://127.0.0.1:8080/metrics\n" in text
    assert "listens on loopback only" in text
    open_to_all = {"CHRONOS_AUTH_MODE": "none", "CHRONOS_SERVER_HTTP_ADDRESS": "0.0.0.0:80"}
    assert "whoever reaches the address may do everything" in welcome(load_config(None, open_to_all), "node")
    without = {"CHRONOS_METRICS_PROMETHEUS_ENABLED": "false", "CHRONOS_CLUSTER_DATA_DIR": str(tmp_path)}
    assert "metrics.prometheus.enabled is false" in welcome(load_config(None, without), "node")
    assert "An API key is needed" in welcome(bootstrapped(tmp_path), "node")


def test_programs_of_ours_are_called_by_name_or_path():
    assert beside("sh") == "sh"
    assert beside("no-such-program").endswith("/no-such-program")


def test_the_configuration_is_named_by_option_or_environment_and_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_path(None, {}) is None
    assert config_path(None, {"CHRONOS_CONFIG": "a.yaml"}) == tmp_path / "a.yaml"
    assert command("m", tmp_path / "b")[1:] == ("-P", "-m", "m", "--config", str(tmp_path / "b"))


def test_the_local_cluster_has_configurations_that_fit_together_and_a_lasting_secret(tmp_path):
    ports = Ports.from_bases(7_600, 8_080)
    workers, apis = write_configs(tmp_path / "c", ports)
    secret = (tmp_path / "c" / "secret").read_text()
    assert write_configs(tmp_path / "c", ports) == (workers, apis)
    assert (tmp_path / "c" / "secret").read_text() == secret
    assert stat.S_IMODE((tmp_path / "c" / "secret").stat().st_mode) == 0o600
    configs = [load_config(path, {}) for path in (*workers, *apis)]
    members = {config.cluster.node_id: config.cluster.raft.address for config in configs[:3]}
    for config in configs[:3]:
        others = {peer.id: peer.address for peer in config.cluster.raft.peers}
        assert others | {config.cluster.node_id: config.cluster.raft.address} == members
    assert [config.server.http.address for config in configs[3:]] == ["127.0.0.1:8080", "127.0.0.1:8081"]
    control = tuple(f"http://{config.cluster.control.address}" for config in configs[:3])
    assert {config.api.workers for config in configs[3:]} == {control}


def test_certs_are_made_from_the_command_line(tmp_path, monkeypatch, capsys):
    done = run("certs", "--nodes", "n1,n2", "--out", str(tmp_path / "certs"))
    assert done.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "certs").iterdir()) == [
        "ca.key", "ca.pem", "n1.key", "n1.pem", "n2.key", "n2.pem",
    ]  # fmt: skip
    status, said = exit_of(monkeypatch, capsys, "certs", "--nodes", "n1", "--out", str(tmp_path / "certs"))
    assert status == 2
    assert "already there" in said


def test_a_slip_of_the_fingers_is_answered_with_the_usage(monkeypatch, capsys):
    status, said = exit_of(monkeypatch, capsys, "wroker")
    assert status == 2
    assert "No such command 'wroker'" in said
