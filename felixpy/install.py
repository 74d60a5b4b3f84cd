"""`felixpy install` and `felixpy uninstall`: what goes where on a machine, and what leaves it.

    /usr/local/lib/felixpy/                     everything the command needs, whatever becomes of
                                                the checkout that it was installed from
    /usr/local/bin/felixpy                      -> ../lib/felixpy/bin/felixpy
    /usr/local/lib/systemd/system/felixpy.service, felixpy-bird.service
    /usr/local/share/…                          completion for bash, zsh and fish
    /etc/felixpy.cfg, /etc/felixpy/manifests/   only where they do not exist

felixpy-hardened.cfg, an example, stays below /usr/local/lib/felixpy/share/felixpy/etc.

That is where Debian expects what an administrator built: /usr belongs to packages, and units in
/etc/systemd/system are the administrator's own and override ours.  What we put there is recorded
with its hash; a file that no longer matches was changed by hand and is kept, by both commands.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from felixpy import bundle, completion, exits
from felixpy.cli import build_parser
from felixpy.library import Library
from felixpy.placing import Placer

UNIT = "felixpy.service"
BIRD_UNIT = "felixpy-bird.service"
UNITS = (UNIT, BIRD_UNIT)
PREFIX = PurePosixPath("/usr/local")


class InstallError(Exception):
    """It cannot be done; the message says why."""


class Machine(NamedTuple):
    """What is asked of the machine beside its files."""

    is_root: bool
    has_systemd: bool
    systemctl: Callable[[Sequence[str]], None]

    @classmethod
    def this(cls) -> Machine:
        # systemd's own test for "it is the init system here": sd_booted(3)
        return cls(os.geteuid() == 0, Path("/run/systemd/system").is_dir(), _systemctl)


class Layout(NamedTuple):
    """`root` stands for /, as for a package or an image in the making."""

    root: Path = Path("/")
    prefix: PurePosixPath = PREFIX

    @property
    def library(self) -> PurePosixPath:
        return self.prefix / "lib/felixpy"

    @property
    def command(self) -> PurePosixPath:
        return self.prefix / "bin/felixpy"

    @property
    def units(self) -> PurePosixPath:
        return self.prefix / "lib/systemd/system"

    @property
    def completions(self) -> dict[str, PurePosixPath]:
        share = self.prefix / "share"
        return {
            "bash": share / "bash-completion/completions/felixpy",
            "zsh": share / "zsh/site-functions/_felixpy",
            "fish": share / "fish/vendor_completions.d/felixpy.fish",
        }

    @property
    def is_live(self) -> bool:
        return self.root == Path("/")


def install(
    *,
    root: Path = Path("/"),
    prefix: PurePosixPath = PREFIX,
    dry_run: bool = False,
    now: bool = False,
    machine: Machine | None = None,
) -> int:
    """Install, or bring an earlier installation up to date, and print a line for each thing done.

    With `now` the service is enabled and started as well; BIRD's is not, for it is of use with
    BGPEnabled only.  Returns an exit status.
    """
    try:
        return _install(Layout(root, prefix), machine or Machine.this(), dry_run=dry_run, now=now)
    except (InstallError, bundle.BundleError, OSError) as error:
        return _failed(error)


def uninstall(
    *,
    root: Path = Path("/"),
    prefix: PurePosixPath = PREFIX,
    dry_run: bool = False,
    machine: Machine | None = None,
) -> int:
    """Take away what install put there; configuration, and what felixpy told the kernel, stays."""
    try:
        return _uninstall(Layout(root, prefix), machine or Machine.this(), dry_run=dry_run)
    except (InstallError, OSError) as error:
        return _failed(error)


def _install(layout: Layout, machine: Machine, *, dry_run: bool, now: bool) -> int:
    _refuse_unless_root(layout, machine, "install")
    library = Library(layout.root, layout.library)
    placer = Placer(layout.root, library.read_record(), _say, dry_run=dry_run)
    data = bundle.data_files()
    os.umask(0o022)  # everybody may run `felixpy status`, whoever installed it
    if library.build(placer, data):
        _say(f"{placer.would}write {layout.library}/")
    target = os.path.relpath(layout.library / "bin/felixpy", layout.command.parent)
    placer.link(layout.command, target)
    for name in UNITS:
        unit = data[PurePosixPath("systemd", name)].read_text()
        placer.place(layout.units / name, unit.replace(f"{PREFIX}/", f"{layout.prefix}/"))
    for shell, path in layout.completions.items():
        placer.place(path, completion.render_completion(build_parser(), shell))
    _place_configuration(placer, data)
    if not dry_run:
        library.write_record(placer.record)
    return _start(layout, placer, machine, now=now)


def _uninstall(layout: Layout, machine: Machine, *, dry_run: bool) -> int:
    _refuse_unless_root(layout, machine, "uninstall")
    library = Library(layout.root, layout.library)
    placer = Placer(layout.root, library.read_record(), _say, dry_run=dry_run)
    if not library.exists():
        _say(f"felixpy is not installed in {layout.prefix}")
        return exits.OK
    if layout.is_live and machine.has_systemd:
        for name in UNITS:
            _call(machine, placer, "disable", "--now", name)
    for path in sorted(placer.record):
        placer.remove(PurePosixPath(path))
    _say(f"{placer.would}remove {layout.library}/")
    if not dry_run:
        library.remove()
    if layout.is_live and machine.has_systemd:
        _call(machine, placer, "daemon-reload")
    _say("left as they are: /etc/felixpy.cfg and /etc/felixpy/")
    _say("left in force: what felixpy wrote into the kernel, until this machine starts anew")
    return exits.OK


def _place_configuration(placer: Placer, data: dict[PurePosixPath, Path]) -> None:
    """The user's from the first moment on: written where absent, never again, never removed."""
    placer.place_once(PurePosixPath("/etc/felixpy.cfg"), data[PurePosixPath("etc/felixpy.cfg")])
    manifests = PurePosixPath("/etc/felixpy/manifests")
    if placer.exists(manifests):
        # an example that the user has deleted stays deleted
        return
    for name, path in data.items():
        if name.parent == PurePosixPath("etc/manifests"):
            placer.place_once(manifests / name.name, path)


def _start(layout: Layout, placer: Placer, machine: Machine, *, now: bool) -> int:
    if not layout.is_live:
        return exits.OK
    by_hand = f"{layout.command} run --config /etc/felixpy.cfg"
    if not machine.has_systemd:
        _say(
            "systemd does not run this machine, so nothing starts felixpy by itself;"
            f" by hand: {by_hand}"
        )
        return exits.FAILED if now else exits.OK
    _call(machine, placer, "daemon-reload")
    if now:
        _call(machine, placer, "enable", "--now", UNIT)
    else:
        _say(f"nothing was started; systemctl enable --now {UNIT} does, now and at every boot")
    _say(f"for BGP, with BGPEnabled: systemctl enable --now {BIRD_UNIT}")
    return exits.OK


def _refuse_unless_root(layout: Layout, machine: Machine, verb: str) -> None:
    if layout.is_live and not machine.is_root:
        raise InstallError(f"this needs root: sudo felixpy {verb}")
    if not layout.prefix.is_absolute():
        raise InstallError(f"the prefix must be an absolute path, not {layout.prefix}")


def _call(machine: Machine, placer: Placer, *words: str) -> None:
    _say(f"{placer.would}run systemctl {' '.join(words)}")
    if not placer.dry_run:
        machine.systemctl(words)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _failed(error: Exception) -> int:
    sys.stderr.write(f"felixpy: {error}\n")
    return exits.FAILED


def _systemctl(words: Sequence[str]) -> None:
    try:
        subprocess.run(["systemctl", *words], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise InstallError(f"systemctl {' '.join(words)}: {error.stderr.strip()}") from error
