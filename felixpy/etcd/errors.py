"""How it ends when etcd is asked something; the texts are for people and hold no secrets."""

from __future__ import annotations


class EtcdError(Exception):
    pass


class MemberLostError(EtcdError):
    """This connection is of no use any more; another, or a later one, may be."""


class RefusedError(EtcdError):
    """etcd has understood and said no: whom it takes us for may not do this, or it knows us not."""


class CompactedError(EtcdError):
    """The revision asked for is no longer kept."""


class HistoryError(EtcdError):
    """What this cluster says does not continue what was read so far: it is another cluster, or the
    same one taken back to an earlier state.
    """


class ContendedError(EtcdError):
    """Others change the same key faster than we can."""
