"""From settings to a Config: who decides, what the text means, and what becomes of a mistake.

    sources, highest first -> one value each -> checks across parameters -> Resolved

At the start a mistake in a parameter that security rests on is an error and ends it; any other is
a warning, and the built-in default holds.  While the agent runs, the last good value is kept in
both cases.  A value that loses to a higher source is read too: its mistakes are mentioned, and
at the start an error among them counts.
Source: projectcalico/calico felix/config/config_params.go, whose panics these answers replace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, structs

from felixpy.config import marks
from felixpy.config.etcd import ETCD, Said, choose_datastore
from felixpy.config.parameter import Parameter
from felixpy.config.parameters import (
    PARAMETERS,
    RETIRED,
    TYPHA,
    WITHOUT_EFFECT,
    Config,
    canonical,
    closest,
)
from felixpy.config.problems import ConfigError, Problem, error, warning
from felixpy.config.sources import DISCOVERY, Rank, Setting, Source
from felixpy.config.to_ipsec import ipsec_claims, ipsec_faults, ipsec_oddities
from felixpy.config.to_wireguard import wireguard_faults
from felixpy.config.types import BOOL

# One choice: parts of an old and a new one together might lead elsewhere than either.
_CHOSEN_TOGETHER = ("DatastoreType", *ETCD)
_TABLES = ("RouteTableRange", "RouteTableRanges")
_WIREGUARD = (*_TABLES, *(name for name in PARAMETERS if name.startswith("Wireguard")))
_IPSEC = ("IptablesMarkMask", *(name for name in PARAMETERS if name.startswith("IPsec")))
_NOT_BUILT = "has no effect: this version of felixpy does not do that yet"


class Resolved(Struct, frozen=True):
    """The outcome.

    origins   parameter -> the place that decided; absent: the built-in default
    given     parameter -> all that was said of it, the deciding one first
    problems  in the order in which they were met
    """

    config: Config
    origins: dict[str, str]
    given: dict[str, tuple[Setting, ...]]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(each for each in self.problems if each.severity == "error")


def resolve(sources: Iterable[Source], previous: Config | None = None) -> Resolved:
    """The configuration in force.

    Args:
        sources: in any order
        previous: what has been in force so far; None at the start

    Raises:
        ConfigError: at the start only; it carries all problems.
    """
    resolved = examine(sources, previous)
    if previous is None and resolved.errors:
        raise ConfigError(resolved.problems)
    return resolved


def examine(sources: Iterable[Source], previous: Config | None = None) -> Resolved:
    """As `resolve`, but errors are left to the reader: for showing a configuration, not for use."""
    resolution = _Resolution(previous)
    for source in sorted(sources, key=lambda source: source.rank, reverse=True):
        resolution.problems += source.problems
        for setting in source.settings:
            if setting.text:
                resolution.take(source.rank, setting)
    resolution.check()
    return Resolved(
        config=Config(**resolution.values),
        origins=resolution.origins,
        given={name: tuple(settings) for name, settings in resolution.given.items()},
        problems=tuple(resolution.problems),
    )


class _Resolution:
    """Settings are taken highest source first; the first one of a parameter decides."""

    def __init__(self, previous: Config | None) -> None:
        self._previous = previous
        self.values: dict[str, Any] = {}  # by attribute
        self.origins: dict[str, str] = {}
        self.given: dict[str, list[Setting]] = {}
        self.problems: list[Problem] = []
        self._deciding: dict[str, Rank] = {}
        self._refused: set[str] = set()
        self._claimed: dict[str, str] = {}  # by IPsec, against the datastore -> why
        self._discovery: Setting | None = None

    def take(self, rank: Rank, setting: Setting) -> None:
        name = canonical(setting.name)
        if setting.name == DISCOVERY and rank is Rank.CLIENT:
            self._discovery = setting
        elif name is None:
            self._warn(setting, _unknown(setting.name))
        elif name in RETIRED:
            self._warn(setting, f"has no effect: {RETIRED[name]}")
        elif name in WITHOUT_EFFECT:
            self._take_without_effect(name, setting)
        elif PARAMETERS[name].local and not rank.local:
            self._warn(setting, "is ignored: only the file and the environment may set it")
        else:
            self._take_known(PARAMETERS[name], rank, setting)

    def _warn(self, setting: Setting, reason: str) -> None:
        self.problems.append(warning(setting.where, setting.name, reason))

    def _take_without_effect(self, name: str, setting: Setting) -> None:
        decides = name not in self.given
        self.given.setdefault(name, []).append(setting)
        if not decides or setting.text.lower() == "none":
            return
        if name in TYPHA:
            self._warn(setting, "has no effect: felixpy asks the datastore itself, not Typha")
        elif name == "BPFEnabled" and _is_true(setting.text):
            self._warn(setting, "has no effect: felixpy has no eBPF dataplane and uses iptables")

    def _take_known(self, parameter: Parameter[Any], rank: Rank, setting: Setting) -> None:
        decides = parameter.name not in self.given
        self._deciding.setdefault(parameter.name, rank)
        self.given.setdefault(parameter.name, []).append(setting)
        try:
            value = _read(parameter, setting.text)
        except ValueError as reason:
            self._refuse(parameter, setting, str(reason), decides=decides)
            return
        if decides:
            self.values[parameter.attribute] = value
            self.origins[parameter.name] = setting.where
            self._mention_later(parameter, setting, value)

    def _refuse(
        self, parameter: Parameter[Any], setting: Setting, reason: str, *, decides: bool
    ) -> None:
        stops = parameter.fatal or (parameter.required and setting.text.lower() == "none")
        said = f"= {parameter.quote(setting.text)}: {reason}; allowed: {parameter.type.allowed}"
        if not decides:
            said += "; not used, as it is also set elsewhere"
        elif self._previous is not None or not stops:
            said += f"; {self._fall_back(parameter, setting)}"
        if decides:
            self._refused.add(parameter.name)
        report = error if stops else warning
        self.problems.append(report(setting.where, parameter.name, said))

    def _fall_back(self, parameter: Parameter[Any], setting: Setting) -> str:
        """Keep the last good value, or at the start the default; says which."""
        if self._previous is None:
            value, kind = parameter.default, "default"
        else:
            value, kind = getattr(self._previous, parameter.attribute), "value so far"
        self.values[parameter.attribute] = value
        self.origins[parameter.name] = f"{kind}, as {setting.where} is not valid"
        return f"the {kind} is kept: {parameter.show(value)}"

    def _mention_later(self, parameter: Parameter[Any], setting: Setting, value: object) -> None:
        if parameter.effect != "later":
            return
        if value not in (parameter.default, parameter.type.zero, *parameter.quiet):
            self._warn(setting, f"= {parameter.show(value)} {_NOT_BUILT}")

    # ------------------------------------------------------------ across parameters

    def check(self) -> None:
        self._check_datastore()
        self._check_hostname()
        self._heed_claims()  # WireGuard would need a bit of the mask
        self._check_marks()
        self._check_wireguard()
        self._check_ipsec()

    def _check_datastore(self) -> None:
        if not self._refused.isdisjoint(_CHOSEN_TOGETHER):
            self._keep(*_CHOSEN_TOGETHER)
            return
        client = [name for name, rank in self._deciding.items() if rank is Rank.CLIENT]
        values = {name: self._value(name) for name in _CHOSEN_TOGETHER}
        choice = choose_datastore(Said(values, self.origins, frozenset(client), self._discovery))
        self.problems += choice.problems
        self.origins |= choice.origins
        for name, value in choice.values.items():
            self.values[PARAMETERS[name].attribute] = value
        if any(problem.severity == "error" for problem in choice.problems):
            self._keep(*_CHOSEN_TOGETHER)

    def _check_hostname(self) -> None:
        if "FelixHostname" not in self.given:
            reason = "is not set, and the machine has no host name"
            self.problems.append(error("configuration", "FelixHostname", reason))
            self._keep("FelixHostname")

    def _check_marks(self) -> None:
        wireguard = bool(self._value("WireguardEnabled") or self._value("WireguardEnabledV6"))
        try:
            marks.allocate(self._value("IptablesMarkMask"), wireguard=wireguard)
        except ValueError as reason:
            parameter = PARAMETERS["IptablesMarkMask"]
            self._refuse(parameter, self.given[parameter.name][0], str(reason), decides=True)
            # the mask may be as before, and WireGuard what asks for one bit too many
            self._keep("WireguardEnabled", "WireguardEnabledV6")

    def _check_wireguard(self) -> None:
        if self._report_faults(wireguard_faults(self._value)):
            self._keep(*_WIREGUARD)

    def _heed_claims(self) -> None:
        for name, claimed, reason in ipsec_claims(self._value):
            rank = self._deciding.get(name)
            if self._value(name) == claimed or (rank is not None and rank.local):
                continue
            self.values[PARAMETERS[name].attribute] = claimed
            if rank is not None:
                self.origins[name] = f"IPsecEnabled, not {self.given[name][0].where}"
                self._claimed[name] = reason

    def _check_ipsec(self) -> None:
        if self._report_faults(ipsec_faults(self._value)):
            self._keep(*_IPSEC, *self._claimed)
        # what was kept may be that IPsec is off, or WireGuard of a time when it was
        self._heed_claims()
        if self._value("IPsecEnabled"):
            for name, reason in self._claimed.items():
                where = self.given[name][0].where
                self.problems.append(structs.replace(warning(where, name, reason), standing=True))
        for name, reason in ipsec_oddities(self._value):
            self._warn(self.given[name][0], reason)

    def _report_faults(self, faults: Iterable[tuple[str, str]]) -> bool:
        """Whether there are any."""
        found = False
        for name, reason in faults:
            found = True
            given = self.given.get(name)
            where = given[0].where if given else "configuration"
            said = f"= {PARAMETERS[name].show(self._value(name))}: {reason}"
            self.problems.append(error(where, name, said))
        return found

    def _value(self, name: str) -> Any:
        parameter = PARAMETERS[name]
        return self.values.get(parameter.attribute, parameter.default)

    def _keep(self, *names: str) -> None:
        """While running, what the parameters were stays; at the start there is nothing to keep."""
        if self._previous is not None:
            for name in names:
                attribute = PARAMETERS[name].attribute
                self.values[attribute] = getattr(self._previous, attribute)


def _read(parameter: Parameter[Any], text: str) -> Any:
    if text.lower() != "none":
        return parameter.type.parse(text)
    if parameter.required:
        raise ValueError("cannot be none")
    return parameter.type.zero


def _is_true(text: str) -> bool:
    try:
        return BOOL.parse(text)
    except ValueError:
        return False


def _unknown(name: str) -> str:
    likely = closest(name)
    if not likely:
        return "is not a parameter"
    return f"is not a parameter; is {_words(likely)} meant?"


def _words(words: Sequence[str]) -> str:
    return " or ".join(words)
