"""Which targets are taken, and the one address that gRPC is given for several."""

import ipaddress

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from client import targets
from client.connection import Connection
from client.security import Security
from music.errors import SegueError


@pytest.mark.parametrize("target", ["a:1,b:2", "a:1, b:2", ["a:1", "b:2"], "a:1,b:2,a:1"])
def test_several_targets_are_named_with_commas_or_in_a_sequence(target):
    assert targets.parse_targets(target) == ("a:1", "b:2")
    assert Connection(target).target == "a:1,b:2"


def test_the_commas_of_grpcs_own_forms_are_left_alone():
    assert targets.parse_targets("ipv4:1.2.3.4:5,6.7.8.9:10") == ("ipv4:1.2.3.4:5,6.7.8.9:10",)
    assert targets.parse_targets("unix:/tmp/a,b") == ("unix:/tmp/a,b",)


@pytest.mark.parametrize(
    "target", ["a:1,", ",", "a:1,b", "a:1,b:0", "a:1,unix:/tmp/x", "a:1,dns:///b:2", "a:1 b:2"]
)
def test_one_that_cannot_be_is_told_among_several(target):
    with pytest.raises(SegueError, match="is not HOST:PORT, as in 127.0.0.1:8500"):
        targets.parse_targets(target)


def test_none_and_too_many_are_told():
    with pytest.raises(SegueError, match="no target was given; name one as HOST:PORT"):
        targets.parse_targets([])
    with pytest.raises(SegueError, match="257 targets are too many; at most 256"):
        targets.parse_targets([f"host-{index}:1" for index in range(257)])


def test_every_address_of_every_host_is_listed_once():
    found = {"a": ["10.0.0.1", "10.0.0.2", "fd00::1"], "10.0.0.2": ["10.0.0.2"]}
    address = targets.listed_address(("a:1", "10.0.0.2:1", "10.0.0.2:2"), found)
    assert address == "ipv4:10.0.0.1:1,10.0.0.2:1,10.0.0.2:2"


def test_a_host_without_ipv4_makes_it_a_list_of_ipv6():
    found = {"a": ["10.0.0.1"], "b": ["fe80::1%eth0"], "::1": ["::1"]}
    address = targets.listed_address(("a:1", "b:2", "[::1]:3"), found)
    assert address == "ipv6:[::ffff:10.0.0.1]:1,[fe80::1%25eth0]:2,[::1]:3"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.ip_addresses(), st.integers(1, 65535)), min_size=1, max_size=8, unique=True
    )
)
def test_no_place_is_lost_on_the_way_to_the_list(places):
    named = [f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}" for ip, port in places]
    address = targets.listed_address(named, {str(ip): [str(ip)] for ip, _ in places})
    scheme, _, rest = address.partition(":")
    listed = []
    for place in rest.split(","):
        host, _, port = place.rpartition(":")
        ip = ipaddress.ip_address(host.strip("[]"))
        assert scheme == f"ipv{ip.version}"
        mapped = ip.ipv4_mapped if ip.version == 6 else None
        listed.append((mapped or ip, int(port)))
    assert listed == [(getattr(ip, "ipv4_mapped", None) or ip, port) for ip, port in places]


def test_only_what_is_this_machine_is_local():
    assert targets.is_local(["127.0.0.1:1", "localhost:2", "[::1]:3"])
    for target in ["127.evil.example:1", "localhost.example:1", "10.0.0.1:1", "unix:/tmp/x"]:
        assert not targets.is_local(["127.0.0.1:1", target])


def test_an_unknown_host_of_several_is_told_by_its_name(toy):
    connection = Connection(f"{toy.target},no-such-host.invalid:8500")
    with connection, pytest.raises(SegueError) as caught:
        connection.status()
    assert str(caught.value) == (
        "host 'no-such-host.invalid' is not known to this machine; mend its name, "
        "or leave it out of the targets"
    )


def test_different_hosts_with_tls_need_one_name():
    with pytest.raises(SegueError, match="a:1,b:1 are of different hosts.*as server_name"):
        Connection("a:1,b:1", security=Security())
    Connection("a:1,a:2", security=Security())
    Connection("a:1,b:1", security=Security(server_name="segue.example"))
