"""The ways to other nodes: pools, blocks and nodes in; routes, tunnels and their ends out.  Pure.

    RouteUpdate, VtepUpdate, EncapUpdate, TunnelAddresses, HostUpdate    calc_graph
    interfaces of this host                                              dataplane.interfaces
        |
    overlays     told of everything, and asked; works out again what a change concerns
      here         this node: its addresses, its interfaces, the device that carries tunnels
      vxlan, ipip, wireguard
                   each kind of tunnel: its devices, their MTU, what rules should say of it
      cluster      other nodes, for each family
        choice       one RouteUpdate -> one route, or none
      mtu          the host's interfaces -> the MTU of tunnels and workloads
      devices      what a tunnel device should be; one that there is -> what has to be done to it
        |
    routes -> drivers.routes      ends of tunnels -> drivers.vteps      devices -> drivers.links
    rules for tunnels -> desired.fixed      who may speak VXLAN -> IP sets      MTU -> a file

What replaces a path comes before the path goes: devices, then ends, then routes; then the old
routes, the old ends, the old devices.
Source: projectcalico/calico felix/dataplane/linux/{route,vxlan,ipip,noencap}_mgr.go; section 2 of
the routes reference.
"""
