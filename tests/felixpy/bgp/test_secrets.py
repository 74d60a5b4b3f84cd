"""Secrets over a real directory: whoever wants a password hears of it when it becomes another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

import pytest
import structlog

from calc_graph.bgp.resources import SecretRef
from felixpy.bgp.secrets import Secrets
from tests.felixpy.bgp.secret_texts import HIDDEN, REF, secret, write

PATIENCE = 20  # seconds until a test that waits gives up
OTHER = SecretRef("other", "k")


@pytest.fixture
def root(tmp_path):
    directory = tmp_path / "deep" / "secrets"
    directory.mkdir(parents=True, mode=0o700)
    return directory


class Watching:
    def __init__(self, root, refs=(REF,)) -> None:
        self.called = 0
        self._event = asyncio.Event()
        self.secrets = Secrets(root, "calico-system", None, self._note)
        self.secrets.want(frozenset(refs))

    def _note(self) -> None:
        self.called += 1
        self._event.set()

    def password(self, ref: SecretRef = REF) -> str | None:
        found = self.secrets.credentials()[ref].password
        return None if found is None else found.reveal()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._event.clear()
                await self._event.wait()

    async def until_password(self, text: str | None) -> None:
        await self.until(lambda: self.password() == text)


@contextlib.asynccontextmanager
async def watching(root, refs=(REF,)) -> AsyncIterator[Watching]:
    found = Watching(root, refs)
    task = asyncio.create_task(found.secrets.run())
    await asyncio.sleep(0.05)  # what changes before it watches has to wait for a second
    try:
        yield found
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_all_is_known_before_anything_runs(root):
    write(root / "a.yaml", secret("one"))
    found = Secrets(root, "calico-system", None, lambda: None)
    assert not found.credentials()
    found.want(frozenset((REF, OTHER)))
    assert found.credentials().keys() == {REF, OTHER}
    assert found.credentials()[REF].password.reveal() == "one"
    assert found.credentials()[OTHER].password is None
    assert list(found.problems()) == ["Secret other/k"]
    found.want(frozenset((REF,)))
    assert not found.problems()


async def test_a_file_replaced_by_a_rename(root):
    write(root / "a.yaml", secret("one"))
    async with watching(root) as found:
        write(root / "a.yaml", secret("two"))
        await found.until_password("two")
        write(root / "a.yaml", secret("three"))
        await found.until_password("three")
        assert found.called == 2


async def test_a_file_written_in_place_is_read_when_it_is_whole(root):
    write(root / "a.yaml", secret("one"))
    seen = []
    async with watching(root) as found:
        with (root / "a.yaml").open("w") as file:
            for part in (secret("two")[:20], secret("two")[20:]):
                file.write(part)
                file.flush()
                await asyncio.sleep(0.05)
                seen.append(found.password())
        await found.until_password("two")
        assert seen == ["one", "one"]
        assert found.called == 1


async def test_removed_and_written_anew_is_no_loss(root):
    write(root / "a.yaml", secret("one"))
    async with watching(root) as found:
        write(root / "b.yaml", secret("x", name="other", key="k"))
        (root / "a.yaml").unlink()
        write(root / "a.yaml", secret("one"))
        write(root / "b.yaml", secret("y", name="mark"))
        found.secrets.want(frozenset((REF, SecretRef("mark", REF.key))))
        await found.until(lambda: found.password(SecretRef("mark", REF.key)) == "y")
        assert found.password() == "one"
        (root / "a.yaml").unlink()
        await found.until_password(None)


async def test_the_directory_may_come_later_and_go_and_return(root):
    root.rmdir()
    root.parent.rmdir()
    async with watching(root) as found:
        assert found.password() is None
        root.mkdir(parents=True, mode=0o700)
        write(root / "a.yaml", secret("one"))
        await found.until_password("one")
        root.rename(root.with_name("away"))
        await found.until(lambda: bool(found.secrets.problems()))
        assert found.password() == "one"
        root.with_name("away").rename(root)
        await found.until(lambda: not found.secrets.problems())


async def test_as_kubernetes_mounts_it(root):
    """..data is a link to a directory with a date, and is replaced by a rename."""

    def mount(stamp: str, value: str) -> None:
        (root / stamp).mkdir(mode=0o700)
        write(root / stamp / "bgp.yaml", secret(value))
        (root / "..data_tmp").symlink_to(stamp)
        (root / "..data_tmp").rename(root / "..data")

    root.chmod(0o1777)
    mount("..2026_01", "one")
    (root / "bgp.yaml").symlink_to("..data/bgp.yaml")
    async with watching(root) as found:
        assert found.password() == "one"
        mount("..2026_02", "two")
        await found.until_password("two")
        assert not found.secrets.problems()


async def test_permissions_count_as_soon_as_they_change(root):
    write(root / "a.yaml", secret("one"))
    async with watching(root) as found:
        (root / "a.yaml").chmod(0o644)
        await found.until_password(None)
        assert found.secrets.problems()[f"{root}/a.yaml"].startswith("others than root")
        (root / "a.yaml").chmod(0o600)
        await found.until_password("one")
        root.parent.chmod(0o777)
        await found.until_password(None)
        root.parent.chmod(0o700)
        await found.until_password("one")


async def test_what_is_not_wanted_calls_nobody(root):
    write(root / "a.yaml", secret("one"))
    write(root / "b.yaml", secret("x", name="other", key="k"))
    async with watching(root) as found:
        write(root / "b.yaml", secret("y", name="other", key="k"))
        await asyncio.sleep(0.1)
        write(root / "a.yaml", secret("two"))
        await found.until_password("two")
        assert found.called == 1


async def test_no_password_in_the_log_whatever_happens(root, caplog):
    structlog.configure(
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    texts = [
        secret(HIDDEN), secret(f"{HIDDEN} {HIDDEN}"), secret(f"{HIDDEN}\n"), secret(HIDDEN * 9),
        secret(f'{HIDDEN}"'), secret(HIDDEN, key="z"), f"stringData: {{k: {HIDDEN}", f"[{HIDDEN}]",
        f"{HIDDEN}: a\n{HIDDEN}: b\n", f"!{HIDDEN} x", f"a: *{HIDDEN}", secret(HIDDEN),
    ]  # fmt: skip
    spoken = []
    with caplog.at_level(logging.DEBUG):
        write(root / "a.yaml", texts[0])
        async with watching(root) as found:
            for number, text in enumerate(texts):
                write(root / "a.yaml", text)
                mark = SecretRef("mark", f"k{number}")
                write(root / "mark.yaml", secret("x", name=mark.name, key=mark.key))
                found.secrets.want(frozenset((REF, mark)))
                await found.until(lambda m=mark: found.password(m) == "x")
                spoken += [str(found.secrets.problems()), repr(found.secrets.credentials())]
            spoken.append(repr(vars(found.secrets)))
    structlog.reset_defaults()
    assert "secret.problem" in caplog.text
    assert "secret.changed" in caplog.text
    assert "secret.holds_a_space" in caplog.text
    for text in (caplog.text, *spoken):
        assert HIDDEN not in text
