import pytest

from chronos_worker.dispatch.addresses import AddressPolicy, InvalidNetwork
from chronos_worker.dispatch.own_endpoints import OwnEndpoints
from chronos_worker.dispatch.settings import AddressSettings

OWN = AddressSettings(own_endpoints=(("10.0.0.5", 7000),))


@pytest.mark.parametrize(
    "ip",
    [
        "169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200",
        "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1", "255.255.255.255",
        "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254",
        "not an address",
    ],
)  # fmt: skip
def test_an_address_nobody_should_call_is_refused(ip):
    assert AddressPolicy(AddressSettings()).refusal(ip, 80)


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "fd12::1", "8.8.8.8", "2606:4700::1"])
def test_loopback_private_and_public_addresses_are_allowed(ip):
    assert AddressPolicy(AddressSettings()).refusal(ip, 80) is None


def test_the_refusal_names_the_address_and_the_reason():
    assert AddressPolicy(AddressSettings()).refusal("169.254.169.254", 80) == (
        "169.254.169.254 is a cloud metadata address"
    )


@pytest.mark.parametrize("ip", ["10.0.0.5", "127.0.0.1", "127.9.9.9", "::1", "::ffff:10.0.0.5", "0.0.0.0"])
def test_the_clusters_own_port_is_refused_on_its_address_and_on_loopback(ip):
    assert "own endpoint" in AddressPolicy(OWN).refusal(ip, 7000)


def test_the_same_port_elsewhere_and_another_port_here_are_allowed():
    policy = AddressPolicy(OWN)
    assert policy.refusal("10.0.0.6", 7000) is None
    assert policy.refusal("10.0.0.5", 7001) is None


def test_deny_wins_over_allow_and_over_the_default():
    policy = AddressPolicy(AddressSettings(allow=("10.0.0.0/8",), deny=("10.1.0.0/16", "8.8.8.8")))
    assert policy.refusal("10.1.2.3", 80) == "10.1.2.3 is denied by configuration"
    assert policy.refusal("8.8.8.8", 80)
    assert policy.refusal("10.2.0.1", 80) is None


def test_allow_overrides_a_built_in_refusal_but_never_the_own_endpoints():
    settings = AddressSettings(allow=("169.254.0.0/16", "127.0.0.0/8"), own_endpoints=(("10.0.0.5", 7000),))
    policy = AddressPolicy(settings)
    assert policy.refusal("169.254.1.1", 80) is None
    assert policy.refusal("127.0.0.1", 7000)


def test_deny_looks_inside_a_mapped_address():
    assert AddressPolicy(AddressSettings(deny=("8.8.8.8/32",))).refusal("::ffff:8.8.8.8", 80)


def test_a_network_that_is_none_is_named():
    with pytest.raises(InvalidNetwork, match=r"deny: '10\.0\.0\.0/99'"):
        AddressPolicy(AddressSettings(deny=("10.0.0.0/99",)))


def test_an_own_endpoint_given_by_name_is_followed_when_its_address_changes():
    answers = {"worker-1": {"10.9.0.1"}}
    own = OwnEndpoints(AddressSettings(own_endpoints=(("worker-1", 7000),)), lambda host: answers[host])
    assert own.refusal("10.9.0.1", 7000) is None
    own.refresh()
    assert own.refusal("10.9.0.1", 7000)
    answers["worker-1"] = {"10.9.0.2"}
    own.refresh()
    assert own.refusal("10.9.0.2", 7000)
    assert own.refusal("10.9.0.1", 7000) is None


def test_a_name_that_stops_answering_keeps_the_address_it_had():
    answers = [{"10.9.0.1"}, set()]
    own = OwnEndpoints(AddressSettings(own_endpoints=(("worker-1", 7000),)), lambda _host: answers.pop(0))
    own.refresh()
    own.refresh()
    assert own.refusal("10.9.0.1", 7000)
