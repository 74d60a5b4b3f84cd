"""What the kernel has dropped for IPsec's sake, from /proc/net/xfrm_stat, and what that means.

    in   the file, of the network namespace that the agent is in
    out  counter -> packets; Meaning of each, and what to do about it

Each counts dropped packets, since the namespace was made, of all IPsec there, that of others too.
Source: section 8.1 of the IPsec reference; linux Documentation/networking/xfrm_proc.rst.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

PATH: Final = Path("/proc/net/xfrm_stat")


class Meaning(NamedTuple):
    """`hint` is "" where there is nothing to do about it."""

    text: str
    hint: str = ""


_DYING: Final = "a few during a rotation are packets on their way; more: report it"
MEANINGS: Final[Mapping[str, Meaning]] = {
    "XfrmInError": Meaning("received, and not worked on: no memory", "look for what uses it up"),
    "XfrmInBufferError": Meaning(
        "received, with too many transforms inside each other", "look for tunnels in a loop"
    ),
    "XfrmInHdrError": Meaning("received, with a malformed header", "foreign or damaged packets"),
    "XfrmInNoStates": Meaning(
        "received, encrypted, with an SPI that no state has",
        "a peer sends with a key that is not here: a key file that is late on this node, a key "
        "that was taken away too early, or a peer that has not heard of this node's restart",
    ),
    "XfrmInStateProtoError": Meaning(
        "received, and not authentic",
        "another key under the same ID, another algorithm or ICV length, or damaged packets",
    ),
    "XfrmInStateModeError": Meaning(
        "received in another mode than its state's", "somebody else's state has an SPI of ours"
    ),
    "XfrmInStateSeqError": Meaning(
        "received again, or too late",
        "replayed or strongly reordered packets, or a peer that counts anew with the same key",
    ),
    "XfrmInStateExpired": Meaning("received for a state that has expired", "rotate the key"),
    "XfrmInStateMismatch": Meaning(
        "received for a state that does not fit", "a state of somebody else's"
    ),
    "XfrmInStateInvalid": Meaning("received for a state that is being deleted", _DYING),
    "XfrmInTmplMismatch": Meaning(
        "received other than the policy asks for",
        "packets in clear where they must be encrypted, which were stopped: a peer without IPsec, "
        "or somebody who pretends to be one",
    ),
    "XfrmInNoPols": Meaning(
        "decrypted, and no policy is for it", "a peer's block is not known here yet"
    ),
    "XfrmInPolBlock": Meaning(
        "received in clear, and stopped by a policy",
        "a peer without IPsec, or somebody who pretends to be one",
    ),
    "XfrmInPolError": Meaning("received: an error in a policy", "policies of somebody else's"),
    "XfrmOutError": Meaning("not sent: no memory", "look for what uses it up"),
    "XfrmOutBundleGenError": Meaning(
        "not sent: no way to the other end", "is there a route to the peer's address?"
    ),
    "XfrmOutBundleCheckError": Meaning(
        "not sent: the way to the other end has gone", "is there a route to the peer's address?"
    ),
    "XfrmOutNoStates": Meaning(
        "not sent: the policy asks for a state that is not there",
        "somebody has deleted states; they are made anew",
    ),
    "XfrmOutStateProtoError": Meaning("not sent: encrypting has failed", "the crypto driver"),
    "XfrmOutStateModeError": Meaning(
        "not sent: larger than the MTU, and not to be fragmented",
        "the sender is told; if it does not heed that, ICMP is filtered on the way",
    ),
    "XfrmOutStateSeqError": Meaning(
        "not sent: all sequence numbers are used up", "rotate the key now"
    ),
    "XfrmOutStateExpired": Meaning("not sent: the state has expired", "rotate the key"),
    "XfrmOutPolBlock": Meaning(
        "not sent: in clear, and stopped by a policy",
        "no key in common with that peer yet, or it has no IPsec: see its stage",
    ),
    "XfrmOutPolDead": Meaning("not sent: the policy was being deleted"),
    "XfrmOutPolError": Meaning(
        "not sent, with an error in a policy", "policies of somebody else's"
    ),
    "XfrmFwdHdrError": Meaning(
        "not forwarded: malformed, or decrypted and without a route",
        "is the workload's route there?",
    ),
    "XfrmOutStateInvalid": Meaning("not sent: the state is being deleted", _DYING),
    "XfrmAcquireError": Meaning("a state was still being made", "other IPsec software's matter"),
    "XfrmOutStateDirError": Meaning(
        "not sent: the state is for receiving", "a state of somebody else's"
    ),
    "XfrmInStateDirError": Meaning(
        "received for a state that is for sending", "a state of somebody else's"
    ),
    "XfrmInIptfsError": Meaning("received in IP-TFS, and malformed", "a state of somebody else's"),
    "XfrmOutNoQueueSpace": Meaning("not sent: the queue of IP-TFS is full"),
}


def read_errors(path: Path = PATH) -> dict[str, int]:
    """Empty where the kernel has no such file: it is built without."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    found = {}
    for line in text.splitlines():
        name, _, count = line.partition("\t")
        name, count = name.strip(), count.strip()
        if count.isdigit():
            found[name] = int(count)
    return found


def meaning_of(name: str) -> Meaning:
    """Also of a counter that a later kernel has."""
    return MEANINGS.get(name, Meaning("dropped, for a reason that felixpy does not know"))
