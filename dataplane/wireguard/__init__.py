"""WireGuard: a mesh between the nodes, and never a moment in which it leaks.

    told          WireguardEndpoint, HostUpdate, RouteUpdate, PoolUpdate      calc_graph
        |
    wireguard.py  both families, for the dataplane; off.py: how one goes that is off
    on.py         one that is on: hands what the mesh wants to the drivers, in the order of writes
      turns.py      which routes are written before the main table, and which after
      former.py     a device that had another name, and goes
      mesh.py       where each destination goes, and by which peer; pure
        nets.py       what is behind which node
        peers.py      which nodes could be peers
        stages.py     how far each has come
        |  peers with AllowedIPs              |  what each destination's route is
    driver.py     the device's peers          table.py   drivers.wireguard_routes, drivers.rules
      plan.py       the difference
      codec.py      generic netlink
        |                                     |
      kernel      and back: handshakes, transfer, the device's own key; status.py tells of it

The order of writes is this, and no step begins before the kernel has taken the one before:

    a peer comes        peer and AllowedIPs, kept alive -> a handshake -> its routes -> the rule
    a net comes         AllowedIP -> its route -> its route in the main table
    a peer or net goes  its routes in the main table -> here -> its AllowedIPs -> the peer
    a net comes here    its route in the main table -> its route here, which leaves it to that;
                        the same for a net that another node does not encrypt
    a net leaves here   its route here -> its route in the main table
    an address comes    to the device -> what the host itself says asks, too
    a net moves         AllowedIP at the new peer, which takes it from the old one, once the new
                        one has answered; until then its route is not the device's
    WireGuard goes off  the published key withdrawn -> the rule, as others who have heard of it
                        send in clear at that moment, too -> nobody sends any more -> routes ->
                        device
"""
