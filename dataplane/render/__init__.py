"""Pure text: desired state to iptables rules."""
