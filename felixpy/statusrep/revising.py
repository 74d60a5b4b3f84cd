"""The status of a resource rewritten, all else to the byte, the unknown fields too.

in   a resource as JSON
out  the same with another status, or with other texts and conditions in it
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from felixpy.statusrep.conditions import Condition, with_conditions
from felixpy.statusrep.store import StatusUnwritableError

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CONDITIONS = "conditions"


class NoResourceError(StatusUnwritableError):
    """What is stored is no resource, or has no status that we could write to."""


def with_status(resource: bytes, status: bytes) -> bytes:
    """Raises NoResourceError."""
    return msgspec.json.encode({**_fields(resource), "status": msgspec.Raw(status)})


def revised(
    resource: bytes,
    texts: Mapping[str, str],
    conditions: Mapping[str, Condition | None],
    moment: str,
) -> bytes:
    """With these fields and conditions in its status, as `StatusStore.revise_status` has them.

    `moment` (RFC 3339) is now.  The very same bytes where nothing changes.  Raises NoResourceError.
    """
    fields = _fields(resource)
    old = bytes(fields.get("status", b""))
    status = {} if old in (b"", b"null") else _fields(old)
    try:
        after = _revised(status, texts, conditions, moment)
    except UnicodeDecodeError as error:  # inside of what was left as it is until now
        raise NoResourceError(f"what is stored there is no resource: {error}") from None
    if after == status:
        return resource
    return msgspec.json.encode({**fields, "status": after})


def _revised(
    status: dict[str, msgspec.Raw],
    texts: Mapping[str, str],
    conditions: Mapping[str, Condition | None],
    moment: str,
) -> dict[str, msgspec.Raw]:
    after = status | {
        name: msgspec.Raw(msgspec.json.encode(text))
        for name, text in texts.items()
        if text != _text(status.get(name))
    }
    stored = bytes(status.get(_CONDITIONS, b""))
    listed = with_conditions(stored, conditions, moment)
    if listed is None:
        del after[_CONDITIONS]
    elif listed != stored:
        after[_CONDITIONS] = msgspec.Raw(listed)
    return after


def _fields(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _FIELDS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoResourceError(f"what is stored there is no resource: {error}") from None
    except RecursionError:
        raise NoResourceError("what is stored there is nested too deeply") from None


def _text(raw: msgspec.Raw | None) -> str | None:
    """ "" for an absent field; None for what is no text."""
    if raw is None:
        return ""
    found = msgspec.json.decode(raw)
    return found if isinstance(found, str) else None
