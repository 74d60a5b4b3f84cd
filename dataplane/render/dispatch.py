"""From an interface to its endpoint's chains: interface names in, trees of gotos out.

    root      -i cali1+ -g root-1        several names that go on with the same character
              -i cali2  -g chain of it   the only name that does
              end rules
    root-1    -i cali1a -g chain of it
              end rules                  again, because a goto does not come back

One level only.  The children come before the root.  Workload dispatch ends in the deny action: an
interface with our prefix that has no endpoint is closed.  That to limits ends in a limit that
such interfaces share.  Host dispatch ends in the wildcard
endpoint, or falls back to its caller. Source: projectcalico/calico felix/rules/dispatch.go;
section 1.10 of the rules reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from calc_graph.interfaces import safe_interface
from dataplane.chains import Chain
from dataplane.render import names, text
from dataplane.render.actions import deny_action
from dataplane.render.errors import RenderError
from dataplane.settings import RenderSettings


def workload_dispatch(interfaces: Iterable[str], settings: RenderSettings) -> tuple[Chain, ...]:
    """Filter: the chains from and to workloads.  Raises RenderError for a name that is no
    interface's.
    """
    deny = text.verdict(deny_action(settings, "filter"))
    end = (f"{text.comment('Unknown interface')} {deny}",)
    ordered = _checked(interfaces)
    return (
        *_from(names.FROM_WORKLOAD_DISPATCH, ordered, names.from_workload, end),
        *_to(names.TO_WORKLOAD_DISPATCH, ordered, names.to_workload, end),
    )


def limit_dispatch(interfaces: Iterable[str]) -> tuple[Chain, ...]:
    """Filter: the chains to each workload's limit of what it may always ask its host.  Raises as
    `workload_dispatch`.

    Interfaces with our prefix that have no endpoint share one limit.
    """
    end = (text.goto(names.workload_limit(names.ANY_INTERFACE)),)
    ordered = _checked(interfaces)
    return _from(names.WORKLOAD_LIMIT_DISPATCH, ordered, names.workload_limit, end)


def host_filter_dispatch(interfaces: Iterable[str], *, wildcard: bool = False) -> tuple[Chain, ...]:
    """Filter: from and to the host, from and to what it forwards; raises as `workload_dispatch`."""
    ordered = _checked(interfaces)
    return (
        *_from(names.FROM_HOST_DISPATCH, ordered, names.from_host, _any(names.from_host, wildcard)),
        *_to(names.TO_HOST_DISPATCH, ordered, names.to_host, _any(names.to_host, wildcard)),
        *_from(
            names.FROM_HOST_FORWARD_DISPATCH,
            ordered,
            names.from_host_forward,
            _any(names.from_host_forward, wildcard),
        ),
        *_to(
            names.TO_HOST_FORWARD_DISPATCH,
            ordered,
            names.to_host_forward,
            _any(names.to_host_forward, wildcard),
        ),
    )


def host_mangle_dispatch(
    pre_dnat: Iterable[str],
    egress: Iterable[str],
    settings: RenderSettings,
    *,
    pre_dnat_wildcard: bool = False,
    egress_wildcard: bool = False,
) -> tuple[Chain, ...]:
    """Mangle: from the interfaces with pre-DNAT policy, to all interfaces with an endpoint.
    Raises as `workload_dispatch`.

    In filter, OUTPUT has let traffic to local workloads go before; here the wildcard endpoint has
    to.
    """
    to_any = _any(names.to_host, egress_wildcard)
    skip = text.comment("Skip egress WHEP policy for traffic to local workload")
    to_workloads = [
        text.body(skip, text.out_interface(f"{prefix}+"), text.RETURN)
        for prefix in settings.interface_prefixes
    ]
    return (
        *_from(
            names.FROM_HOST_DISPATCH,
            _checked(pre_dnat),
            names.from_host,
            _any(names.from_host, pre_dnat_wildcard),
        ),
        *_to(
            names.TO_HOST_DISPATCH,
            _checked(egress),
            names.to_host,
            (*to_workloads, *to_any) if to_any else (),
        ),
    )


def host_raw_dispatch(interfaces: Iterable[str]) -> tuple[Chain, ...]:
    """Raw: the interfaces with untracked policy; there is no wildcard here.  Raises as
    `workload_dispatch`.
    """
    ordered = _checked(interfaces)
    return (
        *_from(names.FROM_HOST_DISPATCH, ordered, names.from_host, ()),
        *_to(names.TO_HOST_DISPATCH, ordered, names.to_host, ()),
    )


def _any(chain_of: Callable[[str], str], wildcard: bool) -> tuple[str, ...]:
    return (text.goto(chain_of(names.ANY_INTERFACE)),) if wildcard else ()


def _from(
    root: str, interfaces: list[str], chain_of: Callable[[str], str], end: tuple[str, ...]
) -> tuple[Chain, ...]:
    return _tree(root, interfaces, text.in_interface, chain_of, end)


def _to(
    root: str, interfaces: list[str], chain_of: Callable[[str], str], end: tuple[str, ...]
) -> tuple[Chain, ...]:
    return _tree(root, interfaces, text.out_interface, chain_of, end)


def _tree(
    root: str,
    interfaces: list[str],
    match: Callable[[str], str],
    chain_of: Callable[[str], str],
    end: tuple[str, ...],
) -> tuple[Chain, ...]:
    """`interfaces` are sorted and distinct."""
    prefix = _common_prefix(interfaces)
    bins: dict[str, list[str]] = {}
    for interface in interfaces:
        bins.setdefault(interface[len(prefix) : len(prefix) + 1], []).append(interface)

    def gotos(members: list[str]) -> list[str]:
        return [f"{match(name)} {text.goto(chain_of(name))}" for name in members]

    chains: list[Chain] = []
    bodies: list[str] = []
    for character, members in bins.items():
        if len(members) == 1:
            bodies += gotos(members)
            continue
        child = f"{root}-{character}"
        bodies.append(f"{match(f'{prefix}{character}+')} {text.goto(child)}")
        chains.append(Chain(child, (*gotos(members), *end)))
    return *chains, Chain(root, (*bodies, *end))


def _common_prefix(ordered: list[str]) -> str:
    """Of sorted names the first and the last have the least in common."""
    if not ordered:
        return ""
    first, last = ordered[0], ordered[-1]
    differing = (i for i, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1)
    return first[: next(differing, len(first))]


def _checked(interfaces: Iterable[str]) -> list[str]:
    """Sorted and distinct."""
    ordered = sorted(set(interfaces))
    for name in ordered:
        if not safe_interface(name):
            raise RenderError(name, "not the name of an interface")
    return ordered
