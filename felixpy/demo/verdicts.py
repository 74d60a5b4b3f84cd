"""Who decided about a connection: the policy, profile or tier whose rule has counted its packets.

Counters are read before and after one attempt.  On the way from source to target a packet passes
the source's egress and the target's ingress; the last decision is the one that counts.
"""

from __future__ import annotations

import re

_RULE = re.compile(r"\[(\d+):\d+\] -A (cali-\S+) (.*)")
_ID = re.compile(r"cali:[A-Za-z0-9_-]{16}")
_COMMENT = re.compile(r'--comment "?([^"]*?)"?(?= -|$)')
_OF_POLICIES = ("cali-pi-", "cali-po-")
_OF_PROFILES = ("cali-pri-", "cali-pro-")
_OF_ENDPOINTS = ("cali-tw-", "cali-fw-")
_OF_SOURCES = ("cali-po-", "cali-pro-", "cali-fw-")
# the accept and the drop bit of the default mark mask; that of passing on decides nothing
_DECIDED = re.compile(r"--set-xmark 0x(1|4)0000/")


def counts(saved: str) -> dict[str, int]:
    """Packets by rule, of what iptables-save --counters prints."""
    found = {}
    for line in saved.splitlines():
        match = _RULE.fullmatch(line)
        if match:
            found[f"{match[2]} {match[3]}"] = int(match[1])
    return found


def decider(before: dict[str, int], after: dict[str, int]) -> str:
    """In words, such as "NetworkPolicy default/database", "Profile open", "end of tier default"."""
    counted = [rule for rule, packets in after.items() if packets > before.get(rule, 0)]
    # as a packet meets them; the sort keeps the order of rules within a chain
    decisions = [_words(rule) for rule in sorted(counted, key=_is_of_target)]
    return next((words for words in reversed(decisions) if words), "nobody")


def _is_of_target(rule: str) -> bool:
    return not rule.startswith(_OF_SOURCES)


def _words(rule: str) -> str:
    """Who this rule speaks for, or "" where it decides nothing."""
    comment = next((text for text in _COMMENT.findall(rule) if not _ID.fullmatch(text)), "")
    if rule.startswith(_OF_ENDPOINTS) and rule.endswith("-j DROP"):
        return comment.partition(".")[0].lower()
    if rule.startswith((*_OF_POLICIES, *_OF_PROFILES)) and _DECIDED.search(rule):
        return comment.removesuffix(" ingress").removesuffix(" egress")
    return ""
