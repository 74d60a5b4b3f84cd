"""Where status is found: keys of the datastore, names of files.

Sections 7.1 to 7.3 of the data model reference.  `region` is the parameter OpenstackRegion, "" for
none.  The name of a host stands in keys as it is; a directory of one host always ends in "/", so
that "n1" is never taken for the beginning of "n10".
"""

from __future__ import annotations

from urllib.parse import quote

from calc_graph.model import EndpointKey, HostEndpointKey, WorkloadEndpointKey
from felixpy.datastore.etcd_keys import resource_key

# What Go's url.PathEscape leaves alone besides letters, digits and "-_.~".
_SAFE_IN_FILE_NAMES = "$&+:=@"


def process_keys(hostname: str, region: str) -> tuple[str, str]:
    """The report that is gone when its agent is, and the one that stays."""
    host = _host(hostname, region)
    return f"{host}status", f"{host}last_reported_status"


def endpoint_directories(hostname: str, region: str) -> tuple[str, str]:
    """All that may be below these is the status of this host's endpoints."""
    return f"{_host(hostname, region)}workload/", f"/calico/felix/v1/host/{hostname}/endpoint/"


def endpoint_key(key: EndpointKey, hostname: str, region: str) -> str:
    workloads, hosts = endpoint_directories(hostname, region)
    match key:
        case WorkloadEndpointKey():
            workload = f"{_escape(key.orchestrator)}/{_escape(key.workload)}"
            return f"{workloads}{workload}/endpoint/{_escape(key.endpoint)}"
        case HostEndpointKey():
            return f"{hosts}{_escape(key.name)}"


def node_status_directory() -> str:
    """Resources that ask how a node is, and the answers in them."""
    return resource_key("CalicoNodeStatus", "")


def node_status_key(name: str) -> str:
    return resource_key("CalicoNodeStatus", name)


def file_name(key: WorkloadEndpointKey) -> str:
    """For example "k8s prod%2Fpod-1 eth0": the blank is the one thing that no part can hold."""
    parts = (key.orchestrator, key.workload, key.endpoint)
    # what is no character has a name as well, be it one that no CNI plugin asks for
    return " ".join(quote(part, _SAFE_IN_FILE_NAMES, errors="surrogatepass") for part in parts)


def _host(hostname: str, region: str) -> str:
    return f"/calico/felix/v2/{f'region-{region}' if region else 'no-region'}/host/{hostname}/"


def _escape(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2f")
