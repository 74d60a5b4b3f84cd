"""What nodes publish of IPsec goes on as it is: once, newest value, and once when it is gone."""

from __future__ import annotations

import pytest

from calc_graph.graph import CalcGraph
from calc_graph.model import IpsecNode, IpsecNodeKey, IpsecPeering, Node, NodeKey
from calc_graph.updates import HostUpdate, IpsecPeer, IpsecPeerRemove

ONE = IpsecNode(enabled=True, tag=1, boot="00" * 16, receive={3: "0" * 16}, ipv4="1.1.1.1")
TWO = IpsecNode(enabled=True, tag=1, boot="00" * 16, peers={"here": IpsecPeering(2, 3)})


def test_each_change_is_told_once_of_this_node_too() -> None:
    graph = CalcGraph("here")
    graph.update(IpsecNodeKey("n"), ONE)
    graph.update(IpsecNodeKey("here"), TWO)
    assert graph.flush() == []
    graph.in_sync()
    told = [update for update in graph.flush() if isinstance(update, IpsecPeer)]
    assert told == [IpsecPeer("here", TWO), IpsecPeer("n", ONE)]
    graph.update(IpsecNodeKey("n"), ONE)
    assert graph.flush() == []
    graph.update(IpsecNodeKey("n"), TWO)
    graph.update(IpsecNodeKey("here"), None)
    assert graph.flush() == [IpsecPeerRemove("here"), IpsecPeer("n", TWO)]
    assert IpsecPeer("n", TWO) in graph.replay()
    graph.update(IpsecNodeKey("n"), ONE)
    graph.update(IpsecNodeKey("n"), None)
    assert graph.flush() == [IpsecPeerRemove("n")]
    assert not [update for update in graph.replay() if isinstance(update, IpsecPeer)]


def test_ends_come_before_hosts() -> None:
    graph = CalcGraph("here")
    graph.update(NodeKey("n"), Node(ipv4="1.1.1.1/24"))
    graph.update(IpsecNodeKey("n"), ONE)
    graph.in_sync()
    assert graph.flush()[-2:] == [IpsecPeer("n", ONE), HostUpdate("n", "1.1.1.1", "")]


def test_a_value_of_another_kind_is_a_mistake() -> None:
    with pytest.raises(TypeError):
        CalcGraph("here").update(IpsecNodeKey("n"), Node())
