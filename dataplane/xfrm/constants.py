"""Numbers of include/uapi/linux/xfrm.h.

There are more messages than those named here.  FLUSHSA and FLUSHPOLICY would take what belongs to
others; UPDSA answers that it has been done and keeps the old key (Linux 6.1).
"""

from __future__ import annotations

from typing import Final

XFRM_MSG_NEWSA: Final = 16
XFRM_MSG_DELSA: Final = 17
XFRM_MSG_GETSA: Final = 18
XFRM_MSG_NEWPOLICY: Final = 19
XFRM_MSG_DELPOLICY: Final = 20
XFRM_MSG_GETPOLICY: Final = 21
XFRM_MSG_EXPIRE: Final = 24
XFRM_MSG_UPDPOLICY: Final = 25
XFRM_MSG_UPDSA: Final = 26
XFRM_MSG_FLUSHSA: Final = 28
XFRM_MSG_FLUSHPOLICY: Final = 29

XFRMNLGRP_EXPIRE: Final = 2
XFRMNLGRP_SA: Final = 3
XFRMNLGRP_POLICY: Final = 4

XFRM_POLICY_IN, XFRM_POLICY_OUT, XFRM_POLICY_FWD = 0, 1, 2
XFRM_POLICY_ALLOW, XFRM_POLICY_BLOCK = 0, 1
XFRM_MODE_TRANSPORT, XFRM_MODE_TUNNEL = 0, 1
XFRM_STATE_ESN: Final = 128
XFRM_INF: Final = 2**64 - 1  # of a lifetime in bytes or packets; 0 is that of one in seconds

IPPROTO_ESP: Final = 50
