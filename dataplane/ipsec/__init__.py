"""IPsec: tunnels between the nodes' own addresses, with keys that rotate, and nothing in clear.

    told          IpsecPeer, HostUpdate, RouteUpdate, PoolUpdate      calc_graph
    keys          KeyRing, whenever another one is to be used          felixpy.ipsec
        |
    ipsec.py      one that is on, or off, for the dataplane
      mesh.py       which key each peer is sent to with, what is to be in the kernel, what is to be
                    published; pure
        peers.py      what is decided of a node   family.py     what a family makes of it
        states.py     states of a peer            policies.py   policies of a net
      on.py, off.py   hand over what is wanted (handover.py), or take away what is not: leaving.py
        |
      driver.py     states and policies: what is there (present.py), whose it is (ours.py), and the
                    difference, in the order of writes (plan.py, writer.py)
      table.py      rules and routes of table 200: next hops (nexthop.py), sizes (mtu.py), and the
                    interface that faces the network (uplink.py)
        |
      kernel.py     dataplane.xfrm: requests (codec.py), what is listed (listed.py), and what the
                    kernel tells unasked (notices.py)

The order of writes is this, and no step begins before the kernel has taken the one before:

    a peer comes       what closes the way to its nets -> receiving states -> it is told, and tells
                       us of its own -> sending states -> the way opens, encrypted -> table 200
    a net comes        what closes the way to it -> policies in -> the way opens -> its route
    a peer, a net goes its route in the main table -> the way closes -> sending states -> table 200
                       -> policies in, receiving states -> what closes the way
    a net moves        its policies are exchanged in place, one message each
    a key comes        receiving states, for all peers -> published -> for each peer that has
                       published it: sending state -> its policies out, exchanged in place
    a key goes         nobody sends with it any more -> no longer published -> a while later its
                       receiving states
    IPsec goes off     published -> policies out -> nobody sends any more -> all the rest, receiving
                       states last
"""
