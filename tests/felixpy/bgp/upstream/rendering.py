"""A setting of the matrix as the text of a vendor."""

from __future__ import annotations

from felixpy.bgp.upstream.build import build
from felixpy.bgp.upstream.model import Role, Upstream, Wish
from felixpy.bgp.upstream.render import RENDERERS
from tests.felixpy.bgp.upstream import clusters
from tests.felixpy.bgp.upstream.matrix import Setting

SPINE_AS, BORDER_AS = 65100, 65200
_OWN_AS: dict[Role, int] = {"tor": 0, "spine": SPINE_AS, "border": BORDER_AS}


def upstream_of(setting: Setting, *, sessions: bool = True) -> Upstream:
    wish = Wish(
        role=setting.role,
        exact=setting.exact,
        sessions=sessions,
        nodes=setting.nodes,
        router_as=_OWN_AS[setting.role],
    )
    return build(getattr(clusters, setting.cluster), wish)


def text_of(setting: Setting, vendor: str, *, sessions: bool = True) -> str:
    return RENDERERS[vendor](upstream_of(setting, sessions=sessions))
