"""A small interpreter of rendered policy chains: bodies and a packet in, verdict out.

It knows the matches and targets that policy chains use and stops at anything else.
"""

from __future__ import annotations

import shlex
from ipaddress import ip_address, ip_network
from typing import NamedTuple

_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132, "udplite": 136}


class Packet(NamedTuple):
    """`sets` are pairs of an IP set and the dimensions in which the packet is a member of it."""

    protocol: int
    source: str
    destination: str
    source_port: int = 0
    destination_port: int = 0
    icmp: tuple[int, int] = (0, 0)
    sets: frozenset[tuple[str, str]] = frozenset()


def number(protocol: int | str) -> int:
    return int(_NUMBERS.get(str(protocol), protocol))


def run(bodies: tuple[str, ...], packet: Packet, mark: int) -> tuple[str, int]:
    """The target that ended the chain ("" if none did) and the packet's mark."""
    for body in bodies:
        words = [word for word in shlex.split(body)[::-1] if word != "-m"]
        if not _matches(words, packet, mark) or not words:
            continue
        target = words.pop()
        match target:
            case "MARK":
                assert words.pop() == "--set-mark"
                value, mask = (int(part, 16) for part in words.pop().split("/"))
                mark = (mark & ~mask) ^ value
            case "LOG":
                continue
            case _:
                assert not words
                return target, mark
        assert not words
    return "", mark


def _matches(words: list[str], packet: Packet, mark: int) -> bool:
    """Takes words from the end of the reversed list, up to and with "--jump"."""
    matched = True
    negated = False
    while words:
        word = words.pop()
        match word:
            case "--jump":
                return matched
            case "!":
                negated = True
                continue
            case "comment" | "set" | "multiport" | "mark" | "icmp" | "icmp6" | "limit":
                continue
            case "--comment":
                words.pop()
                continue
        matched &= _holds(word, words, packet, mark) != negated
        negated = False
    return matched


def _holds(option: str, words: list[str], packet: Packet, mark: int) -> bool:
    value = words.pop()
    match option:
        case "-p":
            return packet.protocol == number(value)
        case "--source":
            return ip_address(packet.source) in ip_network(value)
        case "--destination":
            return ip_address(packet.destination) in ip_network(value)
        case "--match-set":
            return (value, words.pop()) in packet.sets
        case "--source-ports":
            return _in_ports(packet.source_port, value)
        case "--destination-ports":
            return _in_ports(packet.destination_port, value)
        case "--mark":
            wanted, mask = (int(part, 16) for part in value.split("/"))
            return mark & mask == wanted
        case "--icmp-type" | "--icmpv6-type":
            kind, _, code = value.partition("/")
            return packet.icmp[0] == int(kind) and (not code or packet.icmp[1] == int(code))
    raise AssertionError(f"unknown option {option}")


def _in_ports(port: int, ports: str) -> bool:
    groups = [group.split(":") for group in ports.split(",")]
    assert sum(map(len, groups)) <= 15, "more slots than a multiport match has"
    return any(int(group[0]) <= port <= int(group[-1]) for group in groups)
