"""Reading the configuration: what is refused, and what the refusal says."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronos_common.config import (
    KEYS_FILE,
    Config,
    InvalidConfig,
    control_url,
    default_path,
    load_config,
    read_api_keys,
    read_secret,
    shown,
)
from chronos_common.config.keys import Peer
from chronos_common.config.reading import variables
from chronos_common.models import MisfirePolicy

SECRET = "a secret of the tests"
HASH = "sha256:" + "0" * 64
CLUSTER = {
    "CHRONOS_CLUSTER_NODE_ID": "n1",
    "CHRONOS_CLUSTER_SECRET": SECRET,
    "CHRONOS_CLUSTER_RAFT_PEERS": "[n2=127.0.0.1:7602, n3=127.0.0.1:7603]",
}


def load(tmp_path, text, environ=None):
    path = tmp_path / "chronos.yaml"
    path.write_text(text)
    return load_config(path, environ or {})


def problems(tmp_path, text="", environ=None):
    with pytest.raises(InvalidConfig) as refused:
        load(tmp_path, text, environ)
    return refused.value.problems


@pytest.mark.parametrize(
    "text", ["", "# nothing but a comment\n", "---\n", "---\n---\n", "cluster:\nserver:\n  http:\n"]
)
def test_an_empty_file_or_section_is_the_defaults(tmp_path, text):
    assert load(tmp_path, text) == Config()


def test_values_are_read_in_the_units_of_the_code(tmp_path):
    config = load(
        tmp_path,
        "scheduler: {execution_timeout: 1h30m, missed_run_policy: skip}\n"
        "server: {http: {processes: 4}}\n"
        "rate_limit: {requests_per_second: 7}\n",
    )
    assert config.scheduler.execution_timeout == 5_400_000
    assert config.scheduler.missed_run_policy is MisfirePolicy.SKIP
    assert config.server.http.processes == 4
    assert config.rate_limit.requests_per_second == 7


def test_an_unknown_key_is_refused_with_its_path_and_the_nearest_name(tmp_path):
    found = problems(tmp_path, "server: {http: {adress: 1.2.3.4:80}}\nsched: {}\nxyz: 1\n")
    assert found[0].startswith("sched is not a key of the configuration; did you mean scheduler?")
    assert found[1].startswith("xyz is not a key of the configuration; known here are cluster,")
    assert found[2] == "server.http.adress is not a key of the configuration; did you mean address?"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cluster: 5", "cluster is 5; accepted is a mapping of keys"),
        ("cluster: {node_id: 5}", "cluster.node_id is 5; accepted is a text"),
        ("cluster: {drain_grace: 30}", 'cluster.drain_grace is 30; accepted is a duration such as "30s"'),
        ("cluster: {raft: {election_timeout: 1ms}}", "election_timeout is '1ms'; accepted is a duration"),
        ("server: {http: {processes: 0}}", "server.http.processes is 0; accepted is a whole number from 1 to 64"),
        ("server: {http: {threads: 2.5}}", "server.http.threads is 2.5; accepted is a whole number from 1 to 256"),
        ("server: {http: {threads: yes}}", "server.http.threads is True; accepted is a whole number"),
        ("logging: {level: loud}", "logging.level is 'loud'; accepted is one of debug, info, warning, error"),
        ("logging: {format: []}", "logging.format is []; accepted is one of json, console"),
        ("metrics: {prometheus: {enabled: 1}}", "metrics.prometheus.enabled is 1; accepted is true or false"),
        ("metrics: {prometheus: {path: metrics}}", "metrics.prometheus.path is 'metrics'; accepted is a path"),
        ("scheduler: {missed_run_policy: never}", "accepted is one of skip, fire_once, fire_all"),
        ("api: {workers: here}", "api.workers is 'here'; accepted is a list"),
        ("api: {workers: [here]}", "api.workers: 'here' is no address of a control port"),
        ("dispatcher: {http: {deny_addresses: [10.0.0.0/99]}}", "deny_addresses: '10.0.0.0/99' is no network"),
        ("auth: {keys: [{name: a}]}", "auth.keys[0].hash is missing; every entry of auth.keys[0] needs it"),
        ("server: {http: {address: nowhere}}", "server.http.address: 'nowhere' is not an address; write host:port"),
        ("server: {http: {address: 127.0.0.1:70000}}", "'127.0.0.1:70000' is not an address"),
        ("cluster: {node_id: ' '}", "cluster.node_id is ' '; accepted is a printable name"),
        (
            "scheduler: {default_retry_policy: {initial_interval: 2m}}",
            "scheduler.default_retry_policy.initial_interval is longer than max_interval",
        ),
        ("[1, 2]", "must hold one mapping of keys"),
        ("a: 1\n---\nb: 1", "must hold one mapping of keys"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_accepted(tmp_path, text, sentence):
    (problem,) = problems(tmp_path, text)
    assert sentence in problem


def test_all_problems_are_told_at_once(tmp_path):
    text = "cluster: {drain_grace: 5}\nserver: {http: {processes: 0, colour: red}}\nlogging: {level: loud}\n"
    assert len(problems(tmp_path, text, {"CHRONOS_CLUSTER_DATADIR": "x"})) == 5


def test_a_dollar_means_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/root")
    config = load(tmp_path, "cluster:\n  node_id: $HOME-${USER}-$$", {"CHRONOS_CLUSTER_DATA_DIR": "$HOME/x"})
    assert config.cluster.node_id == "$HOME-${USER}-$$"
    assert config.cluster.data_dir == "$HOME/x"


def test_the_environment_wins_over_the_file(tmp_path):
    environ = {
        "CHRONOS_SERVER_HTTP_ADDRESS": "127.0.0.1:9000",
        "CHRONOS_SERVER_HTTP_PROCESSES": "3",
        "CHRONOS_AUTH_BOOTSTRAP": "true",
        "CHRONOS_API_WORKERS": '["http://a:1", "http://b:2"]',
        "CHRONOS_CLUSTER_NODE_GRACE": "5s",
        "CHRONOS_RATE_LIMIT_REQUESTS_PER_SECOND": "2.5",
        "CHRONOS_API_KEY": "of chronosctl",
        "CHRONOS_ADMIN_KEY": "of the first start",
        "HOME": "/root",
    }
    config = load(tmp_path, "server: {http: {address: 127.0.0.1:8000, threads: 2}}", environ)
    assert (config.server.http.address, config.server.http.threads) == ("127.0.0.1:9000", 2)
    assert config.server.http.processes == 3
    assert config.auth.bootstrap is True
    assert config.api.workers == ("http://a:1", "http://b:2")
    assert config.cluster.node_grace == 5_000
    assert config.rate_limit.requests_per_second == 2.5


def test_every_key_has_one_variable_and_no_two_keys_share_one():
    names = variables(Config)
    assert len(set(names.values())) == len(names) > 40
    assert names["CHRONOS_SCHEDULER_DEFAULT_RETRY_POLICY_MAX_ATTEMPTS"] == (
        "scheduler",
        "default_retry_policy",
        "max_attempts",
    )


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("CHRONOS_SERVER_HTTP_ADRESS", "x", "did you mean CHRONOS_SERVER_HTTP_ADDRESS?"),
        ("CHRONOS_ZZZ", "x", "CHRONOS_ZZZ overrides no key; unset it"),
        ("CHRONOS_SERVER_HTTP_PROCESSES", "many", "server.http.processes is 'many'; accepted is a whole number"),
        ("CHRONOS_SERVER_HTTP_PROCESSES", "", "server.http.processes is None; accepted is a whole number"),
        ("CHRONOS_API_WORKERS", "[", "CHRONOS_API_WORKERS is not acceptable YAML"),
    ],
)
def test_a_variable_that_is_wrong_is_named(tmp_path, name, value, sentence):
    (problem,) = problems(tmp_path, "", {name: value})
    assert sentence in problem


def test_a_secret_of_the_wrong_kind_is_not_shown(tmp_path):
    (problem,) = problems(tmp_path, "cluster: {secret: 1234567890123456789}")
    assert problem == "cluster.secret is ********; accepted is a text"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: &a [*a]", "line 1: a value that contains itself"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: 1\na: 2", "line 2: the key 'a' is given twice"),
        ("a: [1, 2", "line 1, column"),
        ("a: 'x", "line 1, column"),
        ("[" * 5_000, "nested too deeply"),
        ("1: a", "line 1: a key must be text, not 1"),
        ("a: \x00", "special characters are not allowed"),
    ],
)
def test_dangerous_or_broken_yaml_is_refused_with_its_place(tmp_path, text, sentence):
    (problem,) = problems(tmp_path, text)
    assert sentence in problem


def test_a_yaml_bomb_does_not_go_off(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (problem,) = problems(tmp_path, "\n".join(lines))
    assert "more than 1000000 values" in problem


def test_aliases_and_merges_of_ordinary_size_are_read(tmp_path):
    text = "scheduler:\n  default_retry_policy: &a {max_attempts: 7}\n"
    config = load(tmp_path, text + "server: {http: {address: &b 127.0.0.1:81}}\n")
    assert config.scheduler.default_retry_policy.max_attempts == 7
    merged = load(tmp_path, "server:\n  http:\n    <<: {processes: 3, threads: 4}\n    threads: 5\n")
    assert (merged.server.http.processes, merged.server.http.threads) == (3, 5)


def test_a_large_wrong_value_is_shown_in_short(tmp_path):
    (problem,) = problems(tmp_path, f"cluster: {{node_id: [{', '.join(['x'] * 5_000)}]}}")
    assert len(problem) < 300


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(InvalidConfig, match="No such file"):
        load_config(tmp_path / "missing.yaml", {})
    with pytest.raises(InvalidConfig, match="Is a directory"):
        load_config(tmp_path, {})
    (tmp_path / "latin.yaml").write_bytes(b"cluster: {node_id: caf\xe9}")
    with pytest.raises(InvalidConfig, match="is not UTF-8"):
        load_config(tmp_path / "latin.yaml", {})


def test_peers_are_written_in_two_ways(tmp_path):
    text = f"cluster: {{node_id: n1, secret: {SECRET}, raft: {{peers: [n2=h:1, {{id: n3, address: 'h:2'}}]}}}}"
    assert load(tmp_path, text).cluster.raft.peers == (Peer("n2", "h:1"), Peer("n3", "h:2"))
    assert len(load(tmp_path, "", CLUSTER).cluster.raft.peers) == 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"CHRONOS_CLUSTER_SECRET": ""}, "cluster.raft.peers without cluster.secret"),
        ({"CHRONOS_CLUSTER_SECRET": "short"}, "cluster.secret is 5 characters long; accepted are 16 or more"),
        ({"CHRONOS_CLUSTER_SECRET_FILE": "f"}, "cluster.secret and cluster.secret_file are both given"),
        ({"CHRONOS_CLUSTER_RAFT_PEERS": "[n2=h:1]"}, "the cluster has 2 nodes, an even number"),
        ({"CHRONOS_CLUSTER_RAFT_PEERS": "[n1=h:1, n2=h:2]"}, "two members share a node id"),
        ({"CHRONOS_CLUSTER_RAFT_PEERS": "[n2=h:1, n3=h:1]"}, "two members share an address"),
        ({"CHRONOS_CLUSTER_RAFT_PEERS": "[n2=h:1, n3=127.0.0.1:7600]"}, "two members share an address"),
        ({"CHRONOS_CLUSTER_RAFT_PEERS": "[n2=h:1, n3=h]"}, "cluster.raft.peers (n3): 'h' is not an address"),
        ({"CHRONOS_CLUSTER_RAFT_TLS_CA": "ca.pem"}, "cluster.raft.tls needs ca, cert and key together"),
        ({"CHRONOS_CLUSTER_CONTROL_ADDRESS": "127.0.0.1:7600"}, "must all differ"),
        ({"CHRONOS_SERVER_HTTP_ADDRESS": "127.0.0.1:7600"}, "must all differ"),
        ({"CHRONOS_SERVER_HTTP_ADDRESS": "0.0.0.0:8080"}, "no API key is configured: make one with"),
        ({"CHRONOS_SERVER_HTTP_ADDRESS": ":8080"}, "no API key is configured"),
        ({"CHRONOS_SERVER_HTTP_ADDRESS": "[::]:8080"}, "no API key is configured"),
        (
            {"CHRONOS_AUTH_KEYS": f"[{{name: a, hash: '{HASH}'}}, {{name: a, hash: '{HASH}'}}]"},
            "auth.keys: two keys share a name",
        ),
        ({"CHRONOS_AUTH_KEYS": "[{name: a, hash: the-key-itself}]"}, "auth.keys (a): hash must be what"),
    ],
)
def test_what_contradicts_or_is_unsafe_is_refused(tmp_path, changes, sentence):
    (problem,) = problems(tmp_path, "", CLUSTER | changes)
    assert sentence in problem
    assert "the-key-itself" not in problem


def test_a_cluster_member_must_say_who_it_is(tmp_path):
    environ = {name: value for name, value in CLUSTER.items() if name != "CHRONOS_CLUSTER_NODE_ID"}
    (problem,) = problems(tmp_path, "", environ)
    assert problem.startswith("cluster.node_id is missing")


def test_a_control_port_others_can_reach_needs_a_secret(tmp_path):
    (problem,) = problems(tmp_path, "cluster: {control: {address: 0.0.0.0:7610}}")
    assert "can be reached from other machines: set cluster.secret" in problem


@pytest.mark.parametrize(
    "environ",
    [
        {"CHRONOS_AUTH_MODE": "none"},
        {"CHRONOS_AUTH_BOOTSTRAP": "true"},
        {"CHRONOS_AUTH_KEYS": f"[{{name: a, hash: '{HASH}'}}]"},
    ],
)
def test_an_open_address_is_accepted_once_the_operator_decided_who_may_use_it(environ):
    load_config(None, {"CHRONOS_SERVER_HTTP_ADDRESS": "0.0.0.0:8080", **environ})


def test_keys_made_at_a_first_start_count(tmp_path):
    environ = {"CHRONOS_SERVER_HTTP_ADDRESS": "0.0.0.0:8080", "CHRONOS_CLUSTER_DATA_DIR": str(tmp_path)}
    (tmp_path / KEYS_FILE).write_text(f'[{{"name": "admin", "hash": "{HASH}", "scope": "admin"}}]')
    (key,) = read_api_keys(load_config(None, environ))
    assert (key.name, key.hash, key.scope) == ("admin", HASH, "admin")
    (tmp_path / KEYS_FILE).write_text("{")
    with pytest.raises(InvalidConfig, match=KEYS_FILE):
        load_config(None, environ)


def test_the_secret_comes_from_its_key_its_file_or_the_data_directory(tmp_path):
    assert read_secret(load_config(None, {"CHRONOS_CLUSTER_SECRET": SECRET})) == SECRET
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    assert read_secret(load_config(None, {"CHRONOS_CLUSTER_SECRET_FILE": str(file)})) == SECRET
    own = load_config(None, {"CHRONOS_CLUSTER_DATA_DIR": str(tmp_path)})
    with pytest.raises(InvalidConfig, match="cannot be read"):
        read_secret(own)
    (tmp_path / "control.secret").write_text("")
    with pytest.raises(InvalidConfig, match="is empty"):
        read_secret(own)


def test_the_control_port_is_named_as_others_reach_it():
    assert control_url(load_config(None, {})) == "http://127.0.0.1:7610"
    assert control_url(load_config(None, {"CHRONOS_CLUSTER_CONTROL_ADVERTISE": "w1:7610"})) == "http://w1:7610"


def test_the_effective_configuration_reads_back_as_itself_without_the_secret(tmp_path):
    config = load(tmp_path, "", CLUSTER)
    document = shown(config)
    assert document["cluster"]["secret"] == "********"
    assert document["scheduler"]["execution_timeout"] == "5m"
    assert document["cluster"]["raft"]["peers"][0] == {"id": "n2", "address": "127.0.0.1:7602"}
    assert SECRET not in str(document)


def test_the_file_can_be_named_by_the_environment(tmp_path):
    assert default_path({}) is None
    assert default_path({"CHRONOS_CONFIG": str(tmp_path)}) == tmp_path


names = st.sampled_from(["cluster", "raft", "peers", "id", "http", "server", "auth", "keys", "tls", "x"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


@given(document=trees)
def test_no_value_whatever_ends_in_anything_but_a_configuration_or_a_refusal(document, tmp_path_factory):
    import yaml

    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(yaml.safe_dump(document))
    with contextlib.suppress(InvalidConfig):
        assert isinstance(load_config(path, {}), Config)
