"""What is wished for comes back as what it was, and nothing else looks like it."""

from __future__ import annotations

import socket
import struct

import pytest
from msgspec import structs

from dataplane.ipsec import codec, listed
from dataplane.ipsec.kernel import (
    Counters,
    KernelPolicy,
    KernelState,
    KernelTemplate,
    PolicyDelete,
    PolicyPut,
    StateAdd,
    StateDelete,
)
from dataplane.ipsec.keys import Algorithm, Material, fingerprint
from dataplane.ipsec.values import (
    PolicyId,
    PolicyWish,
    Selector,
    StateId,
    StateWish,
    Template,
)
from dataplane.xfrm import constants
from dataplane.xfrm.attributes import Mark
from dataplane.xfrm.messages import userpolicy_id, userpolicy_info, usersa_info
from dataplane.xfrm.privacy import conceal, zeros

REQID = 7
GCM = Algorithm("rfc4106(gcm(aes))", 128)
CBC = Algorithm(auth="hmac(sha256)", trunc_bits=96, encryption="cbc(aes)")

RECEIVING = StateWish(StateId("10.0.0.1", 0x1235), "10.0.0.2", 5, receives=True, life="ab")
SENDING = StateWish(StateId("10.0.0.2", 0x1245), "10.0.0.1", 5, receives=False, life="ab")
SHARED = StateWish(StateId("10.0.0.1", 5), "0.0.0.0", 5, receives=True)
SHARED_SENDING = StateWish(StateId("10.0.0.2", 5), "10.0.0.1", 5, receives=False)
OF_6 = StateWish(StateId("fd00::1", 5), "::", 5, receives=True)
STATES = [RECEIVING, SENDING, SHARED, SHARED_SENDING, OF_6]

SELECTOR = Selector("0.0.0.0/0", "10.65.0.0/26")
SELECTOR_6 = Selector("fd65::/122", "::/0")
TUNNEL = Template("10.0.0.1", "10.0.0.2", 0x1245)
POLICIES = [
    PolicyWish(PolicyId("out", SELECTOR), 1006, "block"),
    PolicyWish(PolicyId("out", SELECTOR), 1006, "allow", TUNNEL),
    PolicyWish(PolicyId("fwd", SELECTOR, 0xD00), 1006, "allow", Template("0.0.0.0", "10.0.0.2")),
    PolicyWish(PolicyId("in", SELECTOR_6), 1006, "allow", Template("::", "fd00::1", optional=True)),
    PolicyWish(PolicyId("in", Selector("0.0.0.0/0", "0.0.0.0/0", 6, 179)), 100),
    PolicyWish(PolicyId("out", Selector("::/0", "::/0", 17, 0, 500), 0xE00), 100),
]


def material(algorithm: Algorithm = GCM, first: int = 1) -> Material:
    length = 20 if algorithm.aead else 64
    octets = bytearray(first + i for i in range(length))
    return Material(algorithm, octets, 0 if algorithm.aead else 32)


def from_kernel(change, kind, digest=fingerprint):
    """What the kernel would tell of it, with nothing done by it."""
    data = bytearray(octets(change))
    conceal(memoryview(data), digest)
    return kind.decoded_from(bytes(data))


def octets(change) -> bytes:
    """As they are sent."""
    data = bytearray(4096)
    return bytes(data[: codec.write(REQID, change, memoryview(data), 0)])


def told(message, unknown: bytes = b"") -> bytes:
    """`unknown`: one more attribute, of a number that nobody knows."""
    message["header"].update(sequence_number=0, pid=0)
    message.encode()
    if unknown:
        message.data += struct.pack("=HH", 4 + len(unknown), 99) + unknown
        struct.pack_into("=I", message.data, 0, len(message.data))
    return bytes(message.data)


def found_state(message, unknown: bytes = b"") -> KernelState:
    found = listed.state(told(message, unknown))
    assert found is not None
    return found


def found_policy(message, unknown: bytes = b"") -> KernelPolicy:
    found = listed.policy(told(message, unknown))
    assert found is not None
    return found


def state(wish: StateWish = RECEIVING, algorithm: Algorithm = GCM) -> usersa_info:
    return from_kernel(StateAdd(wish, material(algorithm)), usersa_info)


def policy(wish: PolicyWish = POLICIES[1]) -> userpolicy_info:
    return from_kernel(PolicyPut(wish, index=0x66000001), userpolicy_info)


@pytest.mark.parametrize("wish", STATES, ids=str)
@pytest.mark.parametrize("algorithm", [GCM, CBC], ids=str)
def test_states(wish, algorithm):
    found = found_state(state(wish, algorithm))
    assert found.fits(wish, REQID)
    assert found.algorithm == algorithm
    assert found.fingerprint == material(algorithm).fingerprint
    assert found.fingerprint != material(algorithm, first=2).fingerprint
    assert not found.fits(wish, REQID + 1)
    assert [other for other in STATES if found.fits(other, REQID)] == [wish]


def test_counting():
    pair, shared = found_state(state(RECEIVING)), found_state(state(SHARED))
    assert (pair.esn, pair.replay_window, pair.soft_packets) == (True, 1024, 0)
    assert (shared.esn, shared.replay_window, shared.soft_packets) == (False, 0, 1 << 31)


def test_a_kernel_that_tells_of_the_last_packet():
    message = state()
    message["attrs"].append(("XFRMA_LASTUSED", struct.pack("=Q", 1_800_000_000)))
    assert found_state(message).last_used == 1_800_000_000


def test_a_state_that_is_used():
    message = state()
    message.update(bytes=5, packets=6, add_time=7, use_time=8)
    message.update(stats_replay=9, stats_integrity_failed=10)
    found = found_state(message)
    assert (found.counters, found.last_used) == (Counters(5, 6, 7, 8), 0)
    assert (found.replayed, found.integrity_failed) == (9, 10)
    assert found.fits(RECEIVING, REQID)


OTHERS = [
    ("another source", {"saddr": bytes(16)}, []),
    ("another destination", {"daddr": bytes(16)}, []),
    ("another SPI", {"spi": 0x1236}, []),
    ("AH", {"proto": 51}, []),
    ("transport", {"mode": 0}, []),
    ("without ESN", {"flags": 0}, []),
    ("with a flag more", {"flags": 128 | 16}, []),
    ("for one net only", {"sel_prefixlen_d": 8}, []),
    ("for one protocol only", {"sel_proto": 6}, []),
    ("for one port only", {"sel_dport": 5, "sel_dport_mask": 0xFFFF}, []),
    ("for one interface only", {"sel_ifindex": 3}, []),
    ("for both families", {"sel_family": 0}, []),
    ("ends", {"hard_packet_limit": 9}, []),
    ("ends in an hour", {"hard_add_expires_seconds": 3600}, []),
    ("marked", {}, [("XFRMA_MARK", Mark(1, 1))]),
    ("of an interface", {}, [("XFRMA_IF_ID", 1)]),
    ("marks otherwise", {}, [("XFRMA_SET_MARK", 0xE00)]),
    ("in UDP", {}, [("XFRMA_ENCAP", bytes(24))]),
    ("offloaded", {}, [("XFRMA_OFFLOAD_DEV", bytes(8))]),
]


@pytest.mark.parametrize(("case", "fields", "more"), OTHERS)
def test_a_state_of_another_kind(case, fields, more):
    message = state()
    message.update(fields)
    message["attrs"] = message["attrs"] + more
    assert not found_state(message).fits(RECEIVING, REQID), case


def test_what_is_new_to_us_is_not_plain():
    assert found_state(state()).plain
    assert not found_state(state(), b"new!").plain
    assert found_policy(policy()).plain
    assert not found_policy(policy(), b"new!").plain


def test_states_of_no_family_have_no_place():
    message = state()
    message["family"] = 0
    assert listed.state(told(message)) is None


def test_a_kernel_that_keeps_keys_to_itself():
    message = from_kernel(StateAdd(RECEIVING, material()), usersa_info, zeros)
    assert found_state(message).fingerprint == b""


def test_an_algorithm_that_no_key_file_has():
    message = state()
    message["attrs"] = [pair for pair in message["attrs"] if pair[0] != "XFRMA_ALG_AEAD"]
    found = found_state(message)
    assert (found.algorithm, found.fingerprint) == (None, b"")


@pytest.mark.parametrize("wish", POLICIES, ids=str)
def test_policies(wish):
    found = found_policy(policy(wish))
    assert found.wish(REQID) == wish
    assert found.id == wish.id
    assert found.index == 0x66000001
    if wish.template:
        assert found.wish(REQID + 1) is None


OTHER_POLICIES = [
    ("ends", {"hard_byte_limit": 9}, []),
    ("flags", {"flags": 2}, []),
    ("of an interface", {"sel_ifindex": 2}, []),
    ("of a user", {"sel_user": 1}, []),
    ("of an xfrm interface", {}, [("XFRMA_IF_ID", 1)]),
    ("another mask", {}, [("XFRMA_MARK", Mark(0xD00, 0xFF00))]),
    ("every other port", {"sel_dport": 2, "sel_dport_mask": 0xFFFE}, []),
    ("of another type", {}, [("XFRMA_POLICY_TYPE", b"\x01" + bytes(5))]),
]


@pytest.mark.parametrize(("case", "fields", "more"), OTHER_POLICIES)
def test_a_policy_of_another_kind(case, fields, more):
    message = policy()
    message.update(fields)
    message["attrs"] = message["attrs"] + more
    found = found_policy(message)
    assert found.id is None, case
    assert found.wish(REQID) is None


@pytest.mark.parametrize(
    "change",
    [{"proto": 51}, {"mode": 0}, {"reqid": 1}, {"aalgos": 1}, {"share": 1}, None],
    ids=str,
)
def test_another_template(change):
    message = policy()
    (template,) = message.get_attr("XFRMA_TMPL")
    templates = (template, template) if change is None else (template._replace(**change),)
    message["attrs"] = [("XFRMA_TMPL", templates)]
    found = found_policy(message)
    assert found.id == POLICIES[1].id
    assert found.wish(REQID) is None


def test_policies_of_sockets_have_no_place():
    message = policy()
    message["dir"] = 4
    assert listed.policy(told(message)) is None


def test_a_template_of_no_family():
    message = policy()
    (template,) = message.get_attr("XFRMA_TMPL")
    message["attrs"] = [("XFRMA_TMPL", (template._replace(family=socket.AF_UNIX),))]
    with pytest.raises(ValueError, match="address family 1"):
        found_policy(message)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (StateAdd(RECEIVING, material()), constants.XFRM_MSG_NEWSA),
        (StateDelete(RECEIVING.id), constants.XFRM_MSG_DELSA),
        (PolicyPut(POLICIES[0]), constants.XFRM_MSG_UPDPOLICY),
        (PolicyPut(POLICIES[0], replace=False), constants.XFRM_MSG_NEWPOLICY),
        (PolicyDelete(POLICIES[0].id), constants.XFRM_MSG_DELPOLICY),
    ],
)
def test_what_is_asked_for(change, kind):
    assert struct.unpack_from("=H", octets(change), 4)[0] == kind


@pytest.mark.parametrize("wish", POLICIES, ids=str)
def test_a_policy_is_deleted_by_the_name_it_was_made_with(wish):
    made = userpolicy_info.decoded_from(octets(PolicyPut(wish)))
    gone = userpolicy_id.decoded_from(octets(PolicyDelete(wish.id)))
    named = [name for name in gone.names if name != "index"]
    assert [gone[name] for name in named] == [made[name] for name in named]
    assert gone.get_attr("XFRMA_MARK") == made.get_attr("XFRMA_MARK")


def test_a_mark_that_is_none_of_ours():
    found = KernelPolicy("out", SELECTOR, 5, "allow", mark=0x100, mark_mask=0x100)
    assert found.id is None
    assert structs.replace(found, mark=0, mark_mask=0xF00).id is None
    assert structs.replace(found, mark=0, mark_mask=0).id == PolicyId("out", SELECTOR)


def test_families():
    assert KernelState(StateId("fd00::1", 5), "::").family == 6
    assert found_policy(policy(POLICIES[3])).family == 6
    assert found_policy(policy()).family == 4
    assert found_policy(policy()).templates == (
        KernelTemplate("10.0.0.1", "10.0.0.2", 0x1245, 50, 1, REQID, optional=False),
    )
