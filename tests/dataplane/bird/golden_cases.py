"""What the golden files are rendered from, a case for each construct.

`python -m tests.dataplane.bird.golden_cases` writes them anew; what is different is then to be
looked at as carefully as code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import structs

from calc_graph.bgp.resources import (
    AddCommunity,
    BgpFilter,
    FilterRule,
    PrefixCommunities,
    PrependPath,
    SecretRef,
    SetPriority,
)
from calc_graph.bgp.updates import (
    BgpFilterUpdate,
    BgpOrigins,
    BgpPool,
    BgpSession,
    BgpSpeaker,
    BgpUpdate,
)
from dataplane.bird.credentials import Credential, Password
from dataplane.bird.render import render
from dataplane.bird.settings import BirdSettings
from dataplane.bird.version import Version
from dataplane.bird.wanted import Wanted

DIRECTORY = Path(__file__).parent / "golden"
MESH = SecretRef("bgp-secrets", "mesh")
TOR = SecretRef("bgp-secrets", "tor")
SECRETS = {MESH: Credential(Password("mesh secret")), TOR: Credential(Password("tor-secret-2"))}

POOLS = (BgpPool("10.65.0.0/16"), BgpPool("fd65::/48"))
RANGES = ("10.96.0.0/12",)
SPEAKER = BgpSpeaker(
    "n1",
    address_v4="10.0.0.1",
    address_v6="fd00::1",
    pools=POOLS,
    service_cidrs=RANGES,
    advertised_cidrs=RANGES,
)
N1 = BgpOrigins("n1", "10.0.0.1", "fd00::1", ("10.65.1.0/26", "fd65::1:0/122"))
N2 = BgpOrigins("n2", "10.0.0.2", "fd00::2", ("10.65.2.0/26", "fd65::2:0/122"))
N3 = BgpOrigins("n3", "10.0.0.3", "fd00::3", ("10.65.2.77/32", "10.65.3.0/26", "fd65::3:0/122"))
NODES = (N1, N2, N3)


class Case(NamedTuple):
    updates: tuple[BgpUpdate, ...]
    settings: BirdSettings = BirdSettings()
    credentials: Mapping[SecretRef, Credential] = SECRETS

    def version(self) -> Version:
        wanted = Wanted()
        wanted.apply(self.updates)
        return render(wanted, self.credentials, self.settings)


def speaker(**different: Any) -> BgpSpeaker:
    return structs.replace(SPEAKER, **different)


def mesh(remote: BgpOrigins, family: int = 4, **different: Any) -> BgpSession:
    address = remote.address_v4 if family == 4 else remote.address_v6
    return _session("Mesh", "mesh", "node", address, remote=remote.node, **different)


def tor(address: str = "10.0.0.254", **different: Any) -> BgpSession:
    different = {"remote_as": 65001, "resource": "tor", **different}
    return _session("Global", "global", "outside", address, **different)


def node(address: str, trust: str, **different: Any) -> BgpSession:
    return _session("Node", "node", trust, address, **{"resource": "reflectors", **different})


def workload(address: str, **different: Any) -> BgpSession:
    different = {"remote_as": 65401, "resource": "vm", "local_address": "", **different}
    return _session("Local_Workload", "workload", "workload", address, passive=True, **different)


def _session(prefix: str, kind: Any, trust: Any, address: str, **different: Any) -> BgpSession:
    family: Any = 6 if ":" in address else 4
    name = f"{prefix}_{address.translate(str.maketrans('.:', '__'))}"
    own = "fd00::1" if family == 6 else "10.0.0.1"
    fields = {"remote_as": 64512, "local_as": 64512, "local_address": own, **different}
    if fields.get("port"):
        name += f"_port_{fields['port']}"
    return BgpSession(name, family, kind, trust, address, **fields)


def _filtered(filters: Mapping[str, BgpFilter], *sessions: BgpSession) -> Case:
    told = [BgpFilterUpdate(name, content) for name, content in filters.items()]
    asked = sessions or (tor(filters=tuple(filters)),)
    return Case((SPEAKER, *NODES, *told, *asked))


def _nets() -> BgpFilter:
    """Every operator, without lengths, with some, and with those that need care."""
    operators: tuple[Any, ...] = ("equal", "not-equal", "in", "not-in")
    lengths = (None, (25, 26), (0, 25), (8, 16))
    v4 = [
        FilterRule(False, net="203.0.113.77/24", operator=operator, lengths=between)
        for operator in operators
        for between in lengths
    ]
    v6 = [
        FilterRule(True, net="2001:db8::1/32", operator=operator, lengths=between)
        for operator in operators
        for between in (None, (48, 64), (0, 48), (129, 130))
    ]
    return BgpFilter(import_v4=tuple(v4), import_v6=tuple(v6), export_v4=tuple(v4[:3]))


_MATCHES = (
    FilterRule(False, remote_peers=True),
    FilterRule(False, interface="eth*"),
    FilterRule(False, community="65000:7"),
    FilterRule(False, community="65000:7:4294967295"),
    FilterRule(False, path_prefix=(65001, 4200000000)),
    FilterRule(False, priority=512),
    FilterRule(
        True,
        net="203.0.113.0/24",
        operator="in",
        lengths=(24, 28),
        remote_peers=True,
        interface="bond0.1",
        community="1:2",
        path_prefix=(65001,),
        priority=2147483646,
    ),
    FilterRule(False),
    FilterRule(True),  # never reached
)
_OPERATIONS = (
    FilterRule(
        True,
        net="203.0.113.0/24",
        operator="in",
        operations=(
            AddCommunity("65000:1"),
            AddCommunity("65000:1:2"),
            PrependPath((65010, 65011)),
            SetPriority(512),
        ),
    ),
    FilterRule(True, operations=(SetPriority(2048),)),
)
_TYPED = (
    FilterRule(False, peer_type="ibgp", net="203.0.113.0/24", operator="in"),
    FilterRule(True, peer_type="ebgp"),
)
LONG_NAME = "a-name.with-dots." + "x" * 60

CASES: dict[str, Case] = {
    "mesh-and-tor": Case(
        (
            SPEAKER,
            *NODES,
            mesh(N2, passive=True, password=MESH),
            mesh(N3, passive=True, password=MESH),
            mesh(N2, 6, passive=True, password=MESH),
            mesh(N3, 6, passive=True, password=MESH),
            tor(password=TOR, ttl_security=1),
            tor("fd00::254", password=TOR, ttl_security=1),
        )
    ),
    "no-sessions": Case((SPEAKER, *NODES)),
    "v6-only": Case(
        (
            speaker(address_v4="", pools=POOLS[1:], service_cidrs=(), advertised_cidrs=()),
            structs.replace(N1, address_v4=""),
            N2,
            mesh(N2, 6),
            tor("2001:db8::254", port=1790),
        ),
        BirdSettings(router_id="hash"),
    ),
    "router-id": Case((SPEAKER, N1), BirdSettings(router_id="192.0.2.1")),
    "no-pools": Case((speaker(pools=()), *NODES, mesh(N2), tor())),
    "pools": Case(
        (
            speaker(
                pools=(
                    BgpPool("10.65.0.0/17"),
                    BgpPool("10.65.128.0/17", exported=False),
                    BgpPool("10.66.0.0/16", in_kernel=False),
                )
            ),
            structs.replace(N1, withheld=("10.65.200.0/26", "10.65.201.5/32")),
            tor(),
        )
    ),
    "services": Case(
        (
            speaker(service_cidrs=("10.96.0.0/12", "198.51.100.0/24", "198.51.100.7/32")),
            N1,
            N2,
            structs.replace(N3, services=False),
            mesh(N2),
            mesh(N3),
        )
    ),
    "services-excluded": Case((SPEAKER, structs.replace(N1, services=False), tor())),
    "origins": Case(
        (
            SPEAKER,
            structs.replace(
                N1,
                nets=(
                    *("10.65.1.0/26", "10.65.1.64/26", "10.65.1.128/26", "10.65.1.192/26"),
                    *("10.65.2.9/32", "10.65.4.1/32", "fd65::1:0/122", "fd65::9/128"),
                ),
                retiring=("10.65.5.0/26",),
            ),
            structs.replace(N2, retiring=("10.65.6.0/26",)),
            mesh(N2),
            mesh(N3),  # of which nothing is known
        )
    ),
    "communities": Case(
        (
            speaker(
                communities=(
                    PrefixCommunities("10.65.0.0/16", ("64512:100", "64512:200:300")),
                    PrefixCommunities("10.65.1.0/26", ("65535:65281",)),
                    PrefixCommunities("fd65::/48", ("64512:6",)),
                )
            ),
            N1,
            tor(),
        )
    ),
    "reflector": Case(
        (
            speaker(cluster_id="10.0.0.1"),
            *NODES,
            node("10.0.0.2", "node", remote="n2", client=True, password=MESH),
            node("10.0.0.3", "reflector", remote="n3"),
            node("fd00::2", "node", remote="n2", client=True, password=MESH),
            tor(),
        )
    ),
    "reflector-client": Case(
        (
            SPEAKER,
            *NODES,
            BgpOrigins("rr", "10.0.0.9", "fd00::9", ("10.65.9.0/26",), services=False),
            node("10.0.0.9", "reflector", remote="rr"),
            node("fd00::9", "reflector", remote="rr"),
        )
    ),
    "reflector-of-nobody": Case((SPEAKER, N1, node("10.0.0.9", "reflector", remote="rr"))),
    "fabric": Case((speaker(fabric=True), *NODES, tor(allow_local_as=1), tor("fd00::254"))),
    "filter-nets": _filtered(
        {"nets": _nets()}, tor(filters=("nets",)), tor("fd00::254", filters=("nets",))
    ),
    "filter-matches": _filtered({"m": BgpFilter(import_v4=_MATCHES, export_v4=_MATCHES)}),
    "filter-operations": _filtered({"o": BgpFilter(import_v4=_OPERATIONS, export_v4=_OPERATIONS)}),
    "filter-peer-types": _filtered(
        {"t": BgpFilter(import_v4=_TYPED, export_v4=_TYPED)},
        tor(filters=("t",)),
        tor("10.0.0.253", remote_as=64512, filters=("t",)),
        tor("10.0.0.252", remote_as=64512, local_as=65000, filters=("t",)),
    ),
    "filter-order": _filtered(
        {
            "b": BgpFilter(import_v4=(FilterRule(False, community="1:1"),)),
            LONG_NAME: BgpFilter(import_v4=(FilterRule(True),), export_v4=(FilterRule(True),)),
            "empty": BgpFilter(),
        },
        tor(filters=("empty", LONG_NAME, "b")),
    ),
    "filter-unknown": _filtered({"a": BgpFilter()}, tor(filters=("a", "gone"))),
    "filter-unfit": _filtered(
        {
            "a": BgpFilter(import_v4=(FilterRule(True, community="65536:1"),)),
            "b": BgpFilter(export_v4=(FilterRule(True, net="fd00::/8", operator="in"),)),
        }
    ),
    "unguarded": Case(
        (
            SPEAKER,
            *NODES,
            BgpFilterUpdate("all", BgpFilter((FilterRule(True),), (FilterRule(True),))),
            tor(filters=("all",)),
            tor("10.0.0.253", resource="other", filters=("all",)),
        ),
        BirdSettings(unguarded=frozenset({"tor"})),
    ),
    "workload": Case(
        (
            SPEAKER,
            N1,
            BgpFilterUpdate(
                "vips",
                BgpFilter((FilterRule(True, net="192.0.2.0/24", operator="in"),)),
            ),
            workload("10.65.1.7", filters=("vips",)),
            workload("fd65::1:7"),
        )
    ),
    "passwords": Case(
        (
            SPEAKER,
            *NODES,
            *(tor(f"10.0.1.{n}", password=SecretRef("s", f"k{n}")) for n in range(1, 9)),
            tor("10.0.1.9"),
        ),
        credentials={
            SecretRef("s", "k1"): Credential(Password("a" * 80)),
            SecretRef("s", "k2"): Credential(Password("good #/*'$%\\"), "Secret s: cannot be read"),
            SecretRef("s", "k3"): Credential(None, 'Secret s: no key "k3"\nat all'),
            SecretRef("s", "k4"): Credential(Password("b" * 81)),
            SecretRef("s", "k5"): Credential(Password("")),
            SecretRef("s", "k6"): Credential(Password('x"; import all; #')),
            SecretRef("s", "k7"): Credential(Password("caf\u00e9")),
        },
    ),
    "ttl-security": Case((SPEAKER, N1, tor(ttl_security=1), tor("fd00::254", ttl_security=255))),
    "as-numbers": Case(
        (
            speaker(as_number=4200000001),
            N1,
            tor(local_as=65100, remote_as=65100),
            tor("10.0.0.253", local_as=4200000001, remote_as=4294967295, allow_local_as=2),
        )
    ),
    "next-hops": Case(
        (SPEAKER, N1, tor(next_hop="self"), tor("10.0.0.253", next_hop="keep"), tor("10.0.0.252"))
    ),
    "source-address": Case((SPEAKER, N1, tor(local_address=""))),
    "timers": Case(
        (
            SPEAKER,
            N1,
            tor("10.0.1.1", keepalive_seconds=10),
            tor("10.0.1.2", keepalive_seconds=300),
            tor("10.0.1.3", keepalive_seconds=100_000),
            tor("10.0.1.4", keepalive_seconds=0, restart_seconds=0),
            tor("10.0.1.5", restart_seconds=70_000),
        )
    ),
    "bfd": Case((SPEAKER, *NODES, mesh(N2), tor()), BirdSettings(bfd=frozenset({"mesh"}))),
    "bfd-everywhere": Case((SPEAKER, N1, tor()), BirdSettings(bfd=frozenset({"*"}))),
    "listen": Case(
        (
            speaker(listen_port=1790, bind_node_address=True),
            N1,
            tor(port=179),
            tor("10.0.0.253", port=1790, local_address=""),
        )
    ),
    "reachable-by": Case(
        (
            SPEAKER,
            N1,
            tor("192.0.2.1", reachable_by="10.0.0.254"),
            tor("192.0.2.1", port=1790, reachable_by="10.0.0.254"),
            tor("192.0.2.2", port=1790, reachable_by="10.0.0.253"),
            tor("192.0.2.2", reachable_by="10.0.0.254"),
            tor("2001:db8::1", reachable_by="fd00::254"),
        )
    ),
    "interfaces": Case(
        (speaker(ignored_interfaces=("docker0", "br-*")), N1),
        BirdSettings(interface_prefixes=("cali", "tap"), device_route_protocol=99),
    ),
    "priorities": Case((speaker(priority_v4=100, priority_v6=200), *NODES, mesh(N2), mesh(N2, 6))),
    "debug": Case((speaker(log="debug"), N1)),
    "log-none": Case((speaker(log="none"), N1)),
    "unfit": Case(
        (
            speaker(
                cluster_id="none",
                communities=(PrefixCommunities("10.65.0.0/16", ("1:2:3:4",)),),
                ignored_interfaces=('a"b',),
                pools=(*POOLS, BgpPool("10.0.0.0")),
            ),
            structs.replace(N1, nets=("10.65.1.0/26", "10.65.1.0/26; }")),
            N2,
            mesh(N2),
            mesh(N3, family=6, remote_as=0),
            tor("fe80::1"),
            tor("10.0.0.254", reachable_by="fe80::1"),
            node("10.0.0.7", "node", client=True),
            tor("10.0.0.8", port=70_000),
        )
    ),
}  # fmt: skip


def main() -> None:
    for old in DIRECTORY.glob("*.conf"):
        old.unlink()
    for name, case in CASES.items():
        (DIRECTORY / f"{name}.conf").write_text(case.version().text)


if __name__ == "__main__":
    main()
