"""Access to tests/vectors: cases that Calico's own code has answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataplane.chains import Chain, rule_ids
from dataplane.settings import FailsafePort, RenderSettings

_DIRECTORY = Path(__file__).parents[2] / "vectors"

Case = dict[str, Any]


def cases(name: str) -> list[Case]:
    found: list[Case] = json.loads((_DIRECTORY / f"{name}.json").read_text())["cases"]
    return found


def params(found: list[Case], *keys: str) -> list[Any]:
    """Each case as a pytest parameter, named by the values of the keys."""
    return [
        pytest.param(case, id=" ".join(str(case[key]) for key in keys if key in case))
        for case in found
    ]


def numbered(chain: Chain) -> list[dict[str, str]]:
    """A chain in the form of the vectors: id and hashed text of each rule."""
    ids = rule_ids(chain.name, chain.rules)
    return [
        {"id": id_, "text": " ".join(filter(None, (f"-A {chain.name} HASH", body)))}
        for id_, body in zip(ids, chain.rules, strict=True)
    ]


def written(chain: Chain) -> list[str]:
    """A chain as it is written to iptables-restore."""
    ids = rule_ids(chain.name, chain.rules)
    return [
        f'-A {chain.name} -m comment --comment "cali:{id_}" {body}'
        for id_, body in zip(ids, chain.rules, strict=True)
    ]


def _ports(protocol: Any, *ports: int) -> tuple[FailsafePort, ...]:
    return tuple(FailsafePort(protocol, port) for port in ports)


_TCP_BOTH = (179, 2379, 2380, 5473, 6443, 6666, 6667)

# Felix's own default, which the vectors were made with.
FAILSAFE = RenderSettings(
    failsafe_inbound=_ports("tcp", 22) + _ports("udp", 68) + _ports("tcp", *_TCP_BOTH),
    failsafe_outbound=_ports("udp", 53, 67) + _ports("tcp", *_TCP_BOTH),
)
