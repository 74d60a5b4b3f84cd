"""One packet on its way through the kernel's hooks, stage by stage as the chains are rendered.

    from elsewhere   raw PREROUTING      may the source be here? untracked policy
                     mangle PREROUTING   pre-DNAT policy
      to the host    filter INPUT        a workload's egress and what it may ask of the host; or a
                                         host endpoint's ingress
      passing        filter FORWARD      applyOnForward in, workload egress, workload ingress,
                                         applyOnForward out, looping service addresses
    from the host    raw OUTPUT          untracked policy
                     filter OUTPUT       a host endpoint's egress
                     mangle POSTROUTING  the same for translated traffic

A stage ends in "deny", in "accept", which skips the other stages of its hook, or in None: the next
stage is asked.  Source: projectcalico/calico felix/rules/static.go and endpoints.go; sections 1.2
to 1.7 and 1.13 of the rules reference.  What is followed is dataplane/render/.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import structs

from calc_graph.judge.endpoints import ANY_INTERFACE
from calc_graph.judge.failsafe import Failsafes
from calc_graph.judge.flow import Flow
from calc_graph.judge.known import Known
from calc_graph.judge.packets import (
    has_no_reverse_path,
    is_bootstrap,
    is_dhcp_request,
    is_tunnel,
)
from calc_graph.judge.rules import Facts, mask_and_value
from calc_graph.judge.settings import HostView, JudgeSettings
from calc_graph.judge.tiers import Site, ask_profiles, ask_tiers
from calc_graph.judge.verdict import Direction, Hook, Outcome, Reason, Step, Verdict
from calc_graph.updates import HostEndpointUpdate

_End: TypeAlias = Literal["accept", "deny"] | None

_LOOPBACK = "lo"


class Trial:
    def __init__(
        self,
        known: Known,
        settings: JudgeSettings,
        failsafes: Failsafes,
        view: HostView,
        flow: Flow,
    ) -> None:
        self._known = known
        self._settings = settings
        self._failsafes = failsafes
        self._view = view
        self._flow = flow
        self._governed = known.hosts.governed(view)
        self._arriving, self._facts = _facts(known, flow)  # before and after translation
        self._established = flow.established
        self._accepted = False  # the accept mark
        self._final = True
        self._path: list[Step] = []

    def verdict(self) -> Verdict:
        if self._flow.family == 6 and not self._settings.ipv6:
            allowed, self._final = True, False
        else:
            allowed = self._travel()
        path = self._path
        if not path:
            self._note(_last_site(self._flow), "none", Reason.NOT_GOVERNED)
        if not allowed:
            return Verdict(False, True, path[-1], tuple(path))
        decision = next((s for s in reversed(path) if s.outcome == "allow"), path[-1])
        required = [s for s in path if s.outcome == "allow" and s.policy in self._known.encrypted]
        return Verdict(
            True,
            self._final,
            decision,
            tuple(path),
            encrypted=bool(required),
            in_clear=next(filter(None, map(self._in_clear, required)), None),
        )

    def _in_clear(self, step: Step) -> Step | None:
        """Ingress must have come encrypted, egress must leave so; neither stays on this host."""
        flow = self._flow
        interface = flow.in_interface if step.direction == "ingress" else flow.out_interface
        device = self._settings.wireguard_devices[0 if flow.family == 4 else 1]
        if interface in (None, _LOOPBACK, device):
            return None
        if interface.startswith(self._settings.interface_prefixes):
            return None
        end = flow.source if step.direction == "ingress" else flow.destination
        if self._known.tunnelled.holds(flow.family, int(end)):
            return None
        return structs.replace(step, outcome="deny", reason=Reason.IN_CLEAR)

    def _note(self, site: Site, outcome: Outcome, reason: Reason) -> None:
        self._path.append(site.step(outcome, reason))

    # ---------------------------------------------------------------- hooks

    def _travel(self) -> bool:
        entering, leaving = self._flow.in_interface, self._flow.out_interface
        if entering is not None:
            return self._enter(entering, leaving)
        if not self._output(leaving or _LOOPBACK):
            return False
        if leaving is not None:
            return True
        # what the host sends to itself comes back by the loopback interface, already translated
        self._arriving = self._facts
        return self._enter(_LOOPBACK, None)

    def _enter(self, entering: str, leaving: str | None) -> bool:
        self._accepted = False
        if not self._raw_prerouting(entering) or not self._mangle_prerouting(entering):
            return False
        if leaving is None:
            return self._input(entering)
        return self._forward(entering, leaving)

    def _raw_prerouting(self, entering: str) -> bool:
        facts = self._arriving
        if self._settings.openstack and is_dhcp_request(facts):
            return True
        if entering.startswith(self._settings.interface_prefixes):
            return self._source_belongs(entering)
        return self._untracked(Hook.RAW_PREROUTING, entering, "ingress")

    def _mangle_prerouting(self, entering: str) -> bool:
        """An interface whose own endpoint has no pre-DNAT policy is that of "*" here."""
        if self._established or self._accepted:
            return True
        update = self._governed.get(entering)
        if update is None or not update.pre_dnat:
            update = self._governed.get(ANY_INTERFACE)
        if update is None or not update.pre_dnat:
            return True
        site = Site(Hook.MANGLE_PREROUTING, entering, "ingress", update.key)
        if self._failsafes.let("ingress", self._arriving):
            self._note(site, "none", Reason.FAILSAFE)  # filter has its own
            return True
        asked = ask_tiers(self._known, site, self._arriving, update.pre_dnat, defaults=False)
        return self._heed(site, asked.step)

    def _input(self, entering: str) -> bool:
        if entering.startswith(self._settings.interface_prefixes):
            return self._workload_to_host(entering)
        if self._accepted:
            self._end_in_filter()
            return True
        return self._own_traffic(Hook.INPUT, entering, "ingress")

    def _forward(self, entering: str, leaving: str) -> bool:
        prefixes = self._settings.interface_prefixes
        end = None if self._accepted else self._passing(entering, "ingress")
        if end is None and entering.startswith(prefixes):
            end = self._workload(Hook.FORWARD, entering, "egress")
        if end is None and leaving.startswith(prefixes):
            end = self._workload(Hook.FORWARD, leaving, "ingress")
        if end is None:
            end = self._passing(leaving, "egress") or self._service_loop(leaving)
        if end is None:
            self._end_in_filter()
        return end != "deny"

    def _output(self, leaving: str) -> bool:
        before = self._flow.original_out_interface or leaving
        if not self._untracked(Hook.RAW_OUTPUT, before, "egress"):
            return False
        if self._accepted:
            self._end_in_filter()
            return True
        if leaving.startswith(self._settings.interface_prefixes):
            self._note(Site(Hook.OUTPUT, leaving, "egress"), "none", Reason.TO_WORKLOAD)
            self._final = False
            return True
        if not self._flow.translated:
            return self._own_traffic(Hook.OUTPUT, leaving, "egress")
        goes_on = self._own_traffic(Hook.MANGLE_POSTROUTING, leaving, "egress")
        self._final = False  # filter says nothing of it
        return goes_on

    def _end_in_filter(self) -> None:
        """What is left without the accept mark is for other rules, and so is RETURN."""
        self._final &= self._accepted and self._settings.filter_allow_action == "ACCEPT"

    # ---------------------------------------------------------------- workloads

    def _source_belongs(self, entering: str) -> bool:
        """To the workload, as far as the routes tell."""
        if not self._settings.route_sync:
            return True
        facts, workloads = self._arriving, self._known.workloads
        update = workloads.on(entering)
        if has_no_reverse_path(facts):
            return True
        if workloads.interface_of(facts.family, facts.source, self._view) == entering:
            return True
        site = Site(Hook.RAW_PREROUTING, entering, "egress", update.key if update else None)
        if update is None:
            self._note(site, "deny", Reason.UNKNOWN_INTERFACE)
            return False
        for net in update.endpoint.spoofable_sources:
            mask, value = mask_and_value(net)
            if (":" in net) == (facts.family == 6) and facts.source & mask == value:
                return True
        self._note(site, "deny", Reason.SPOOFED)
        return False

    def _workload(self, hook: Hook, interface: str, direction: Direction) -> _End:
        update = self._known.workloads.on(interface)
        site = Site(hook, interface, direction, update.key if update else None)
        if update is None:
            self._note(site, "deny", Reason.UNKNOWN_INTERFACE)
            return "deny"
        if not update.endpoint.admin_up:
            self._note(site, "deny", Reason.ADMIN_DOWN)
            return "deny"
        if self._established:
            return self._let_established(site)
        if direction == "egress" and is_tunnel(self._facts, self._settings):
            self._note(site, "deny", Reason.TUNNEL)
            return "deny"
        step = ask_tiers(self._known, site, self._facts, update.tiers).step
        if step is None:
            step = ask_profiles(self._known, site, self._facts, update.endpoint.profiles)
        return None if self._heed(site, step) else "deny"

    def _workload_to_host(self, entering: str) -> bool:
        if is_bootstrap(self._facts, self._settings):
            self._note(Site(Hook.INPUT, entering, "egress"), "allow", Reason.BOOTSTRAP)
            self._final &= self._settings.filter_allow_action == "ACCEPT"
            return True
        end = self._workload(Hook.INPUT, entering, "egress")
        if end is not None:
            return end == "accept"
        action = self._settings.endpoint_to_host_action
        outcome: Outcome = "deny" if action == "DROP" else "allow"
        self._note(Site(Hook.INPUT, entering, "egress"), outcome, Reason.ENDPOINT_TO_HOST)
        self._final &= action == "ACCEPT"
        return action != "DROP"

    # ---------------------------------------------------------------- host endpoints

    def _governor(self, interface: str) -> HostEndpointUpdate | None:
        return self._governed.get(interface) or self._governed.get(ANY_INTERFACE)

    def _untracked(self, hook: Hook, interface: str, direction: Direction) -> bool:
        """That of "*" is not in force."""
        update = self._governed.get(interface)
        if update is None or not update.untracked:
            return True
        site = Site(hook, interface, direction, update.key)
        if self._failsafes.let(direction, self._arriving, raw=True):
            self._note(site, "none", Reason.FAILSAFE)
            return True
        asked = ask_tiers(self._known, site, self._arriving, update.untracked, defaults=False)
        goes_on = self._heed(site, asked.step)
        if self._accepted:
            self._established = False  # connection tracking never sees it
        return goes_on

    def _own_traffic(self, hook: Hook, interface: str, direction: Direction) -> bool:
        """The host's: normal policy, then profiles."""
        update = self._governor(interface)
        if update is None:
            self._final = False
            return True
        site = Site(hook, interface, direction, update.key)
        if self._established:
            end = self._let_established(site)
            self._final &= end == "accept"
            return True
        if self._failsafes.let(direction, self._facts):
            self._note(site, "allow", Reason.FAILSAFE)
            return True
        step = ask_tiers(self._known, site, self._facts, update.tiers).step
        if step is None:
            step = ask_profiles(self._known, site, self._facts, update.endpoint.profiles)
        goes_on = self._heed(site, step)
        self._end_in_filter()
        return goes_on

    def _passing(self, interface: str, direction: Direction) -> _End:
        """No failsafes and no profiles here; where no policy is enforced all may pass."""
        update = self._governor(interface)
        if update is None:
            return None
        site = Site(Hook.FORWARD, interface, direction, update.key)
        if self._established:
            return self._let_established(site)
        asked = ask_tiers(self._known, site, self._facts, update.forward)
        if not asked.enforced:
            self._note(site, "none", Reason.NO_FORWARD_POLICY)
            self._accepted = True
            return None
        self._accepted = False
        return None if self._heed(site, asked.step) else "deny"

    def _service_loop(self, leaving: str) -> _End:
        facts = self._facts
        for mask, value in self._known.services[facts.family]:
            if facts.destination & mask == value and self._settings.service_loop_prevention:
                site = Site(Hook.FORWARD, leaving, "egress")
                self._note(site, "deny", Reason.SERVICE_LOOP)
                return "deny"
        return None

    # ---------------------------------------------------------------- what a stage said

    def _heed(self, site: Site, step: Step | None) -> bool:
        """Whether the packet goes on; None: nothing decided."""
        if step is None:
            self._note(site, "none", Reason.UNDECIDED)
            return True
        self._path.append(step)
        self._accepted = step.outcome == "allow"
        return self._accepted

    def _let_established(self, site: Site) -> _End:
        """RETURN leaves the chain with the mark, and the stages after it are asked too."""
        self._note(site, "allow", Reason.ESTABLISHED)
        self._accepted = True
        return "accept" if self._settings.filter_allow_action == "ACCEPT" else None


def _last_site(flow: Flow) -> Site:
    if flow.in_interface is None:
        return Site(Hook.OUTPUT, flow.out_interface or _LOOPBACK, "egress")
    hook = Hook.INPUT if flow.out_interface is None else Hook.FORWARD
    return Site(hook, flow.in_interface, "ingress")


def _facts(known: Known, flow: Flow) -> tuple[Facts, Facts]:
    """Before the destination is translated, and after."""
    family = flow.family
    after = Facts(
        int(flow.source),
        int(flow.destination),
        _or_none(flow.source_port),
        _or_none(flow.destination_port),
        family,
        flow.protocol,
        _or_none(flow.icmp_type),
        _or_none(flow.icmp_code),
        known.sets[family],
    )
    if not flow.translated:
        return after, after
    before = after
    if flow.original_destination is not None:
        before = before._replace(destination=int(flow.original_destination))
    if flow.original_port is not None:
        before = before._replace(destination_port=flow.original_port)
    return before, after


def _or_none(number: int | None) -> int:
    return -1 if number is None else number
