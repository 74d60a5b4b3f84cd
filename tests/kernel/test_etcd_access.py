"""Whom the agent believes to be etcd, and whom etcd believes the agent to be."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fakes.certificates import Authority, Pair, ca
from tests.kernel.agent_lab import eventually
from tests.kernel.etcd_lab import Cluster, Namespaces
from tests.kernel.etcd_node import GUARD, EtcdLab

pytestmark = pytest.mark.kernel

HERE = ("10.99.0.1",)
# etcd's TLS says the same of none and of one that it does not know.
NOT_THE_RIGHT_ONE = "it asks for a client certificate, and EtcdCertFile is not set or not the right"
# In place of GUARD: another one may talk to w2.
TURNED = GUARD.replace("role == 'w1'", "role == 'w3'")


class Place(NamedTuple):
    """A server with TLS, and a node; each test leaves the files as it found them, and no agent."""

    directory: Path
    cluster: Cluster
    lab: EtcdLab
    authority: Authority
    stranger: Authority

    def serve(self, pair: Pair) -> None:
        """etcd looks at its certificate again with each connection."""
        pair.write(self.directory, "server")

    def restart(self) -> None:
        """It knows only by a new start whom it may believe."""
        self.cluster.kill(1)
        self.cluster.start(1)

    def trust(self, *authorities: Authority) -> None:
        """Of the server, as regards clients."""
        everyone = b"".join(authority.certificate for authority in authorities)
        (self.directory / "clients.crt").write_bytes(everyone)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("tls")
    authority, stranger = ca(), ca("a stranger")
    authority.server((), HERE).write(directory, "server")
    authority.client().write(directory, "agent")
    stranger.client().write(directory, "stranger")
    authority.write(directory, "ca")
    stranger.write(directory, "other")
    authority.write(directory, "clients")
    tls = (
        *("--cert-file", f"{directory}/server.crt", "--key-file", f"{directory}/server.key"),
        *("--trusted-ca-file", f"{directory}/clients.crt", "--client-cert-auth"),
    )
    namespaces = Namespaces()
    try:
        with Cluster(directory, members=1, tls=tls) as cluster:
            lab = EtcdLab(namespaces, directory, cluster)
            lab.populate()
            yield Place(directory, cluster, lab, authority, stranger)
    finally:
        namespaces.close()


@pytest.fixture
def place(built: Place) -> Iterator[Place]:
    built.authority.write(built.directory, "ca")
    built.lab.configure(
        EtcdCaFile=f"{built.directory}/ca.crt",
        EtcdCertFile=f"{built.directory}/agent.crt",
        EtcdKeyFile=f"{built.directory}/agent.key",
    )
    built.serve(built.authority.server((), HERE))
    yield built
    built.lab.end_all()


def wrong_authority(place: Place) -> None:
    place.lab.configure(EtcdCaFile=f"{place.directory}/other.crt")


def expired(place: Place) -> None:
    place.serve(place.authority.server((), HERE, expired=True))


def wrong_name(place: Place) -> None:
    place.serve(place.authority.server(("etcd-1",), ("10.99.0.9",)))


def name_in_the_subject_only(place: Place) -> None:
    place.serve(place.authority.server(("etcd-1",), common_name="10.99.0.1"))


def no_certificate(place: Place) -> None:
    place.lab.configure(EtcdCertFile="", EtcdKeyFile="")


def strangers_certificate(place: Place) -> None:
    place.lab.configure(
        EtcdCertFile=f"{place.directory}/stranger.crt",
        EtcdKeyFile=f"{place.directory}/stranger.key",
    )


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (wrong_authority, "10.99.0.1:2379: its certificate is signed by an authority we do not"),
        (expired, "10.99.0.1:2379: its certificate, or that of its authority, has expired"),
        (wrong_name, "10.99.0.1:2379: its certificate is not for '10.99.0.1'"),
        (name_in_the_subject_only, "10.99.0.1:2379: its certificate is not for '10.99.0.1'"),
        (no_certificate, f"10.99.0.1:2379: {NOT_THE_RIGHT_ONE}"),
        (strangers_certificate, f"10.99.0.1:2379: {NOT_THE_RIGHT_ONE}"),
    ],
)
def test_nothing_is_done_where_one_side_does_not_believe_the_other(
    place: Place, mistake: Callable[[Place], None], said: str
) -> None:
    mistake(place)
    before, generation = place.lab.kernel(), place.lab.generation()
    running = place.lab.launch()
    place.lab.await_problem(said)
    assert (place.lab.kernel(), place.lab.generation()) == (before, generation)
    code, text = running.end(signal.SIGTERM)
    assert (code, text.count("Traceback")) == (0, 0)


def test_a_key_that_others_can_read_is_warned_of(place: Place) -> None:
    key = place.directory / "agent.key"
    key.chmod(0o644)
    running = place.lab.start()
    _, text = running.end(signal.SIGTERM)
    key.chmod(0o600)
    assert text.count("others can get at the key") == 1
    assert "chmod 0640" in text
    assert "BEGIN" not in text


@pytest.fixture
def exchangeable(place: Place) -> Iterator[Place]:
    (place.directory / "authorities").mkdir()
    yield place
    place.trust(place.authority)
    place.restart()


def test_authorities_and_certificates_are_exchanged_while_the_agent_runs(
    exchangeable: Place,
) -> None:
    place, lab, directory = exchangeable, exchangeable.lab, exchangeable.directory
    place.authority.write(directory / "authorities", "old")
    place.authority.client().write(directory, "mine")
    lab.configure(
        EtcdCaFile=f"{directory}/authorities",
        EtcdCertFile=f"{directory}/mine.crt",
        EtcdKeyFile=f"{directory}/mine.key",
    )
    running = lab.start()
    with lab.unharmed():
        place.serve(place.stranger.server((), HERE))
        place.trust(place.stranger)
        place.restart()
        lab.await_problem("signed by an authority we do not know")
        place.stranger.write(directory / "authorities", "new")
        lab.await_problem(NOT_THE_RIGHT_ONE)
        place.stranger.client().write(directory, "mine")
        lab.await_well(running)
        lab.check_as_fresh()


# ---------------------------------------------------------------- user names and passwords


@pytest.fixture
def users(place: Place) -> Iterator[Place]:
    place.cluster.add_user("agent", "secret", "/calico/")
    place.cluster.ask_for_passwords("root")
    yield place
    place.cluster.ask_for_no_passwords()
    place.cluster.etcdctl("user delete agent")
    place.cluster.etcdctl("role delete agent")
    place.lab.configure(EtcdUsername="", EtcdPassword="")


@pytest.mark.parametrize(
    ("user", "password", "said"),
    [
        ("agent", "wrong", "authentication failed, invalid user ID or password"),
        ("", "", "permission denied"),
    ],
)
def test_nothing_is_done_where_etcd_does_not_let_us_in(
    users: Place, user: str, password: str, said: str
) -> None:
    users.lab.configure(EtcdUsername=user, EtcdPassword=password)
    before, generation = users.lab.kernel(), users.lab.generation()
    running = users.lab.launch()
    users.lab.await_problem(said)
    assert (users.lab.kernel(), users.lab.generation()) == (before, generation)
    _, text = running.end(signal.SIGTERM)
    assert "Traceback" not in text


def test_a_user_reads_and_goes_on_reading_while_rights_change(users: Place) -> None:
    lab, cluster = users.lab, users.cluster
    lab.configure(EtcdUsername="agent", EtcdPassword="secret")
    running = lab.start()
    with lab.unharmed():
        # each change of users and roles makes all tokens old, and a restart forgets them
        cluster.permit("agent", "/elsewhere/")
        users.restart()
        lab.write("other", TURNED.replace("name: guard", "name: other"))
        eventually(lambda: lab.reaches("w3", "w2"), "the policy")
        lab.remove("other")
        eventually(lambda: not lab.reaches("w3", "w2"), "its end")

        before = lab.kernel()
        cluster.forbid("agent", "/calico/")
        users.restart()
        lab.await_problem("permission denied")
        assert lab.kernel() == before
        cluster.permit("agent", "/calico/")
        lab.await_well(running)
        lab.check_as_fresh()
    _, text = running.end(signal.SIGTERM)
    assert "secret" not in text
