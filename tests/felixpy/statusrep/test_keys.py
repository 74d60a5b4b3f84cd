"""Names as Calico's own programs make and read them."""

from __future__ import annotations

import pytest

from calc_graph.model import HostEndpointKey, WorkloadEndpointKey
from felixpy.statusrep.keys import endpoint_directories, endpoint_key, file_name, process_keys

POD = WorkloadEndpointKey("n1", "k8s", "prod/pod-1", "eth0")
ODD = WorkloadEndpointKey("n1", "o/s", "a%2fb/c d", "e%")


def test_the_agents_own() -> None:
    assert process_keys("n1", "") == (
        "/calico/felix/v2/no-region/host/n1/status",
        "/calico/felix/v2/no-region/host/n1/last_reported_status",
    )
    assert process_keys("n1", "eu")[0] == "/calico/felix/v2/region-eu/host/n1/status"


@pytest.mark.parametrize(
    ("key", "region", "expected"),
    [
        (POD, "", "/calico/felix/v2/no-region/host/n1/workload/k8s/prod%2fpod-1/endpoint/eth0"),
        (POD, "eu", "/calico/felix/v2/region-eu/host/n1/workload/k8s/prod%2fpod-1/endpoint/eth0"),
        (
            ODD,
            "",
            "/calico/felix/v2/no-region/host/n1/workload/o%2fs/a%252fb%2fc d/endpoint/e%25",
        ),
        (HostEndpointKey("n1", "eth/0%"), "eu", "/calico/felix/v1/host/n1/endpoint/eth%2f0%25"),
    ],
)
def test_endpoints(key, region: str, expected: str) -> None:
    assert endpoint_key(key, "n1", region) == expected
    assert expected.startswith(endpoint_directories("n1", region))


def test_another_hosts_keys_are_not_below_ours() -> None:
    other = endpoint_key(POD, "n10", ""), endpoint_key(HostEndpointKey("n10", "h"), "n10", "")
    assert not any(key.startswith(endpoint_directories("n1", "")) for key in other)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (POD, "k8s prod%2Fpod-1 eth0"),
        # Go's url.PathEscape of !"#$%&'()*+,-./:;<=>?@[\]^_`{|}~ and of a letter beyond ASCII
        (
            WorkloadEndpointKey("n1", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "é", "."),
            "%21%22%23$%25&%27%28%29%2A+%2C-.%2F:%3B%3C=%3E%3F@%5B%5C%5D%5E_%60%7B%7C%7D~ %C3%A9 .",
        ),
        (WorkloadEndpointKey("n1", "\ud800", "..", "\0"), "%ED%A0%80 .. %00"),
    ],
)
def test_files(key: WorkloadEndpointKey, expected: str) -> None:
    assert file_name(key) == expected
