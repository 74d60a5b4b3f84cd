"""The messages of etcd's v3 API that an agent sends and receives, and only the fields it uses.

A field that is not in these tables is skipped when it is received.  The numbers are those of
etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto; they never change their meaning.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "felixpy.etcd"

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "bytes": _Field.TYPE_BYTES,
    "string": _Field.TYPE_STRING,
    "int64": _Field.TYPE_INT64,
    "uint64": _Field.TYPE_UINT64,
    "int32": _Field.TYPE_INT32,  # enumerations travel like it
    "bool": _Field.TYPE_BOOL,
}

# message -> field -> number and type; "[]" marks a repeated field
_MESSAGES: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "KeyValue": {
        "key": (1, "bytes"),
        "create_revision": (2, "int64"),
        "mod_revision": (3, "int64"),
        "value": (5, "bytes"),
    },
    "Event": {"type": (1, "int32"), "kv": (2, "KeyValue")},
    "ResponseHeader": {
        "cluster_id": (1, "uint64"),
        "member_id": (2, "uint64"),
        "revision": (3, "int64"),
        "raft_term": (4, "uint64"),
    },
    "RangeRequest": {
        "key": (1, "bytes"),
        "range_end": (2, "bytes"),
        "limit": (3, "int64"),
        "revision": (4, "int64"),
        "serializable": (7, "bool"),
        "keys_only": (8, "bool"),
    },
    "RangeResponse": {
        "header": (1, "ResponseHeader"),
        "kvs": (2, "KeyValue[]"),
        "more": (3, "bool"),
    },
    "PutRequest": {"key": (1, "bytes"), "value": (2, "bytes"), "lease": (3, "int64")},
    "PutResponse": {"header": (1, "ResponseHeader")},
    "DeleteRangeRequest": {"key": (1, "bytes"), "range_end": (2, "bytes")},
    "DeleteRangeResponse": {"header": (1, "ResponseHeader"), "deleted": (2, "int64")},
    # of an operation's two one is set: a oneof, too.  So is the comparand, of which etcd takes none
    # for 0, as it is where a key must not be there.
    "Compare": {
        "result": (1, "int32"),
        "target": (2, "int32"),
        "key": (3, "bytes"),
        "mod_revision": (6, "int64"),
    },
    "RequestOp": {
        "request_put": (2, "PutRequest"),
        "request_delete_range": (3, "DeleteRangeRequest"),
    },
    "TxnRequest": {"compare": (1, "Compare[]"), "success": (2, "RequestOp[]")},
    "TxnResponse": {"header": (1, "ResponseHeader"), "succeeded": (2, "bool")},
    "LeaseGrantRequest": {"TTL": (1, "int64"), "ID": (2, "int64")},
    "LeaseGrantResponse": {"header": (1, "ResponseHeader"), "ID": (2, "int64")},
    "LeaseRevokeRequest": {"ID": (1, "int64")},
    "LeaseRevokeResponse": {"header": (1, "ResponseHeader")},
    "AuthenticateRequest": {"name": (1, "string"), "password": (2, "string")},
    "AuthenticateResponse": {"header": (1, "ResponseHeader"), "token": (2, "string")},
    "WatchCreateRequest": {
        "key": (1, "bytes"),
        "range_end": (2, "bytes"),
        "start_revision": (3, "int64"),
        "progress_notify": (4, "bool"),
        "watch_id": (7, "int64"),
        "fragment": (8, "bool"),
    },
    "WatchProgressRequest": {},
    # of these two at most one is set; etcd has them in a oneof, which looks the same on the wire
    "WatchRequest": {
        "create_request": (1, "WatchCreateRequest"),
        "progress_request": (3, "WatchProgressRequest"),
    },
    "WatchResponse": {
        "header": (1, "ResponseHeader"),
        "watch_id": (2, "int64"),
        "created": (3, "bool"),
        "canceled": (4, "bool"),
        "compact_revision": (5, "int64"),
        "cancel_reason": (6, "string"),
        "fragment": (7, "bool"),
        "events": (11, "Event[]"),
    },
}

DELETE: Final = 1  # an event's type; a put is 0
EQUAL: Final = 0  # a comparison's result
MOD_REVISION: Final = 2  # a comparison's target: the revision of a key's last change, 0 for no key


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="felixpy/etcd.proto", package=_PACKAGE, syntax="proto3"
    )
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, (number, written) in fields.items():
            kind = written.removesuffix("[]")
            field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
            if kind != written:
                field.label = _Field.LABEL_REPEATED
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_describe())


def message(name: str) -> Any:
    """The class of a message.  Raises KeyError if there is none of that name."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
