from pathlib import Path

import pytest

from dataplane.bird.settings import BirdSettings
from dataplane.bird.sweep import OURS, Swept, sweep
from tests.dataplane.bird.fake_bird import FakeBird

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.conf"))


def test_what_we_write_begins_so() -> None:
    assert GOLDEN
    for path in GOLDEN:
        assert path.read_text().startswith(OURS), path.name


@pytest.mark.parametrize("text", [None, "", "log syslog all;\n"])
async def test_nothing_is_touched_where_no_bird_ran_for_us(
    tmp_path: Path, text: str | None
) -> None:
    settings = BirdSettings(config_file=tmp_path / "f.conf", control_socket=tmp_path / "f.ctl")
    if text is not None:
        settings.config_file.write_text(text)
    assert await sweep(settings, dry_run=True) == Swept()


@pytest.mark.parametrize("whose", ["ours", "another"])
@pytest.mark.parametrize("hangs", [False, True])
async def test_nothing_is_touched_while_a_bird_listens(
    tmp_path: Path, whose: str, hangs: bool
) -> None:
    ours, other = tmp_path / "f.ctl", tmp_path / "other.ctl"
    settings = BirdSettings(config_file=tmp_path / "f.conf", control_socket=ours)
    settings.config_file.write_text(f"{OURS}\n")
    socket = ours if whose == "ours" else other
    async with FakeBird(socket, settings.config_file) as bird:
        bird.dies_on = "show" if hangs else ""
        found = await sweep(settings, other_sockets=(other,))
    assert found == Swept(held=f"a BIRD listens at {socket}")
    assert settings.config_file.exists()
