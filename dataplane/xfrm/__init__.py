"""XFRM, IPsec in the kernel, for pyroute2: the messages and the socket that it lacks (0.9.7).

    messages    usersa_info, usersa_id, userpolicy_info, userpolicy_id, user_expire
    attributes  what they carry besides: algorithms, marks, templates, replay counters
    packed      how they become bytes, and are made of bytes
    requests    the commands, with defaults
    layout      pieces that are packed and unpacked at once
    prepared    the commands for those who have thousands of them: the same bytes, without a message
    privacy     keys never come up from the kernel
    marshal     what the kernel says as messages, its refusals as errors
    endpoint    where its datagrams come in
    filtering   which of them do not
    sockets     AsyncXFRMSocket: state(), policy(), get_states(), get_policies(), execute(),
                read_states(), read_policies()

A package that knows pyroute2 and nothing else.  It follows pyroute2's ways, but for three of them:
messages are packed by one precompiled structure each, or by none (`prepared`), since thousands of
them have to be written in a moment; received bytes are taken from the kernel into one array, so
that keys can be overwritten in it; and `execute` sends many messages at once, each of which has an
error number of its own.

Importing it imports pyroute2, which costs some 0.2 s and 12 MiB.

Sources: linux include/uapi/linux/xfrm.h and net/xfrm/xfrm_user.c; section 9 of the IPsec reference.
"""
