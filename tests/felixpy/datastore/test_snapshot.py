"""etcd looked at once: what is found, what is wrong, and what is not asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from typing import Any

import pytest

from calc_graph.bgp.resources import BgpConfiguration, BgpConfigurationKey, SecretRef
from calc_graph.model import FelixConfigurationKey
from felixpy.config import Rank, Setting, Source, examine
from felixpy.datastore import builtin, snapshot
from felixpy.datastore.etcd_keys import RANGES, RESOURCES
from felixpy.datastore.snapshot import SnapshotError, is_named, read_snapshot
from felixpy.datastore.source import BadInput
from felixpy.etcd.credentials import CredentialsError
from felixpy.etcd.errors import MemberLostError
from felixpy.etcd.member import Header, Interval, KeyValue, Member, Page

CLUSTER = f"{RESOURCES}clusterinformations/default"
FELIX = f"{RESOURCES}felixconfigurations/"
SETS = f"{RESOURCES}globalnetworksets/"


class FakeClient:
    """A client and its member at once; it counts what it is asked."""

    location = "10.0.0.1:2379"

    def __init__(self, pairs: dict[str, Any], fails: Exception | None = None) -> None:
        self._pairs = {
            key.encode(): text if isinstance(text, bytes) else json.dumps(text).encode()
            for key, text in sorted(pairs.items())
        }
        self.fails = fails
        self.asked: list[tuple[Interval, int]] = []
        self.closed = False

    def __call__(self, *_: object) -> FakeClient:
        return self

    def check(self) -> None:
        if isinstance(self.fails, CredentialsError):
            raise self.fails

    def warnings(self) -> list[str]:
        return ["a key that others can read"]

    async def member(self) -> FakeClient:
        if self.fails:
            raise self.fails
        return self

    async def range(
        self, interval: Interval, *, limit: int, revision: int, serializable: bool
    ) -> Page:
        assert revision in (0, 7)
        assert serializable is (revision == 7)
        self.asked.append((interval, revision))
        found = [
            KeyValue(key, value, 5)
            for key, value in self._pairs.items()
            if interval.key <= key < interval.end
        ]
        return Page(Header(1, 7, 1), found[:limit], len(found) > limit)

    def pages(self, interval: Interval, revision: int = 0) -> AsyncGenerator[Page, None]:
        return Member.pages(self, interval, revision)  # type: ignore[arg-type]

    def close(self) -> None:
        self.closed = True


def etcd(*settings: tuple[str, str]) -> Any:
    named = (("FelixHostname", "n1"), ("EtcdEndpoints", "http://10.0.0.1:2379"), *settings)
    said = tuple(Setting(name, text, "f") for name, text in named)
    return examine((Source(Rank.FILE, said),))


def read(
    monkeypatch: pytest.MonkeyPatch,
    client: FakeClient,
    kinds: Iterable[str] | None = None,
    bgp: str = "false",
) -> snapshot.Snapshot:
    monkeypatch.setattr(snapshot, "EtcdClient", client)
    try:
        wanted = () if kinds is None else (tuple(kinds),)
        return read_snapshot(etcd(("BGPEnabled", bgp)).config, 5.0, *wanted)
    finally:
        assert client.closed is not isinstance(client.fails, CredentialsError)


def test_all_of_it_in_pages_at_one_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {f"{SETS}s{number:04}": {"spec": {"nets": ["10.0.0.0/8"]}} for number in range(1200)}
    client = FakeClient({CLUSTER: {"spec": {"datastoreReady": True}}, **sets})
    found = read(monkeypatch, client)
    assert found.kinds == {"ClusterInformation": 1, "GlobalNetworkSet": 1200}
    assert len(found.values) == 1202
    assert builtin.DEFAULT_ALLOW_PROFILE[0] in found.values
    assert (found.errors, found.invalid, found.ready) == ((), (), True)
    assert found.warnings == ("a key that others can read",)
    assert found.location == "10.0.0.1:2379"
    assert [revision for _, revision in client.asked] == [0] + [7] * (len(RANGES) + 1)


def test_what_is_invalid_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient(
        {
            f"{SETS}bad": {"spec": {"nets": ["10.0.0.0/33"]}},
            f"{SETS}broken": b"{",
            f"{SETS}in/a/directory": b"{",
            f"{SETS}good": {"spec": {"nets": ["10.0.0.0/8"]}},
        }
    )
    found = read(monkeypatch, client)
    assert [(each.where, each.field) for each in found.invalid] == [
        (f"{SETS}bad", "spec.nets[0]"),
        (f"{SETS}broken", ""),
    ]
    assert found.kinds == {"GlobalNetworkSet": 1}


@pytest.mark.parametrize(("spec", "ready"), [({"datastoreReady": True}, True), ({}, False)])
def test_readiness(monkeypatch: pytest.MonkeyPatch, spec: dict[str, bool], ready: bool) -> None:
    assert read(monkeypatch, FakeClient({CLUSTER: {"spec": spec}})).ready is ready
    assert read(monkeypatch, FakeClient({})).ready is False


def test_only_what_is_wanted_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient(
        {f"{FELIX}default": {"spec": {"logSeverityScreen": "Info"}}, f"{SETS}s": {}}
    )
    found = read(monkeypatch, client, ("FelixConfiguration",))
    assert FelixConfigurationKey("default") in found.values
    assert [interval.key.decode() for interval, _ in client.asked] == [FELIX]


AFFINITY = "/calico/ipam/v2/host/n2/ipv4/block/10.65.2.0-26"
FILTER = f"{RESOURCES}bgpfilters/f"


@pytest.mark.parametrize(
    ("bgp", "kinds", "found"),
    [
        ("false", None, {}),
        ("true", None, {"BGPFilter": 1, "BlockAffinity": 1}),
        ("false", ("BlockAffinity",), {"BlockAffinity": 1}),
    ],
)
def test_what_bgp_needs_is_read_with_bgp_or_by_name(
    monkeypatch: pytest.MonkeyPatch,
    bgp: str,
    kinds: tuple[str, ...] | None,
    found: dict[str, int],
) -> None:
    client = FakeClient({AFFINITY: b"", FILTER: {"spec": {}}})
    assert read(monkeypatch, client, kinds, bgp).kinds == found


def test_of_a_bad_configuration_the_mesh_password_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = {"secretKeyRef": {"name": "bgp", "key": "mesh"}}
    spec = {"asNumber": -1, "nodeMeshPassword": reference}
    found = read(monkeypatch, FakeClient({f"{RESOURCES}bgpconfigurations/default": {"spec": spec}}))
    assert [each.field for each in found.invalid] == ["spec.asNumber"]
    key = BgpConfigurationKey("default")
    assert found.values[key] == BgpConfiguration(mesh_password=SecretRef("bgp", "mesh"))


def test_why_it_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SnapshotError, match=r"10.0.0.1:2379: connection refused"):
        read(monkeypatch, FakeClient({}, MemberLostError("10.0.0.1:2379: connection refused")))
    found = read(monkeypatch, FakeClient({}, CredentialsError("EtcdCaFile /ca: no such file")))
    assert found.errors == (BadInput("etcd", 0, 0, "", "EtcdCaFile /ca: no such file"),)


def test_a_silent_etcd_is_not_waited_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient({})

    async def never() -> FakeClient:
        await asyncio.Event().wait()
        return client

    monkeypatch.setattr(client, "member", never)
    monkeypatch.setattr(snapshot, "EtcdClient", client)
    with pytest.raises(SnapshotError, match=r"10.0.0.1:2379: not read within 0.01 s"):
        read_snapshot(etcd().config, 0.01)
    assert client.closed


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ((), True),
        ((("EtcdUsername", "u"),), False),
        ((("ChainInsertMode", "sideways"),), True),
        ((("DatastoreType", "kubernetes"),), False),
    ],
)
def test_which_mistakes_make_it_uncertain_what_to_read(
    settings: tuple[tuple[str, str], ...], named: bool
) -> None:
    assert is_named(etcd(*settings)) is named
