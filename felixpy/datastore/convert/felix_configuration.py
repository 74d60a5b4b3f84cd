"""FelixConfiguration: typed fields to the texts that the parameters have in a configuration file.

What a text means, and whether it is allowed, is decided where all sources meet. Source:
projectcalico/calico libcalico-go/lib/backend/syncersv1/updateprocessors/felixconfigprocessor.go.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from calc_graph.model import FelixConfiguration, FelixConfigurationKey
from felixpy.datastore.convert.subject import Changes, Subject
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources import felix_configuration as v3
from felixpy.datastore.resources.addresses import parse_net
from felixpy.datastore.resources.felix_parts import (
    BpfConntrackTimeouts,
    HealthTimeoutOverride,
    ProtoPort,
    RouteTableIdRange,
    RouteTableRange,
)
from felixpy.datastore.resources.numbers import parse_duration

ANNOTATION_PREFIX = "config.projectcalico.org/"
NONE = "none"

_NANOSECONDS_IN_SECOND = 10**9
_NANOSECONDS_IN_MILLISECOND = 10**6
# The only parameter whose text is made of the names of a structure's members.
_TIMEOUT_NAMES = {
    "creationGracePeriod": "CreationGracePeriod",
    "tcpSynSent": "TCPSynSent",
    "tcpEstablished": "TCPEstablished",
    "tcpFinsSeen": "TCPFinsSeen",
    "tcpResetSeen": "TCPResetSeen",
    "udpTimeout": "UDPTimeout",
    "genericTimeout": "GenericTimeout",
    "icmpTimeout": "ICMPTimeout",
}


def convert_felix_configuration(subject: Subject) -> Changes:
    """An annotation wins over the field of its parameter, and may set one that has no field."""
    spec = subject.spec
    values: dict[str, str] = {}
    for info in fields(type(spec)):
        content = getattr(spec, info.name)
        if info.name != v3.NODE_SELECTOR and content is not None:
            try:
                text = render_field(info.name, content)
            except InvalidResourceError as error:
                error.inside("spec", info.name)
                raise
            if text:
                values[v3.parameter_name(info.name)] = text
    metadata = subject.body.metadata
    for annotation, text in sorted(metadata.annotations.items()):
        if annotation.startswith(ANNOTATION_PREFIX):
            name = annotation.removeprefix(ANNOTATION_PREFIX)
            for same in [one for one in values if one.lower() == name.lower()]:
                del values[same]
            values[name] = text
    value = FelixConfiguration(
        values, spec.nodeSelector or "", _timestamp(metadata.creation_timestamp)
    )
    return ((FelixConfigurationKey(subject.name), value),)


def render_field(name: str, content: Any) -> str:
    """The text of a field; "" counts as unset."""
    if name in v3.DURATIONS_IN_SECONDS:
        return _render_duration(content, _NANOSECONDS_IN_SECOND)
    if name in v3.DURATIONS_IN_MILLISECONDS:
        return _render_duration(content, _NANOSECONDS_IN_MILLISECOND)
    match content:
        case bool():
            return "true" if content else "false"
        case int() | str():
            return str(content)
        case dict():
            return "".join(f"{key}={content[key]}," for key in sorted(content))
        case list():
            # No failsafe ports is a decision, not the absence of one.
            nothing = NONE if name.startswith("failsafe") else ""
            return ",".join(_render_item(item) for item in content) or nothing
    return _render_item(content)


def _render_item(item: object) -> str:
    match item:
        case ProtoPort():
            return _render_proto_port(item)
        case RouteTableRange() | RouteTableIdRange():
            return f"{item.min}-{item.max}"
        case HealthTimeoutOverride():
            return f"{item.name}={item.timeout}"
        case BpfConntrackTimeouts():
            return _render_timeouts(item)
    return str(item)


def _render_proto_port(port: ProtoPort) -> str:
    protocol = port.protocol.lower()
    if not port.net:
        return f"{protocol}:{port.port}"
    net = parse_net(port.net)
    if net is None:
        raise InvalidResourceError(f"must be a CIDR, not {port.net!r}")
    return (
        f"{protocol}:[{port.net}]:{port.port}"
        if net.version == 6
        else f"{protocol}:{port.net}:{port.port}"
    )


def _render_timeouts(timeouts: Struct) -> str:
    given = ((info, getattr(timeouts, info.name)) for info in fields(timeouts))
    return ",".join(f"{_TIMEOUT_NAMES[info.encode_name]}={text}" for info, text in given if text)


def _render_duration(text: str, unit: int) -> str:
    """In seconds, "1m30s" -> "90" and "1500ms" -> "1.5"."""
    nanoseconds = parse_duration(text)
    if nanoseconds is None:
        raise InvalidResourceError(f"must be a duration such as 90s, not {text!r}")
    whole, rest = divmod(nanoseconds, unit)
    return str(whole) if not rest else repr(nanoseconds / unit)


def _timestamp(value: object) -> str:
    """RFC 3339 in UTC, so that texts sort as times do; "" where there is none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return ""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        return ""
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:  # the first or last day that there is, somewhere else
        return ""
