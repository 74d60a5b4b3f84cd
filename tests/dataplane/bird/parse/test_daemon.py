from pathlib import Path

import pytest

from dataplane.bird.control import BirdAway
from dataplane.bird.parse.daemon import DaemonStatus, daemon_status
from dataplane.bird.settings import BirdSettings
from tests.dataplane.bird.fake_bird import recorded, speaking


async def status_of(tmp_path: Path, text: str) -> DaemonStatus:
    async with speaking(tmp_path / "ctl", text.encode()):
        return await daemon_status(BirdSettings(control_socket=tmp_path / "ctl"))


async def test_up(tmp_path: Path) -> None:
    assert await status_of(tmp_path, recorded("status")) == DaemonStatus(
        version="2.0.12",
        router_id="10.0.0.1",
        hostname="n1",
        now="2026-11-21 19:33:07",
        booted="2026-11-21 19:33:03",
        reconfigured="2026-11-21 19:33:03",
    )


async def test_recovering(tmp_path: Path) -> None:
    found = await status_of(tmp_path, recorded("status-recovering"))
    assert found.recovering.startswith("Waiting for 2 channels to recover; Wait timer is ")
    assert (found.version, found.reconfiguring) == ("2.0.12", False)


async def test_reconfiguring(tmp_path: Path) -> None:
    text = recorded("status")
    assert (await status_of(tmp_path, text)).running_seconds == 4.0
    busy = text.replace("Daemon is up and running", "Reconfiguration in progress")
    found = await status_of(tmp_path, busy)
    assert found.reconfiguring
    assert found.running_seconds is None


async def test_lines_that_it_does_not_know(tmp_path: Path) -> None:
    text = recorded("status").replace("0013 Daemon", "1010-Something else\n 0013 new\n0013 Daemon")
    assert (await status_of(tmp_path, text)).reconfigured == "2026-11-21 19:33:03"


@pytest.mark.parametrize("cut", ["Last reboot on 2026-11-21 19:33:03", "2026-11-21 19:33:03"])
async def test_a_status_that_pybird_cannot_read(tmp_path: Path, cut: str) -> None:
    """Of a daemon that does not run with our configuration: its times are in another form."""
    with pytest.raises(BirdAway, match="cannot read") as away:
        await status_of(tmp_path, recorded("status").replace(cut, "yesterday"))
    assert not away.value.absent


def test_times_that_cannot_be_read() -> None:
    assert DaemonStatus(now="19:33", reconfigured="").running_seconds is None
