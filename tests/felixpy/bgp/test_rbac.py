"""What Kubernetes has to allow: exactly the Secrets that are named, the same text each time."""

from __future__ import annotations

import argparse
import json

import pytest
import yaml
from structlog.testing import capture_logs

from calc_graph.bgp.resources import (
    BgpConfiguration,
    BgpConfigurationKey,
    BgpPeer,
    BgpPeerKey,
    SecretRef,
)
from felixpy import exits
from felixpy.bgp.rbac import manifests, named_secrets, render_yaml
from felixpy.commands.bgp import rbac
from tests.felixpy.bgp.secret_texts import HIDDEN, secret, write

TEXT = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: secret-access
  namespace: calico-system
rules:
- apiGroups:
  - ''
  resources:
  - secrets
  resourceNames:
  - '1234'
  - bgp-secrets
  verbs:
  - watch
  - list
  - get
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: secret-access
  namespace: calico-system
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: secret-access
subjects:
- kind: ServiceAccount
  name: calico-node
  namespace: calico-system"""


def test_the_text():
    resources = manifests(["bgp-secrets", "1234", "bgp-secrets"], "calico-system", "calico-node")
    assert render_yaml(resources) == TEXT
    assert render_yaml(list(yaml.safe_load_all(TEXT))) == TEXT


def test_nothing_to_allow():
    assert manifests([], "calico-system", "calico-node") == []


def test_every_resource_that_names_a_secret_counts():
    values = {
        BgpPeerKey("a"): BgpPeer(password=SecretRef("a", "k")),
        BgpPeerKey("b"): BgpPeer(),
        BgpConfigurationKey("default"): BgpConfiguration(mesh_password=SecretRef("m", "k")),
    }
    assert named_secrets(values) == {SecretRef("a", "k"), SecretRef("m", "k")}


# ------------------------------------------------------------ the command

PEERS = """\
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: one}
spec:
  peerIP: 192.20.30.40
  asNumber: 64567
  password: {secretKeyRef: {name: bgp-secrets, key: rr-password}}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: two}
spec:
  peerIP: 192.20.30.41
  asNumber: 64567
  password: {secretKeyRef: {name: other, key: k}}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name in ("NAMESPACE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "secrets").mkdir(mode=0o700)
    (tmp_path / "felixpy.cfg").write_text(
        "[global]\nDatastoreType = file\nFelixHostname = n1\n"
        f"DatastorePath = {tmp_path}/manifests\nSecretsPath = {tmp_path}/secrets\n"
    )
    (tmp_path / "manifests" / "peers.yaml").write_text(PEERS)
    return tmp_path


def run(place, *words: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    rbac.add_arguments(parser)
    arguments = parser.parse_args(words)
    arguments.config = place / "felixpy.cfg"
    with capture_logs():  # the command line logs to standard error, and errors only
        return rbac.run(arguments)


def names(text: str) -> list[str]:
    return next(iter(yaml.safe_load_all(text)))["rules"][0]["resourceNames"]


def test_all_that_are_named(place, capsys):
    assert run(place) == exits.OK
    first = capsys.readouterr().out
    assert names(first) == ["bgp-secrets", "other"]
    assert run(place) == exits.OK
    assert capsys.readouterr().out == first


def test_names_of_namespace_and_account(place, capsys, monkeypatch):
    monkeypatch.setenv("NAMESPACE", "kube-system")
    assert run(place, "--service-account", "felixpy", "--json") == exits.OK
    role, binding = json.loads(capsys.readouterr().out)["items"]
    assert role["metadata"]["namespace"] == "kube-system"
    assert binding["subjects"][0]["name"] == "felixpy"
    assert run(place, "--namespace", "bgp") == exits.OK
    assert next(yaml.safe_load_all(capsys.readouterr().out))["metadata"]["namespace"] == "bgp"
    assert run(place, "--namespace", "a\nb: c") == exits.REFUSED
    assert "not the name of a namespace" in capsys.readouterr().err


def test_only_those_that_this_node_cannot_read(place, capsys):
    write(place / "secrets" / "a.yaml", secret(HIDDEN * 9))  # bad, but read
    assert run(place, "--unreadable") == exits.OK
    assert names(capsys.readouterr().out) == ["other"]
    write(place / "secrets" / "b.yaml", secret(HIDDEN, name="other", key="k"))
    assert run(place, "--unreadable") == exits.OK
    found = capsys.readouterr()
    assert found.out == ""
    assert (
        found.err
        == "felixpy: nothing to allow: this node can read every Secret that a BGP resource names\n"
    )


def test_none_is_named(place, capsys):
    (place / "manifests" / "peers.yaml").write_text("")
    assert run(place) == exits.OK
    found = capsys.readouterr()
    assert (found.out, "no BGP resource names" in found.err) == ("", True)
    assert run(place, "--json") == exits.OK
    assert json.loads(capsys.readouterr().out)["items"] == []


def test_a_datastore_with_a_mistake_allows_nothing(place, capsys):
    (place / "manifests" / "bad.yaml").write_text("kind: BGPPeer\n")
    assert run(place) == exits.REFUSED
    found = capsys.readouterr()
    assert found.out == ""
    assert "bad.yaml" in found.err
