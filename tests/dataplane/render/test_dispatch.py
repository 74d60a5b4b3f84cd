"""Dispatch trees against the vectors."""

from __future__ import annotations

import pytest

from dataplane.chains import Chain
from dataplane.render.dispatch import (
    host_filter_dispatch,
    host_mangle_dispatch,
    host_raw_dispatch,
    workload_dispatch,
)
from dataplane.render.errors import RenderError
from dataplane.settings import RenderSettings
from tests.dataplane.render.vectors import Case, cases, numbered, params

_ALL = cases("dispatch")
_LEFT_OUT = [case for case in _ALL if case["what"] == "endpoint marks (IPVS)"]
_BUILT = [case for case in _ALL if case not in _LEFT_OUT]


def test_every_case_is_covered() -> None:
    """Left out: endpoint marks, which only IPVS needs; it is not built."""
    assert (len(_ALL), len(_LEFT_OUT), len(_BUILT)) == (27, 1, 26)


@pytest.mark.parametrize("case", params(_BUILT, "what", "interfaces", "wildcard"))
def test_same_trees(case: Case) -> None:
    assert [{"chain": chain.name, "rules": numbered(chain)} for chain in render(case)] == case[
        "chains"
    ]


def render(case: Case) -> tuple[Chain, ...]:
    interfaces, wildcard = case["interfaces"], case.get("wildcard", False)
    mangle = host_mangle_dispatch(
        interfaces,
        interfaces,
        RenderSettings(),
        pre_dnat_wildcard=wildcard,
        egress_wildcard=wildcard,
    )
    match case["what"]:
        case "workload":
            return workload_dispatch(interfaces, RenderSettings())
        case "host filter, all four":
            return host_filter_dispatch(interfaces, wildcard=wildcard)
        case "host, mangle or raw: to+from without forward":
            assert wildcard or host_raw_dispatch(interfaces) == mangle
            return mangle
        case "host, to only":
            return tuple(chain for chain in mangle if "-to-" in chain.name)
        case "host, from only":
            return tuple(chain for chain in mangle if "-from-" in chain.name)
    raise AssertionError(case["what"])


def test_workloads_of_every_prefix_are_skipped_by_the_wildcard_in_mangle() -> None:
    settings = RenderSettings(interface_prefixes=("cali", "tap"))
    _, to = host_mangle_dispatch((), (), settings, egress_wildcard=True)
    skip = '-m comment --comment "Skip egress WHEP policy for traffic to local workload"'
    assert to.rules == (
        f"{skip} --out-interface cali+ --jump RETURN",
        f"{skip} --out-interface tap+ --jump RETURN",
        "--goto cali-th-any-interface-at-all",
    )


def test_the_deny_action_closes_unknown_interfaces() -> None:
    for chain in workload_dispatch((), RenderSettings(filter_deny_action="REJECT")):
        assert chain.rules == ('-m comment --comment "Unknown interface" --jump REJECT',)


@pytest.mark.parametrize("name", ["", "cali+", "a b", "x" * 16, "cali1\n-A INPUT"])
def test_a_name_that_is_no_interface_s_is_refused(name: str) -> None:
    for render_one in (
        lambda: workload_dispatch([name], RenderSettings()),
        lambda: host_filter_dispatch([name]),
        lambda: host_raw_dispatch([name]),
        lambda: host_mangle_dispatch([name], [], RenderSettings()),
        lambda: host_mangle_dispatch([], [name], RenderSettings()),
    ):
        with pytest.raises(RenderError, match="not the name of an interface"):
            render_one()
