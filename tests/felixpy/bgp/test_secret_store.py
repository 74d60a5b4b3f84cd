"""What a reference comes to: the four rows of the table, sources against each other, names."""

from __future__ import annotations

import pytest
from msgspec import structs

from calc_graph.bgp.resources import SecretRef
from dataplane.bird.credentials import Password
from felixpy.bgp.secret_store import Store, is_read, look_up, read_store, shown
from tests.felixpy.bgp.secret_texts import HIDDEN, REF, secret, write

NAMESPACE = "calico-system"


@pytest.fixture
def root(tmp_path):
    directory = tmp_path / "secrets"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def credentials(tmp_path):
    directory = tmp_path / "credentials"
    directory.mkdir(mode=0o700)
    return directory


def reading(root, before=None, credentials=None):
    return read_store(root, credentials, before or Store(str(root)), lambda _: None)


def looked_up(store, ref=REF):
    found = look_up(store, NAMESPACE, ref)
    return (found.password.reveal() if found.password else None), found.problem


def good(root):
    write(root / "a.yaml", secret(HIDDEN))
    store = reading(root)
    assert looked_up(store) == (HIDDEN, "")
    return store


# ------------------------------------------------------------ was good, and now


def test_unreadable_now_the_last_good_one_stays(root):
    store = good(root)
    write(root / "a.yaml", f"stringData: {{{HIDDEN}")
    store = reading(root, store)
    password, problem = looked_up(store)
    assert password == HIDDEN
    assert problem.startswith(f"the last good one is in use: {root}/a.yaml: is not valid YAML")
    assert HIDDEN not in problem
    assert not is_read(store, NAMESPACE, REF)
    assert list(store.faults()) == [f"{root}/a.yaml"]
    write(root / "a.yaml", secret("new"))
    assert looked_up(reading(root, store)) == ("new", "")


def test_unreadable_at_the_first_reading_there_is_none(root):
    write(root / "a.yaml", "{")
    password, problem = looked_up(reading(root))
    assert password is None
    assert f"{root}/a.yaml: is not valid YAML" in problem


def test_a_directory_that_is_away_takes_nothing_along(root):
    store = good(root)
    root.rename(root.with_name("away"))
    away = reading(root, store)
    assert looked_up(away)[0] == HIDDEN
    assert "last good" in looked_up(away)[1]
    root.with_name("away").rename(root)
    assert looked_up(reading(root, away)) == (HIDDEN, "")


def test_a_link_that_leads_nowhere_is_unreadable(root, tmp_path):
    write(tmp_path / "real.yaml", secret(HIDDEN))
    (root / "a.yaml").symlink_to(tmp_path / "real.yaml")
    store = reading(root)
    (tmp_path / "real.yaml").unlink()
    password, problem = looked_up(reading(root, store))
    assert password == HIDDEN
    assert "leads to nothing" in problem


def test_deleted_now_there_is_none(root):
    store = good(root)
    (root / "a.yaml").unlink()
    store = reading(root, store)
    assert looked_up(store) == (None, f"no such Secret in {root}")
    assert not is_read(store, NAMESPACE, REF)


def test_without_the_key_now_there_is_none(root):
    store = good(root)
    write(root / "a.yaml", secret(HIDDEN, key="z").replace("\n  z", "\n  b: Yg==\n  z"))
    expected = "the key is missing; the keys that are there: b, z"
    assert looked_up(reading(root, store)) == (None, expected)


def test_bad_now_there_is_none(root):
    store = good(root)
    write(root / "a.yaml", secret(HIDDEN * 10))
    store = reading(root, store)
    assert looked_up(store) == (None, "the value is longer than 80 characters")
    assert is_read(store, NAMESPACE, REF)


def test_exposed_now_there_is_none_though_the_value_is_known(root):
    store = good(root)
    (root / "a.yaml").chmod(0o644)
    store = reading(root, store)
    password, problem = looked_up(store)
    assert password is None
    assert problem == f"{root}/a.yaml: others than root have access to it: mode 0644, not 0600"
    assert not is_read(store, NAMESPACE, REF)
    write(root / "a.yaml", "{")
    assert looked_up(reading(root, store))[0] is None  # an exposed one is not the last good one


# ------------------------------------------------------------ one against the other


def test_two_secrets_of_one_name_are_a_conflict(root):
    write(root / "a.yaml", secret("x"))
    write(root / "b.yaml", secret("y"))
    password, problem = looked_up(reading(root))
    assert password is None
    expected = f"is in {root}/a.yaml:1 and in {root}/b.yaml:1: only one of them may stay"
    assert problem == f"Secret bgp-secrets {expected}"
    write(root / "b.yaml", f"{secret('x', name='c')}---\n{secret('y', name='c')}")
    assert looked_up(reading(root)) == ("x", "")
    assert "b.yaml:1 and in" in looked_up(reading(root), SecretRef("c", REF.key))[1]


def test_a_file_with_two_names_is_no_conflict(root):
    write(root / "a.yaml", secret("x"))
    (root / "b.yaml").symlink_to("a.yaml")
    assert looked_up(reading(root)) == ("x", "")


def test_a_file_of_somebody_else_conflicts_with_nothing(root):
    write(root / "a.yaml", secret("theirs"), mode=0o666)
    write(root / "b.yaml", secret("ours"))
    assert looked_up(reading(root)) == ("ours", "")


def test_only_the_namespace_counts(root):
    write(root / "a.yaml", secret("other", namespace="default"))
    expected = "no such Secret in the namespace calico-system, but one in default"
    assert looked_up(reading(root)) == (None, expected)
    write(root / "b.yaml", secret("ours", namespace=NAMESPACE))
    assert looked_up(reading(root)) == ("ours", "")


def test_no_directory(root):
    store = reading(root / "none")
    assert looked_up(store)[1] == f"no such Secret: {root}/none: No such file or directory"
    assert not store.faults()


def test_a_file_that_got_the_inode_of_another_is_not_that_one(root):
    """The number of an inode is given again as soon as it is free."""
    store = good(root)
    write(root / "b.yaml", secret("x", name="b"))
    same = (root / "b.yaml").stat()
    before = structs.replace(
        store.files[f"{root}/a.yaml"], same_file=(same.st_dev, same.st_ino), unreadable=""
    )
    write(root / "a.yaml", "{")
    store = reading(root, structs.replace(store, files={f"{root}/a.yaml": before}))
    assert looked_up(store)[0] == HIDDEN
    assert looked_up(store, SecretRef("b", REF.key)) == ("x", "")


# ------------------------------------------------------------ systemd's credentials


def test_a_credential_of_systemd_goes_first_be_it_good_or_bad(root, credentials):
    write(root / "a.yaml", secret("manifest"))
    write(credentials / "bgp-secrets.rr-password", "credential", mode=0o400)
    store = reading(root, credentials=credentials)
    assert looked_up(store) == ("credential", "")
    assert is_read(store, NAMESPACE, REF)
    write(credentials / "bgp-secrets.rr-password", "credential\n")
    password, problem = looked_up(reading(root, credentials=credentials))
    assert password is None
    assert "ends with a newline" in problem


def test_a_credential_that_others_can_read_is_refused(root, credentials):
    write(credentials / "bgp-secrets.rr-password", HIDDEN, mode=0o444)
    password, problem = looked_up(reading(root, credentials=credentials))
    assert password is None
    assert problem.startswith("the credential bgp-secrets.rr-password: others than root")


def test_credentials_that_cannot_be_read_any_more_are_the_last_good_ones(root, credentials):
    write(credentials / "bgp-secrets.rr-password", HIDDEN)
    store = reading(root, credentials=credentials)
    credentials.rename(credentials.with_name("gone"))
    password, problem = looked_up(reading(root, store, credentials))
    assert password == HIDDEN
    assert "last good" in problem


def test_no_name_leads_out_of_the_directory(root, credentials, tmp_path):
    write(tmp_path / "x.y", HIDDEN)
    store = reading(root, credentials=credentials)
    assert looked_up(store, SecretRef("../x", "y"))[0] is None
    assert looked_up(store, SecretRef("", "."))[0] is None


def test_nothing_shows_a_password(root, credentials):
    write(credentials / "x.y", HIDDEN)
    store = good(root)
    store = reading(root, store, credentials)
    assert HIDDEN not in repr(store)
    assert HIDDEN not in repr(look_up(store, NAMESPACE, REF))
    assert look_up(store, NAMESPACE, REF).password == Password(HIDDEN)


def test_names_are_shown_in_one_line():
    assert shown(REF) == "bgp-secrets/rr-password"
    assert shown(SecretRef("a\nb", "c")) == "'a\\nb'/c"
