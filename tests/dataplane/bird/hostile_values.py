"""Whatever might be written into resources: ends of strings, of blocks and of files among them."""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec import structs

from calc_graph.bgp.resources import (
    AddCommunity,
    BgpFilter,
    FilterRule,
    PrefixCommunities,
    PrependPath,
    SecretRef,
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
from tests.dataplane.bird.golden_cases import N2, Case, mesh, tor, workload

_NASTY = st.sampled_from(
    [
        "",
        '"; } protocol bgp evil { }',
        "'; accept; #",
        "10.0.0.1; import all;",
        "10.0.0.0/8+ ]; define X = [ 0.0.0.0/0",
        "1:2)); accept; #",
        "a\nprotocol static { }",
        "\0",
        "*/ /*",
        "x" * 5000,
        "\u202e\u00e9\ud7ff",
        "session",
        "Mesh_1 from x {",
        "eth*",
        "n2",
        "10.0.0.2",
        "fd00::2",
        "10.65.2.0/26",
        "1:2",
    ]
) | st.text(max_size=12)


@st.composite
def hostile_values(draw) -> Case:
    """A case in which each text may be anything, and each number too."""

    def text() -> str:
        return draw(_NASTY)

    rule = FilterRule(
        draw(st.booleans()),
        net=text(),
        operator="in",
        lengths=draw(st.none() | st.tuples(st.integers(-9, 300), st.integers(-9, 300))),
        interface=text(),
        community=text(),
        path_prefix=(draw(st.integers(-5, 2**33)),),
        priority=draw(st.integers(-5, 2**33)),
        operations=(AddCommunity(text()), PrependPath((draw(st.integers(-5, 2**33)),))),
    )
    name, secret = text(), SecretRef(text(), text())
    updates: list[BgpUpdate] = [
        BgpSpeaker(
            text(),
            address_v4="10.0.0.1",
            address_v6=draw(st.sampled_from(["fd00::1", "x"])),
            cluster_id=text(),
            ignored_interfaces=(text(),),
            pools=(BgpPool(text()), BgpPool("10.65.0.0/16")),
            service_cidrs=(text(),),
            advertised_cidrs=(text(),),
            communities=(PrefixCommunities(text(), (text(),)),),
        ),
        BgpOrigins("n2", text(), text(), (text(),), (text(),)),
        BgpFilterUpdate(name, BgpFilter((rule,), (rule,), (rule,), (rule,))),
        *(
            structs.replace(
                session,
                resource=text(),
                remote=text(),
                local_address=draw(st.sampled_from(["", "10.0.0.1"]) | _NASTY),
                filters=(name,),
                password=draw(st.sampled_from([None, secret])),
                reachable_by=text(),
            )
            for session in (mesh(N2), tor(), tor("fd00::9"), workload("10.65.1.7"))
        ),
        BgpSession(text(), 4, "mesh", "node", text(), 64512, 64512),
    ]
    password = draw(st.none() | _NASTY.map(Password))
    return Case(tuple(updates), credentials={secret: Credential(password, text())})
