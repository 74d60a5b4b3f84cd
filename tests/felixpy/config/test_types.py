"""Each type: what it takes, what it refuses, and that refusing is all it ever does."""

import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.settings import FailsafePort
from felixpy.config import network_types as n
from felixpy.config import types as t
from felixpy.config.parameters import PARAMETERS

MODE = t.one_of("Drop", "Reject", "Disabled", none="Disabled")

ACCEPTED = [
    # type, text, value
    (t.BOOL, "TRUE", True),
    (t.BOOL, "1", True),
    (t.BOOL, "yes", True),
    (t.BOOL, "Y", True),
    (t.BOOL, "t", True),
    (t.BOOL, "False", False),
    (t.BOOL, "0", False),
    (t.BOOL, "no", False),
    (t.BOOL, "n", False),
    (t.BOOL, "F", False),
    (t.OPTIONAL_BOOL, "f", False),
    (t.integer(0, 100), "0x10", 16),
    (t.integer(0, 100), "0o10", 8),
    (t.integer(0, 100), "010", 8),
    (t.integer(0, 100), "0b11", 3),
    (t.integer(0, 100), "+100", 100),
    (t.integer(0, 100), "0", 0),
    (t.SECONDS, "1.5", 1.5),
    (t.SECONDS, "90", 90.0),
    (t.SECONDS, ".5", 0.5),
    (t.SECONDS, "1e3", 1000.0),
    (t.SECONDS, "-1", 0.0),
    (t.MILLIS, "50", 50.0),
    (MODE, "reject", "Reject"),
    (MODE, "DISABLED", "Disabled"),
    (t.TEXT, "calico-packet %t", "calico-packet %t"),
    (t.REGEXP, "^(en|wl).*", "^(en|wl).*"),
    (t.EXISTING_FILE, "/proc/self/stat", "/proc/self/stat"),
    (t.EXISTING_FILE_OR_DIRECTORY, "/proc/self/stat", "/proc/self/stat"),
    (t.EXISTING_FILE_OR_DIRECTORY, "/proc/self", "/proc/self"),
    (t.PAIRS, "a=1, b = x=y ,", (("a", "1"), ("b", "x=y"))),
    (t.DURATION_PAIRS, "CalculationGraph=1m30s,b=0", (("CalculationGraph", 90.0), ("b", 0.0))),
    (n.HOSTNAME, "node-1.example_x", "node-1.example_x"),
    (n.HOST_ADDRESS, "fe80::1", "fe80::1"),
    (n.AUTHORITY, "etcd.example:2379", "etcd.example:2379"),
    (n.AUTHORITY, "Etcd_1", "etcd_1:2379"),
    (n.AUTHORITY, "[FD00::0:1]:1", "[fd00::1]:1"),
    (n.INTERFACE, "eth0.100+", "eth0.100+"),
    (n.REGION, "region-1", "region-1"),
    (n.INTERFACES, "cali,tap", ("cali", "tap")),
    (n.INTERFACES_OR_REGEXPS, "kube-ipvs0,/^veth.*$/", ("kube-ipvs0", "/^veth.*$/")),
    (n.ENDPOINTS, "http://a:2379, http://[::1]:2379/", ("http://a:2379", "http://[::1]:2379")),
    (n.ENDPOINTS, "HTTPS://A:1/,,https://a:1", ("https://a:1",)),
    (n.ENDPOINTS, "https://[FD00:0::1],https://b", ("https://[fd00::1]:2379", "https://b:2379")),
    (n.IPV4, "10.0.0.1", "10.0.0.1"),
    (n.IPV6, "FD00:0::1", "fd00::1"),
    (n.IPV4_NETS, "10.1.2.3/8, 192.0.2.1", ("10.0.0.0/8", "192.0.2.1/32")),
    (n.FAILSAFE_PORTS, "22", (FailsafePort("tcp", 22),)),
    (n.FAILSAFE_PORTS, "UDP:53", (FailsafePort("udp", 53),)),
    (n.FAILSAFE_PORTS, " tcp:1 , 2 ,", (FailsafePort("tcp", 1), FailsafePort("tcp", 2))),
    (n.FAILSAFE_PORTS, "tcp:10.1.2.3/8:22", (FailsafePort("tcp", 22, "10.0.0.0/8"),)),
    (n.FAILSAFE_PORTS, "udp:[fd00::1]:53", (FailsafePort("udp", 53, "fd00::1/128"),)),
    (n.FAILSAFE_PORTS, "[fd00::/64]:22", (FailsafePort("tcp", 22, "fd00::/64"),)),
    (n.PORT_RANGE, "80", (80, 80)),
    (n.PORT_RANGE, "40000:40100", (40000, 40100)),
    (n.PORT_RANGES, "30000:32767, 80", ((30000, 32767), (80, 80))),
    (n.MASK, "0xffff0000", 0xFFFF0000),
    (n.MASK, "3", 3),
    (n.RATE, "10/second", "10/second"),
    (n.TABLE_RANGE, "1-250", (1, 250)),
    (n.TABLE_RANGES, "1-250,1000-2000", ((1, 250), (1000, 2000))),
]

REFUSED: list[tuple[t.Type[Any], list[str]]] = [
    (t.BOOL, ["on", "", "2", "truely"]),
    (t.integer(0, 100), ["101", "-1", "1.0", "0x", "1_0", "٣", "ten", "9" * 5000, "08"]),
    (t.SECONDS, ["90s", "1m", "inf", "nan", "1e400", "1_0", ""]),
    (MODE, ["Dro", "drop ", ""]),
    (t.TEXT, ["a\nb", "a\x00b"]),
    (t.REGEXP, ["(", "[", "*", "a{99999999999999999999}"]),
    (t.EXISTING_FILE, ["/nonexistent", "a" * 5000, "a\x00", "/", "/dev/null"]),
    (t.EXISTING_FILE_OR_DIRECTORY, ["/nonexistent", "a\x00", "/dev/null"]),
    (t.PAIRS, ["a", "a b=c", "=c"]),
    (t.DURATION_PAIRS, ["a=5", "a=s", "a=1 s", "a=", "a=1s2"]),
    (n.HOSTNAME, ["a b", "a\n", "ä", ""]),
    (n.AUTHORITY, ["", "a:b", ":1", "a:0", "a:65536", "fd00::1", "[a]", "[fe80::1%x]:1", "u@a"]),
    (n.INTERFACE, ["a" * 16, "a b"]),
    (n.REGION, ["A", "-a", "a" * 47]),
    (n.INTERFACES, ["a, b", "a,", "", "a" * 16]),
    (n.INTERFACES_OR_REGEXPS, ["/(/", "a b"]),
    (n.ENDPOINTS, ["a:1", "ftp://a:1", "http:a", "http://a:1/x", "http://u@a:1", "http://[a:1"]),
    (n.ENDPOINTS, ["http://a:1,https://b:1", "http://a:99999999", ",", "http://", "http://a?b"]),
    (n.ENDPOINTS, ["http://fd00::1:1", "http://a b", "http://a:1//"]),
    (n.IPV4, ["fd00::1", "10.0.0", "10.0.0.1/8", "010.0.0.1"]),
    (n.IPV6, ["10.0.0.1", "fe80::1%eth0"]),
    (n.IPV4_NETS, ["fd00::/8", "10.0.0.0/33"]),
    (n.FAILSAFE_PORTS, ["sctp:22", "tcp:65536", "tcp:-1", "tcp:", "a:b:c:d", "tcp:[fd00::1:22"]),
    (n.FAILSAFE_PORTS, ["tcp:10.0.0.0/8:[fd00::]:22", "tcp:10.0.0:22", "tcp:[fe80::1%a]:2"]),
    (n.PORT_RANGE, ["http", "2:1", "1:2:3", "65536", ""]),
    (n.PORT_RANGES, ["1,2,3,4,5,6,7,8"]),
    (n.MASK, ["1", "0", "0x100000000", "-3"]),
    (n.RATE, ["0/second", "10", "10/week", "10/s", "10001/second"]),
    (n.TABLE_RANGE, ["1-251", "0-5", "5-1", "5", "1-250,3-4"]),
    (n.TABLE_RANGES, ["1-65536", ",", "a-b"]),
]


@pytest.mark.parametrize(("kind", "text", "value"), ACCEPTED)
def test_what_is_accepted(kind: t.Type[Any], text: str, value: object) -> None:
    parsed = kind.parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, texts in REFUSED for text in texts]
)
def test_what_is_refused(kind: t.Type[Any], text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        kind.parse(text)


@pytest.mark.parametrize(("kind", "text", "value"), ACCEPTED)
def test_what_is_written_is_read_again(kind: t.Type[Any], text: str, value: object) -> None:
    assert kind.parse(kind.render(value)) == value


TYPES = list({id(parameter.type): parameter.type for parameter in PARAMETERS.values()}.values())
LIKELY = st.text(alphabet="0123456789abcdefx:/.,=-[]+%\\ *(", max_size=30)
TEXTS = st.text(max_size=40) | LIKELY


@given(kind=st.sampled_from(TYPES), text=TEXTS)
def test_nothing_but_a_value_error(kind: t.Type[Any], text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            value = kind.parse(text)
        except ValueError:
            return
    rendered = kind.render(value)
    hash(value)
    if rendered:
        assert kind.parse(rendered) == value


DURATIONS = [("1m30s", 90.0), ("300ms", 0.3), ("1h", 3600.0), ("1.5h", 5400.0), ("0", 0.0)]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_durations(text: str, seconds: float) -> None:
    assert t.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["http://u:swordfish@a:1", "http://u:fish,swordfish@a:1", "u:swordfish@a:1"]
)
@pytest.mark.parametrize("kind", [n.ENDPOINTS, n.AUTHORITY])
def test_a_password_in_an_endpoint_is_not_repeated(kind: t.Type[Any], text: str) -> None:
    with pytest.raises(ValueError, match="EtcdPassword") as caught:
        kind.parse(text)
    assert "fish" not in str(caught.value)
    assert "fish" not in kind.quote(text)
    assert kind.quote("http://a:1") == "http://a:1"
