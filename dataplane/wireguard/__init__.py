"""WireGuard: a mesh between the nodes, and never a moment in which it leaks.

    told       WireguardEndpoint, HostUpdate, RouteUpdate, PoolUpdate      calc_graph
        |
    mesh.py    who is a peer, what is behind it, how far each peer has come; pure
        |  Wish: peers with AllowedIPs        |  what each destination's route is
    driver.py  the device's peers             drivers/routes.py, drivers/rules.py
        |  codec.py: generic netlink
      kernel   and back: handshakes, transfer, the device's own key

The order of writes is this, and no step begins before the kernel has taken the one before:

    a peer comes        peer and AllowedIPs, kept alive -> a handshake -> its routes -> the rule
    a peer goes         its routes -> its AllowedIPs -> the peer
    a net moves         AllowedIP at the new peer, which takes it from the old one, once the new
                        one has answered; until then its route is not the device's
    WireGuard goes off  the published key withdrawn -> nobody sends any more -> rule -> routes ->
                        device
"""
