#!/bin/bash
# The agent, from start to stop, on one node of three workloads: agent.sh FELIXPY
# w2 may be pinged by w1 and not by w3; that holds from the first answer on, after a stop, and until a cleanup.
set -euo pipefail

felixpy=$1
work=$(mktemp -d)
agent=

tidy() {
    local status=$?
    [ -z "$agent" ] || kill -KILL "$agent" 2>/dev/null || true
    for name in node w1 w2 w3; do ip netns del "agent-$name" 2>/dev/null || true; done
    [ $status -eq 0 ] || cat "$work/log"
    rm -rf "$work"
    exit $status
}
trap tidy EXIT

ip netns add agent-node
ip -n agent-node link set lo up
# The kernel answers for a gateway that it knows a way to, as by the default route of any other node.
ip -n agent-node route add 169.254.1.1 dev lo
mkdir "$work/manifests"
for i in 1 2 3; do
    ip netns add "agent-w$i"
    ip link add "caliw$i" netns agent-node type veth peer name eth0 netns "agent-w$i"
    ip -n agent-node link set "caliw$i" up
    ip -n "agent-w$i" link set eth0 up
    ip -n "agent-w$i" address add "10.65.0.$i/32" dev eth0
    ip -n "agent-w$i" route add 169.254.1.1 dev eth0 scope link
    ip -n "agent-w$i" route add default via 169.254.1.1
    cat >"$work/manifests/w$i.yaml" <<END
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: n1-k8s-w$i-eth0, namespace: default, labels: {app: w$i}}
spec:
  node: n1
  orchestrator: k8s
  pod: w$i
  endpoint: eth0
  interfaceName: caliw$i
  ipNetworks: [10.65.0.$i/32]
  profiles: [open]
END
done
cat >"$work/manifests/policy.yaml" <<'END'
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: open}
spec: {ingress: [{action: Allow}], egress: [{action: Allow}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: w2, namespace: default}
spec:
  selector: app == 'w2'
  types: [Ingress]
  ingress: [{action: Allow, protocol: ICMP, source: {selector: app == 'w1'}}]
END
cat >"$work/felixpy.cfg" <<END
[global]
FelixHostname = n1
DatastorePath = $work/manifests
RunDir = $work/run
END

in_node() { ip netns exec agent-node "$@"; }
reaches() { ip netns exec "agent-$1" ping -q -c 1 -W 2 "10.65.0.$2" >/dev/null; }
policy_holds() {
    reaches w1 2 || { echo "$1: w1 does not reach w2" && return 1; }
    ! reaches w3 2 || { echo "$1: w3 reaches w2" && return 1; }
}

in_node sysctl -qw net.ipv4.ip_forward=1
# not by in_node: a signal has to reach the agent, not a shell around it
ip netns exec agent-node "$felixpy" run --config "$work/felixpy.cfg" >"$work/log" 2>&1 &
agent=$!
for _ in {1..90}; do
    reaches w1 2 && break
    kill -0 "$agent"
done
policy_holds "while it runs"
reaches w2 3 || { echo "what no policy selects is open by its profile" && exit 1; }

kill -TERM "$agent"
wait "$agent"
agent=
policy_holds "after it was stopped"

in_node "$felixpy" cleanup --config "$work/felixpy.cfg"
# whichever backend they were in
{ in_node iptables-nft-save && in_node iptables-legacy-save && in_node ipset save; } >"$work/left"
if grep cali "$work/left"; then
    echo "that is left after a cleanup"
    exit 1
fi
