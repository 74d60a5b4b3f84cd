"""The role of a node's agent: what it allows, and that names reach etcdctl as they are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from calc_graph.model import HostEndpointKey, WorkloadEndpointKey
from felixpy.datastore.etcd_keys import ranges
from felixpy.etcd_role import PASSWORD, Permission, Role, RoleError, permissions, render_script
from felixpy.statusrep.keys import endpoint_key, process_keys

# Notes its arguments and, where it would read a password, its standard input; a role or user of
# which THERE is a part is there already.
ETCDCTL = r"""#!/bin/bash
printf '%s\0' "$#" "$@" >>"$RECORD"
case " $* " in *" get "*) [[ -n $THERE && "$*" == *"$THERE"* ]] ;;
*interactive=false*) cat >>"$RECORD.stdin" ;;
*grant-role*) exit "${FAILS:-0}" ;; esac
"""
HOSTILE = ["it's", "-x", "$(reboot)", "a b", '"; rm -rf / #', "`id`", "!!", "é\\n", "*", "~", "#"]


def allows(node: str, region: str, verb: str, key: str) -> bool:
    return any(
        verb in each.type and (key.startswith(each.key) if each.prefix else key == each.key)
        for each in permissions(node, region, bgp=False)
    )


@pytest.mark.parametrize("bgp", [False, True])
def test_what_is_read_is_what_is_listed(bgp: bool) -> None:
    allowed = {each.key: each for each in permissions("n1", "", bgp=bgp)}
    for range_ in ranges(bgp=bgp):
        assert allowed[range_.prefix].prefix
        assert "read" in allowed[range_.prefix].type


def test_with_bgp_the_status_of_a_node_may_be_answered() -> None:
    statuses = "/calico/resources/v3/projectcalico.org/caliconodestatuses/"
    with_bgp, without = (permissions("n1", "", bgp=bgp) for bgp in (True, False))
    assert set(with_bgp) - set(without) == {
        Permission("readwrite", statuses, prefix=True),
        Permission("read", "/calico/resources/v3/projectcalico.org/bgpfilters/", prefix=True),
        Permission("read", "/calico/ipam/v2/host/", prefix=True),
    }
    assert set(without) <= set(with_bgp)


def test_with_wireguard_the_nodes_own_resource_may_be_rewritten_and_no_other() -> None:
    own = "/calico/resources/v3/projectcalico.org/nodes/n1"
    on, off = (permissions("n1", "", bgp=False, wireguard=on) for on in (True, False))
    assert set(on) - set(off) == {Permission("write", own, prefix=False)}
    assert set(off) <= set(on)
    script = render_script(Role("n1", "", "u", "r", password=True, wireguard=True))
    assert f"etcdctl role grant-permission -- r write {own} &&" in script
    assert "# WireGuard: it publishes its key in the Node n1" in script
    assert "WireGuard" not in render_script(Role("n1", "", "u", "r", password=True))


def test_a_script_for_bgp_grants_what_bgp_needs() -> None:
    script = render_script(Role("n1", "", "u", "r", password=True, bgp=True))
    assert "readwrite /calico/resources/v3/projectcalico.org/caliconodestatuses/" in script
    assert "read /calico/ipam/v2/host/" in script


@pytest.mark.parametrize("region", ["", "eu"])
def test_what_is_written_is_the_nodes_own_status(region: str) -> None:
    endpoints = (WorkloadEndpointKey("n", "k8s", "w", "e"), HostEndpointKey("n", "eth0"))
    for node, allowed in (("n1", True), ("n10", False), ("n", False), ("n1.", False)):
        keys = [endpoint_key(endpoint, node, region) for endpoint in endpoints]
        for key in (*keys, *process_keys(node, region)):
            assert allows("n1", region, "write", key) is allowed
        assert [allows("n1", region, "read", key) for key in keys] == [allowed, allowed]


def test_every_prefix_ends_where_a_name_does() -> None:
    assert all(each.key.endswith("/") for each in permissions("n1", "", bgp=False) if each.prefix)
    writable = [each.key for each in permissions("n1", "", bgp=False) if "write" in each.type]
    assert all("/n1/" in key for key in writable)


@pytest.mark.parametrize(
    ("user", "role"),
    [
        ("", "r"),
        ("a:b", "r"),
        ("a\nb", "r"),
        ("u", "a\0b"),
        ("u", ""),
        ("root", "r"),
        ("u", "root"),
    ],
)
def test_names_that_cannot_be(user: str, role: str) -> None:
    with pytest.raises(RoleError):
        Role("n1", "", user, role, password=True)


class Recorded:
    """The script piped to a shell, with an etcdctl that only notes what it is given."""

    def __init__(self, directory: Path, script: str, shell: str = "sh", **environment: str) -> None:
        program, record = directory / "etcdctl", directory / "record"
        program.write_text(ETCDCTL)
        program.chmod(0o755)
        record.touch()
        path = f"{directory}:{os.environ['PATH']}"
        done = subprocess.run(
            [shell],
            env={"PATH": path, "RECORD": str(record), "THERE": "", **environment},
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        self.code, self.said = done.returncode, done.stderr
        words = record.read_text().split("\0")[:-1]
        self.calls: list[list[str]] = []
        while words:
            count = int(words[0])
            self.calls.append(words[1 : count + 1])
            words = words[count + 1 :]
        stdin = directory / "record.stdin"
        self.stdin = stdin.read_text() if stdin.exists() else ""


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("name", HOSTILE)
def test_names_arrive_as_they_are(tmp_path: Path, name: str, shell: str) -> None:
    script = render_script(Role("n1", "", name, f"r{name}", password=True))
    ran = Recorded(tmp_path, script, shell, **{PASSWORD: "-n pass'word"})
    assert ran.code == 0, ran.said
    role = f"r{name}"
    granted = [
        ["role", "grant-permission", *option, "--", role, each.type, each.key]
        for each in permissions("n1", "", bgp=False)
        for option in (["--prefix=true"] if each.prefix else [],)
    ]
    assert ran.calls == [
        ["role", "get", "--", role],
        ["role", "add", "--", role],
        *granted,
        ["user", "get", "--", name],
        ["user", "add", "--interactive=false", "--", name],
        ["user", "grant-role", "--", name, role],
    ]
    assert ran.stdin == "-n pass'word\n"


def test_without_the_password_no_user_is_made(tmp_path: Path) -> None:
    ran = Recorded(tmp_path, render_script(Role("n1", "", "u", "r", password=True)))
    assert ran.code != 0
    assert f"{PASSWORD}: is not set" in ran.said
    assert ran.calls[-1] == ["user", "get", "--", "u"]


def test_a_users_certificate_needs_no_password(tmp_path: Path) -> None:
    ran = Recorded(tmp_path, render_script(Role("n1", "", "u", "r", password=False)))
    assert ran.code == 0
    assert ["user", "add", "--no-password", "--", "u"] in ran.calls


def test_what_is_there_already_is_not_made_again(tmp_path: Path) -> None:
    script = render_script(Role("n1", "", "same", "same", password=True))
    ran = Recorded(tmp_path, script, THERE="same")
    assert ran.code == 0
    assert not [call for call in ran.calls if call[1] == "add"]


def test_a_failure_is_the_scripts_failure(tmp_path: Path) -> None:
    script = render_script(Role("n1", "", "u", "r", password=False))
    assert Recorded(tmp_path, script, FAILS="3").code == 3
