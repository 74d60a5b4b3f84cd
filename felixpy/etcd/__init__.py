"""etcd v3: where it is, whom to believe, and its protocol as far as a node's agent speaks it."""
