"""Which names, labels and other short texts are well formed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from functools import lru_cache

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_QUALIFIED = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"

_NAME = re.compile(_SUBDOMAIN)
_DNS_LABEL = re.compile(_LABEL)
_NETWORK_POLICY = re.compile(
    rf"{_LABEL}(?:\.{_LABEL})?|(?:knp|ossg)\.default\.{_SUBDOMAIN}",
)
_GLOBAL_NETWORK_POLICY = re.compile(rf"(?:{_LABEL}\.)?{_LABEL}")
_QUALIFIED_NAME = re.compile(_QUALIFIED)
_LABEL_VALUE = re.compile(rf"(?:{_QUALIFIED})?")
_CONTAINER_ID = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?")
_INTERFACE = re.compile(r"\*|[a-zA-Z0-9_.-]{1,15}")
_INTERFACE_PATTERN = re.compile(r"[a-zA-Z0-9_.*-]{1,15}")
_INTERFACE_FILTER = re.compile(r"[a-zA-Z0-9:._+-]{1,15}")
_PORT_NAME = re.compile(r"[a-z0-9-]{1,15}")
_PROFILE = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_STORED = re.compile(r"[a-zA-Z0-9_.-]{1,253}")
_KEY_VALUE = re.compile(r"\s*\w+=.*", re.DOTALL)
_PEER = re.compile(r"([0-9.]+|\[[0-9a-fA-F:.]+\]):([0-9]+)")

# Names of nodes, labels, profiles and ports come back in resource after resource.
_remembered = lru_cache(maxsize=8192)

MAX_NAME = 253
MAX_LABEL = 63
MAX_ANNOTATIONS_BYTES = 256 * 1024


@_remembered
def is_name(text: str) -> bool:
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


def is_dns_label(text: str) -> bool:
    return len(text) <= MAX_LABEL and _DNS_LABEL.fullmatch(text) is not None


def is_network_policy_name(text: str) -> bool:
    return len(text) <= MAX_NAME and _NETWORK_POLICY.fullmatch(text) is not None


def is_global_network_policy_name(text: str) -> bool:
    return len(text) <= MAX_NAME and _GLOBAL_NETWORK_POLICY.fullmatch(text) is not None


@_remembered
def is_qualified_name(text: str) -> bool:
    """A label's key: a name, or a DNS name, a slash and a name."""
    prefix, slash, name = text.rpartition("/")
    if slash and not is_name(prefix):
        return False
    return len(name) <= MAX_LABEL and _QUALIFIED_NAME.fullmatch(name) is not None


@_remembered
def is_label_value(text: str) -> bool:
    return len(text) <= MAX_LABEL and _LABEL_VALUE.fullmatch(text) is not None


def are_labels(labels: Mapping[str, str]) -> bool:
    return all(is_qualified_name(key) and is_label_value(labels[key]) for key in labels)


def is_container_id(text: str) -> bool:
    return _CONTAINER_ID.fullmatch(text) is not None


def is_interface(text: str) -> bool:
    return _INTERFACE.fullmatch(text) is not None


def is_interface_pattern(text: str) -> bool:
    return _INTERFACE_PATTERN.fullmatch(text) is not None


def is_ignored_interface(text: str) -> bool:
    return text != "*" and is_interface_pattern(text)


def is_interface_filter(text: str) -> bool:
    return _INTERFACE_FILTER.fullmatch(text) is not None


@_remembered
def is_port_name(text: str) -> bool:
    """As Kubernetes has it: at least one letter, no dash at an end, no two dashes together."""
    return (
        _PORT_NAME.fullmatch(text) is not None
        and any(character.isalpha() for character in text)
        and "--" not in text
        and not text.startswith("-")
        and not text.endswith("-")
    )


def is_profile_name(text: str) -> bool:
    """What the internal model accepts of a profile; wider than `is_name`."""
    return _PROFILE.fullmatch(text) is not None


def is_stored_name(text: str) -> bool:
    """Wider than any client writes, but nothing that could break out of a name or a comment."""
    return _STORED.fullmatch(text) is not None


def is_key_value_list(text: str) -> bool:
    if not text.strip():
        return True
    return all(not item or _KEY_VALUE.fullmatch(item) for item in text.split(","))


def is_regexp(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful pattern is still a pattern
            re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def split_peer(text: str) -> tuple[str, int] | None:
    """From "10.0.0.1:179" or "[fd00::1]:179" to address and port, 0 where none is given."""
    match = _PEER.fullmatch(text)
    if not match:
        return text, 0
    port = int(match[2]) if len(match[2]) <= 5 else 0
    return (match[1].strip("[]"), port) if 1 <= port <= 65535 else None


def is_encodable(text: str) -> bool:
    """No half of a surrogate pair: such a text cannot be written to anything."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
