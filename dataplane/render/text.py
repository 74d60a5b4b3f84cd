"""The spelling of single matches and actions: values in, fragments of a rule body out.

The spelling is Felix's own, long options and all, because it enters the id of a rule; what
iptables-save prints looks different.  Note the two zeros: clearing is written "0/BITS", a masked
value of zero "0x0/BITS". Source: projectcalico/calico felix/iptables/match_builder.go and
actions.go; tests/vectors/fragments.json.
"""

from __future__ import annotations

import re

ACCEPT = "--jump ACCEPT"
DROP = "--jump DROP"
RETURN = "--jump RETURN"
NOTRACK = "--jump NOTRACK"

ESTABLISHED = "-m conntrack --ctstate RELATED,ESTABLISHED"
INVALID = "-m conntrack --ctstate INVALID"
DNATED = "-m conntrack --ctstate DNAT"
NOT_DNATED = "-m conntrack ! --ctstate DNAT"
REVERSE_PATH_FAILED = "-m rpfilter --invert --validmark"
TO_LOCAL = "-m addrtype --dst-type LOCAL"
FROM_LOCAL = "-m addrtype --src-type LOCAL"
NOT_FROM_OUT_INTERFACE = "-m addrtype ! --src-type LOCAL --limit-iface-out"

_COMMENT_LIMIT = 256  # bytes, of the kernel's comment match
_UNSAFE_IN_COMMENT = re.compile(r"[^A-Za-z0-9_ @%+=:,./-]")
_LOG_PREFIX_END = ": "
LOG_PREFIX_ROOM = 29 - len(_LOG_PREFIX_END)  # bytes, of the kernel's LOG target
_UNSAFE_IN_QUOTES = re.compile(r"[^ !#-\[\]-~]")  # not printable, or quote or backslash


def body(*parts: str) -> str:
    """A rule body: the non-empty parts, in order."""
    return " ".join([part for part in parts if part])


def comment(text: str) -> str:
    """A comment that cannot leave its quotes, cut to what the kernel stores."""
    return f'-m comment --comment "{_UNSAFE_IN_COMMENT.sub("_", text)[:_COMMENT_LIMIT]}"'


# ---------------------------------------------------------------- matches


def mark_set(bit: int) -> str:
    return f"-m mark --mark {bit:#x}/{bit:#x}"


def mark_not_set(bit: int) -> str:
    return f"-m mark ! --mark {bit:#x}/{bit:#x}"


def mark_clear(bits: int) -> str:
    return f"-m mark --mark 0/{bits:#x}"


def mark_not_clear(bits: int) -> str:
    """At least one of the bits is set."""
    return f"-m mark ! --mark 0/{bits:#x}"


def connection_mark_set(bit: int) -> str:
    return f"-m connmark --mark {bit:#x}/{bit:#x}"


def protocol(protocol: int | str) -> str:
    return f"-p {protocol}"


def in_interface(name: str) -> str:
    return f"--in-interface {name}"


def out_interface(name: str) -> str:
    return f"--out-interface {name}"


def source(net: str) -> str:
    return f"--source {net}"


def destination(net: str) -> str:
    return f"--destination {net}"


def source_ports(ports: str) -> str:
    """`ports` is a comma list of at most 15 slots: a port takes one, a range "first:last" two."""
    return f"-m multiport --source-ports {ports}"


def destination_ports(ports: str) -> str:
    """As `source_ports`."""
    return f"-m multiport --destination-ports {ports}"


def in_set(name: str, dimensions: str) -> str:
    """`dimensions` are the set's: "src", "dst", "src,src" or "dst,dst"."""
    return f"-m set --match-set {name} {dimensions}"


def not_in_set(name: str, dimensions: str) -> str:
    return f"-m set ! --match-set {name} {dimensions}"


def limit(rate: str, burst: int) -> str:
    """`rate` is "10/second"; a burst of 0 leaves it to the kernel's default."""
    return f"-m limit --limit {rate} --limit-burst {burst}" if burst else f"-m limit --limit {rate}"


def new_connections_above(count: int) -> str:
    """TCP SYN packets while there are more than `count` connections."""
    return (
        "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"
        f" -m connlimit --connlimit-above {count} --connlimit-mask 0"
    )


# ---------------------------------------------------------------- actions

REJECT_WITH_RESET = "-j REJECT --reject-with tcp-reset"  # the only place with a short option


def verdict(action: str) -> str:
    """A configured action: ACCEPT, RETURN, DROP or REJECT."""
    return f"--jump {action}"


def jump(chain: str) -> str:
    return f"--jump {chain}"


def goto(chain: str) -> str:
    return f"--goto {chain}"


def set_mark(bits: int) -> str:
    return f"--jump MARK --set-mark {bits:#x}/{bits:#x}"


def clear_mark(bits: int) -> str:
    return f"--jump MARK --set-mark 0/{bits:#x}"


def set_masked_mark(value: int, mask: int) -> str:
    return f"--jump MARK --set-mark {value:#x}/{mask:#x}"


def set_connection_mark(bits: int) -> str:
    return f"--jump CONNMARK --set-mark {bits:#x}/{bits:#x}"


def log(prefix: str) -> str:
    """The prefix is shortened so that the separator at its end stays within what the kernel keeps
    (D15).
    """
    kept = _UNSAFE_IN_QUOTES.sub("_", prefix)[:LOG_PREFIX_ROOM]
    return f'--jump LOG --log-prefix "{kept}{_LOG_PREFIX_END}" --log-level 5'


def masquerade(*, random_fully: bool, ports: tuple[int, int] | None = None) -> str:
    to_ports = f"--to-ports {ports[0]}-{ports[1]}" if ports else ""
    return body("--jump MASQUERADE", to_ports, _random(random_fully))


def snat(address: str, *, random_fully: bool) -> str:
    """`address` may carry a port range: "192.0.2.1:99-100"."""
    return body(f"--jump SNAT --to-source {address}", _random(random_fully))


def dnat(address: str) -> str:
    """`address` may carry a port: "10.0.0.1:80"."""
    return f"--jump DNAT --to-destination {address}"


def set_dscp(value: int) -> str:
    return f"--jump DSCP --set-dscp {value}"


def _random(random_fully: bool) -> str:
    return "--random-fully" if random_fully else ""
