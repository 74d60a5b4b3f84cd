"""What stands in the way of IPsec on this node, found before it is switched on, or at any time.

    keys       what the configuration names, read as the agent reads it
    kernel     ESP with each of their algorithms, tried and taken away again
    machine    interface, settings, marks, others who use IPsec       machine.py
    way        to each other node: does anybody refuse ESP?           esp_probe.py

A verdict each, and what to do.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import structs

from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.ipsec.kernel import Xfrm, open_xfrm
from dataplane.ipsec.keys import Algorithm, Key, KeyRing
from felixpy.bgp.secrets_place import secrets_place, unit_credentials
from felixpy.config import Config
from felixpy.ipsec import machine
from felixpy.ipsec.algorithms import GCM
from felixpy.ipsec.esp_probe import Target, probe_all
from felixpy.ipsec.feeds import feed_of, parse_reading
from felixpy.ipsec.keyfile import KeyFile, KeyFileError
from felixpy.wireguard.facts import NodeEnd
from felixpy.wireguard.finding import Finding

_FAMILIES: Final[tuple[Family, ...]] = (4, 6)
_GUIDES: Final = Algorithm(aead=GCM, icv_bits=128)  # where there is no key yet
_GUIDES_BYTES: Final = 20


async def examine(
    config: Config, environ: Mapping[str, str], others: Iterable[NodeEnd]
) -> list[Finding]:
    """Everything, for a person who waits.

    Raises DataplaneError where the kernel cannot be asked; PermissionError: only root may.
    """
    families = _FAMILIES if config.ipv6_support else _FAMILIES[:1]
    keys, ring = check_keys(config, environ)
    kernel = open_xfrm(config.ipsec_req_id)
    try:
        found = [keys, *await check_kernel(kernel, ring, families)]
        algorithms = [key.algorithm for key in ring.values()] or [_GUIDES]
        found += await machine.check_interface(config.ipsec_interface, algorithms, families)
        found.append(machine.check_sysctls(config.interface_prefix))
        found += await machine.check_marks(config.iptables_mark_mask)
        found += await machine.check_others(kernel, config.ipsec_req_id)
    finally:
        kernel.close()
    return [*found, *await check_way(list(others), families)]


def check_keys(config: Config, environ: Mapping[str, str]) -> tuple[Finding, KeyRing]:
    place = secrets_place(config, environ)
    place = structs.replace(place, credentials=unit_credentials(environ))
    feed = feed_of(config.ipsec_key_file, config.ipsec_key_secret, place, lambda: None)
    if feed is None:
        advice = "name a file in IPsecKeyFile; `felixpy ipsec key new` makes a key for it"
        return Finding("keys", "warn", "the configuration names none", advice=advice), KeyRing()
    reading = feed.read()
    try:
        content = parse_reading(reading, feed.name)
    except KeyFileError as error:
        advice = "the agent keeps the last good keys, if it has any"
        return Finding("keys", "fail", str(error), advice=advice), KeyRing()
    notes = [*content.notes, *filter(None, (reading.note, reading.problem))]
    return _keys(feed.name, content, notes, config.ipsec_state_layout), content.ring


def _keys(name: str, content: KeyFile, notes: list[str], layout: str) -> Finding:
    if content.asks_pair and layout != "pair":
        notes.append(f"a + behind an ID asks for IPsecStateLayout = pair, and it is {layout}")
    ids = ", ".join(map(str, content.ring))
    if notes:
        return Finding("keys", "warn", f"{name}: {'; '.join(notes)}", advice="see what is meant")
    return Finding("keys", "ok", f"{name}: {ids}, the newest first")


async def check_kernel(kernel: Xfrm, ring: KeyRing, families: Iterable[Family]) -> list[Finding]:
    keys = list(ring.values()) or [Key(1, _GUIDES, bytearray(secrets.token_bytes(_GUIDES_BYTES)))]
    found = []
    for family in families:
        for algorithm, key in {str(key.algorithm): key for key in keys}.items():
            found.append(await _trial(kernel, key, family, algorithm))
    return found


async def _trial(kernel: Xfrm, key: Key, family: Family, algorithm: str) -> Finding:
    esp = f"ESP with {algorithm}"
    try:
        reason = await kernel.trial(key, family)
    except DataplaneError as error:
        text = f"{esp} could not be tried: {error}"
        return Finding("kernel", "warn", text, family, "ask again; the agent does so too")
    advice = "another kernel, or another algorithm; until then nothing leaves in clear"
    return Finding("kernel", "fail" if reason else "ok", reason or esp, family, advice)


async def check_way(others: list[NodeEnd], families: Iterable[Family]) -> list[Finding]:
    """Raises PermissionError."""
    found = []
    for family in families:
        targets = [
            Target(node.node, family, node.address(family))
            for node in others
            if node.address(family)
        ]
        refused = {node: text for node, text in (await probe_all(targets)).items() if text}
        for target in targets:
            if text := refused.get(target.node):
                where = f"{target.node} ({target.address})"
                advice = "let protocol 50 (ESP) through, there and on the way"
                found.append(Finding("way", "warn", f"to {where}: {text}", family, advice))
        if targets and not refused:
            text = f"nobody refuses ESP to {len(targets)} nodes; who drops it says nothing"
            found.append(Finding("way", "ok", text, family))
    return found
