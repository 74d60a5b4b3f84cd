"""The guards against hijacking, as functions of BIRD's filter language.

    in   the sets of a family, for what comes from a reflector
    out  functions that refuse a route with the number of the reason, or return

They are called with sets as arguments and have the same text on every node: so a change of what one
peer may announce reaches that peer's filter alone.  Arguments must not be called by one of BIRD's
keywords, of which `normal`, `base`, `first` and `hidden` are some.

Where a route's metric changes, BIRD 2.0.12 leaves the one of the former metric in the kernel beside
it: dataplane.bird.stale takes it away.
Source: sections 2.7, 3.6, 3.7, 5.3 and 6.2 of the BGP reference.
"""

from __future__ import annotations

from typing import Final

from dataplane.bird import reasons
from dataplane.bird.render.sets import Sets, owner_set
from dataplane.bird.render.texts import Family

MAX_PRIORITY: Final = 2**31 - 1  # local preference = this less the metric, both ways
# A route of the cluster has a metric of 2^30 at most in practice; the local preference of 100 that
# BIRD gives whatever comes without one would otherwise become a metric of 2,147,483,547.
_A_PRIORITY: Final = 2**30
_OVERRIDE: Final = 200  # BIRD's preference of a route that shall beat a local workload's
_RAISED: Final = 150  # and of an urgent local one: beats BGP's 100, not the former

FUNCTIONS: Final = f"""\
function refuse(int reason) {{
  why = reason;
  reject;
}}
function sealed(int checksum) {{
}}
function from_node(prefix set inside; prefix set allowed; ip owner) {{
  if net.len = 0 then refuse({reasons.DEFAULT_ROUTE});
  if net !~ inside then refuse({reasons.NOT_IN_POOLS});
  if net !~ allowed then refuse({reasons.NOT_OWNED});
  if bgp_next_hop != owner then refuse({reasons.NEXT_HOP});
}}
function from_outside(prefix set inside) {{
  if net ~ inside then refuse({reasons.FROM_OUTSIDE});
}}
function from_fabric(prefix set inside; prefix set nodes) {{
  if net ~ inside && net !~ nodes then refuse({reasons.FROM_OUTSIDE});
}}
function from_workload(prefix set inside) {{
  if net.len = 0 then refuse({reasons.DEFAULT_ROUTE});
  if net ~ inside then refuse({reasons.FROM_OUTSIDE});
}}
function to_peer(prefix set inside; prefix set own; prefix set services; prefix set withheld) {{
  if net ~ withheld then refuse({reasons.NOT_EXPORTED});
  if source = RTS_BGP || net !~ inside then refuse({reasons.NOT_OURS});
  if net !~ own && net !~ services then refuse({reasons.NOT_OURS});
}}
function reflect(prefix set inside; prefix set own; prefix set services; prefix set withheld) {{
  if net ~ withheld then refuse({reasons.NOT_EXPORTED});
  if net !~ inside then refuse({reasons.NOT_OURS});
  if source != RTS_BGP && net !~ own && net !~ services then refuse({reasons.NOT_OURS});
}}
function priority_in(int usual) {{
  if !defined(bgp_local_pref) then return false;
  if bgp_local_pref > {_A_PRIORITY} && bgp_local_pref > {MAX_PRIORITY} - usual then
    preference = {_OVERRIDE};
  return true;
}}
function priority_out(int usual) {{
  if source = RTS_BGP then {{
    if defined(bgp_local_pref) && bgp_local_pref > {_A_PRIORITY} then
      krt_metric = {MAX_PRIORITY} - bgp_local_pref;
  }} else {{
    if !defined(krt_metric) then krt_metric = usual;
    if krt_metric = 0 then krt_metric = usual;
    bgp_local_pref = {MAX_PRIORITY} - krt_metric;
  }}
}}
function obey(int verdict) {{
  if verdict = 1 then accept;
  if verdict = 2 then reject;
}}
function kernel_in(prefix set inside; int usual) {{
  if net !~ inside then refuse({reasons.KERNEL_IMPORT});
  if defined(krt_metric) then {{
    if krt_metric > 0 && krt_metric < usual then preference = {_RAISED};
  }}
  accept;
}}
function kernel_out(prefix set inside; prefix set services; prefix set agent; int usual) {{
  if net ~ services then refuse({reasons.KERNEL_SERVICE});
  if source = RTS_DEVICE then refuse({reasons.KERNEL_DEVICE});
  if net ~ agent then refuse({reasons.KERNEL_POOL});
  if proto ~ "Mesh_*" && net !~ inside then refuse({reasons.KERNEL_OUTSIDE});
  if source = RTS_BGP && !defined(krt_metric) then {{
    krt_metric = usual;
    if defined(bgp_local_pref) then {{
      if bgp_local_pref > {_A_PRIORITY} then krt_metric = {MAX_PRIORITY} - bgp_local_pref;
    }}
  }}
  accept;
}}"""


def from_reflector(family: Family, sets: Sets) -> str:
    """What comes through a reflector is bound to the owner's address, a line for each node.

    `case` looks an address up in a tree: with 3,000 nodes and 9,000 routes that took BIRD 0.03 s,
    and a chain of `if` 0.6 s (measured), at each change of the cluster.  Without the space BIRD
    takes the colon for one of the address.
    """
    owners = [
        f"    {owner} : if net ~ {owner_set(owner)} then return true;" for owner, _ in sets.owners
    ]
    return "\n".join(
        [
            f"function from_reflector{family}() {{",
            f"  {sets.seal_owners()};",
            f"  if net.len = 0 then refuse({reasons.DEFAULT_ROUTE});",
            f"  if net !~ CLUSTER{family} then refuse({reasons.NOT_IN_POOLS});",
            *(["  case bgp_next_hop {", *owners, "  }"] if owners else []),
            f"  if net ~ NODES{family} then refuse({reasons.NEXT_HOP});",
            f"  refuse({reasons.NOT_OWNED});",
            "}",
        ]
    )
