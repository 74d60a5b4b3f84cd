"""The store in the run directory: what lies where, what goes when, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from felixpy.statusrep.directory import DirectoryStatusStore
from felixpy.statusrep.store import StatusStore, StatusUnwritableError

HOST = "/calico/felix/v2/no-region/host/n1/"
POD = HOST + "workload/k8s/prod%2fpod-1/endpoint/eth0"


@pytest.fixture
def store(tmp_path: Path) -> StatusStore:
    return DirectoryStatusStore(tmp_path)


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


async def test_a_key_is_a_path_that_all_may_read(store: StatusStore, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        await store.put(POD, b"1")
    finally:
        os.umask(before)
    path = tmp_path / "status/felix/v2/no-region/host/n1/workload/k8s/prod%2fpod-1/endpoint/eth0"
    assert path.read_bytes() == b"1"
    assert path.stat().st_mode & 0o777 == 0o644
    inner = [p for p in path.parents if p.is_relative_to(tmp_path / "status")]
    assert {p.stat().st_mode & 0o777 for p in inner} == {0o755}
    assert files(tmp_path) == {str(path.relative_to(tmp_path))}  # nothing is left beside it


async def test_reading_is_by_prefix(store: StatusStore, tmp_path: Path) -> None:
    for number, key in enumerate((POD, HOST + "status", HOST[:-1] + "0/status")):
        await store.put(key, str(number).encode())
    assert await store.read(HOST) == {POD: b"0", HOST + "status": b"1"}
    assert set(await store.read(HOST[:-1])) == {POD, HOST + "status", HOST[:-1] + "0/status"}
    assert set(await store.read("/calico/")) == set(await store.read(HOST[:-1]))
    assert await store.read(HOST + "nothing/here/") == {}
    assert await store.read(POD + "/") == {}


async def test_what_is_removed_leaves_no_directories(store: StatusStore, tmp_path: Path) -> None:
    await store.put(POD, b"1")
    await store.put(HOST + "status", b"1")
    await store.delete(POD)
    await store.delete(POD)
    await store.delete(HOST + "status/below")
    assert files(tmp_path) == {"status" + (HOST + "status").removeprefix("/calico")}
    assert not (tmp_path / "status/felix/v2/no-region/host/n1/workload").exists()
    await store.delete(HOST.rstrip("/"))  # a directory is no key
    assert set(await store.read("/calico/")) == {HOST + "status"}


@pytest.mark.parametrize("crash", [False, True])
async def test_a_lease_ends_with_its_writer(
    store: StatusStore, tmp_path: Path, *, crash: bool
) -> None:
    await store.put(HOST + "status", b"1", ttl=90.0)
    await store.put(HOST + "status", b"2", ttl=90.0)
    await store.put(HOST + "last_reported_status", b"2")
    await store.put(HOST + "settled", b"1", ttl=90.0)
    await store.put(HOST + "settled", b"2")
    if not crash:
        await store.close()
        await store.close()
    assert any(name.endswith("/status") for name in files(tmp_path)) == crash
    next_one = DirectoryStatusStore(tmp_path)
    assert await next_one.read(HOST) == {
        HOST + "last_reported_status": b"2",
        HOST + "settled": b"2",
    }
    assert not (tmp_path / "status.leases").exists()


async def test_a_record_of_leases_that_is_not_ours(store: StatusStore, tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    (tmp_path / "status.leases").write_text('["/calico/../kept", "/calico/felix/x"]')
    assert await store.read("/calico/") == {}
    (tmp_path / "status.leases").write_text("{")
    await DirectoryStatusStore(tmp_path).put(POD, b"1", ttl=1.0)
    assert (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/calico/",
        "/calico",
        "felix",
        "/etc/passwd",
        "/calico/../kept",
        "/calico/felix/../../../kept",
        "/calico/felix/./x",
        "/calico/felix//x",
        "/calico//etc/passwd",
        "/calico/felix/x/",
        "/calico/felix/..",
        "/calico/fel\0ix",
        "/calico/\ud800",
        "/calico/" + "x" * 256,
        "/calico/" + "é" * 128,
        "/calico/x" + "/yyyyyyy" * 120,
    ],
)
async def test_names_that_are_refused(store: StatusStore, tmp_path: Path, key: str) -> None:
    (tmp_path / "kept").touch()
    for ttl in (None, 1.0):
        with pytest.raises(StatusUnwritableError):
            await store.put(key, b"1", ttl)
    with pytest.raises(StatusUnwritableError):
        await store.delete(key)
    await store.close()
    assert files(tmp_path) == {"kept"}


async def test_what_the_system_refuses_is_said(store: StatusStore, tmp_path: Path) -> None:
    await store.put(HOST + "status", b"1")
    with pytest.raises(StatusUnwritableError, match="Not a directory"):
        await store.put(HOST + "status/below", b"1")
    with pytest.raises(StatusUnwritableError, match="Is a directory"):
        await store.put(HOST.rstrip("/"), b"1")
    with pytest.raises(StatusUnwritableError, match="No such file"):
        await DirectoryStatusStore(tmp_path / "nowhere").put(POD, b"1")


async def test_links_are_not_followed(store: StatusStore, tmp_path: Path) -> None:
    await store.put(POD, b"1")
    (tmp_path / "secret").write_text("2")
    (tmp_path / "status/felix/link").symlink_to(tmp_path / "secret")
    assert set(await store.read("/calico/")) == {POD}
    await store.put("/calico/felix/link", b"3")
    assert (tmp_path / "secret").read_text() == "2"
