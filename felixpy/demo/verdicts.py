"""Who decided about a connection: the policy or profile whose rule has counted its packets.

Counters are read before and after one attempt.  On the way from source to target a packet passes
the source's egress and the target's ingress; the last decision is the one that counts.
"""

from __future__ import annotations

import re

_RULE = re.compile(r"\[(\d+):\d+\] -A (cali-\S+) (.*)")
_ID = re.compile(r"cali:([A-Za-z0-9_-]{16})")
_COMMENT = re.compile(r'--comment "([^"]*)"')
_OWNERS = {
    "cali-pi-": "policy",
    "cali-po-": "policy",
    "cali-pri-": "profile",
    "cali-pro-": "profile",
}


def counts(saved: str) -> dict[str, int]:
    """Packets by rule, of what iptables-save --counters prints."""
    found = {}
    for line in saved.splitlines():
        match = _RULE.fullmatch(line)
        if match:
            found[f"{match[2]} {match[3]}"] = int(match[1])
    return found


def decider(before: dict[str, int], after: dict[str, int]) -> str:
    """In words: "policy np/default/database", "profile open", "end of tier default"."""
    verdict = "nobody"
    for rule in sorted(
        (rule for rule, packets in after.items() if packets > before.get(rule, 0)), key=_stage
    ):
        verdict = _words(rule) or verdict
    return verdict


def _stage(rule: str) -> int:
    """Egress of the source first, then ingress of the target, as a packet meets them."""
    chain = rule.split()[0]
    egress = chain.startswith(("cali-po-", "cali-pro-", "cali-fw-"))
    return 0 if egress else 1


def _words(rule: str) -> str:
    chain, _, rest = rule.partition(" ")
    for prefix, kind in _OWNERS.items():
        if chain.startswith(prefix) and ("--set-xmark 0x10000/" in rest or "-j DROP" in rest):
            return f"{kind} {chain.removeprefix(prefix)}"
    if chain.startswith(("cali-tw-", "cali-fw-")) and "-j DROP" in rest:
        comments = [text for text in _COMMENT.findall(rest) if not _ID.fullmatch(text)]
        return comments[0].partition(".")[0].lower() if comments else "a rule without a name"
    return ""
