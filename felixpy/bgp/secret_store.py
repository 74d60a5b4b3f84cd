"""What the files with Secrets hold now, and what each reference comes to.

    read_store   directory of manifests, systemd's credentials, the reading before -> Store
    look_up      Store, namespace, SecretRef -> Credential

    what a file is like            what it is good for
    well                           its passwords
    cannot be read, or is no YAML  those of the last good reading, and a problem beside each: the
                                   session is still authenticated, and a fault of a disk or a slip
                                   of the pen must not cut traffic
    others have access to it       nothing, at once: whoever has seen the password, or has written
                                   it, is who the password was to keep out
    gone, or without the key       nothing: that is how a password is withdrawn

A systemd credential has precedence over a manifest: the unit names it for this very service, and
systemd keeps it out of the file system.  One that is bad does not give way to a manifest: which of
two passwords is in use must not depend on which of them is right.
Source: sections 4.3 and 4.6 of the BGP reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct, structs

from calc_graph.bgp.resources import SecretRef
from dataplane.bird.credentials import Credential, Password
from felixpy.bgp.passwords import judge
from felixpy.bgp.secret_files import SafeFile, read_safe
from felixpy.bgp.secret_manifests import Judge, ManifestError, SecretManifest, read_secrets
from felixpy.datastore.manifest_files import Hop, Tree, UnreadableError, hops_to, walk
from felixpy.datastore.resources.names import is_stored_name


class ManifestFile(Struct, frozen=True):
    """`secrets` as of the last good reading; those of a file that is `exposed` hold no values.

    `unreadable` says why this reading is not that one, `strange` what means nothing in it.
    """

    secrets: tuple[SecretManifest, ...] = ()
    same_file: tuple[int, int] = (0, 0)
    exposed: str = ""
    unreadable: str = ""
    strange: tuple[str, ...] = ()


class CredentialFile(Struct, frozen=True):
    """One of systemd's credentials: its password or why there is none, as of the last reading."""

    value: Password | str
    unreadable: str = ""


class Store(Struct, frozen=True):
    """`away`: why the directory itself cannot be read; `hops`: the names on the way to all this."""

    root: str
    files: Mapping[str, ManifestFile] = {}
    credentials: Mapping[str, CredentialFile] = {}
    away: str = ""
    hops: frozenset[Hop] = frozenset()

    def faults(self) -> dict[str, str]:
        """What is wrong with the files as such: path -> text."""
        found: dict[str, str] = {}
        for path, file in self.files.items():
            if text := "; ".join(filter(None, (file.exposed, file.unreadable, *file.strange))):
                found[path] = text
        return found


# ---------------------------------------------------------------- reading; blocks


def read_store(
    root: Path,
    credentials: Path | None,
    before: Store,
    enter: Callable[[str], None],
    judged: Judge = judge,
) -> Store:
    """`enter` is called with each directory below `root` before it is looked into.

    `judged` says what may stand under a key: passwords of BGP unless said otherwise.
    """
    own = _read_credentials(credentials, before.credentials, judged) if credentials else {}
    hops = frozenset(hops_to(root))
    try:
        tree = walk(root, enter)
    except OSError as error:
        away = f"{root}: {error.strerror or error}"
        kept = {
            path: structs.replace(file, unreadable="its directory cannot be read")
            for path, file in before.files.items()
        }
        return Store(str(root), kept, own, away, hops)
    return Store(str(root), _read_tree(tree, before.files, judged), own, "", hops | tree.hops)


def _read_tree(
    tree: Tree, before: Mapping[str, ManifestFile], judged: Judge
) -> dict[str, ManifestFile]:
    files: dict[str, ManifestFile] = {}
    for path in sorted(tree.files):
        known = before.get(path, ManifestFile())
        try:
            files[path] = _manifest_file(path, read_safe(path), judged)
        except FileNotFoundError:
            continue
        except (UnreadableError, ManifestError) as error:
            files[path] = structs.replace(known, unreadable=str(error))
    for directory, trouble in sorted(tree.troubles.items()):
        for path in before:
            if path.startswith(f"{directory}/"):
                files[path] = structs.replace(before[path], unreadable=f"{directory} {trouble}")
        files.setdefault(directory, ManifestFile(unreadable=trouble))
    return files


def _manifest_file(path: str, file: SafeFile, judged: Judge) -> ManifestFile:
    """Raises ManifestError."""
    try:
        text = file.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ManifestError("is not UTF-8 text") from None
    found = read_secrets(text, is_json=path.endswith(".json"), judged=judged)
    secrets = found.secrets
    if file.exposed:
        wrong = f"{path}: {file.exposed}"
        secrets = tuple(structs.replace(secret, values={}, wrong=wrong) for secret in secrets)
    return ManifestFile(secrets, file.same_file, file.exposed, strange=found.strange)


def _read_credentials(
    directory: Path, before: Mapping[str, CredentialFile], judged: Judge
) -> dict[str, CredentialFile]:
    try:
        paths = sorted(directory.iterdir())
    except OSError as error:
        why = f"{directory}: {error.strerror}"
        return {name: structs.replace(known, unreadable=why) for name, known in before.items()}
    found: dict[str, CredentialFile] = {}
    for path in paths:
        try:
            file = read_safe(str(path))
        except FileNotFoundError:
            continue
        except UnreadableError as error:
            why = f"the credential {path.name}: {error}"
            known = before.get(path.name, CredentialFile(why))
            found[path.name] = structs.replace(known, unreadable=why)
        else:
            exposed = f"the credential {path.name}: {file.exposed}" if file.exposed else ""
            found[path.name] = CredentialFile(exposed or judged(file.data))
    return found


# ---------------------------------------------------------------- looking up; pure


def look_up(store: Store, namespace: str, ref: SecretRef) -> Credential:
    own = store.credentials.get(f"{ref.name}.{ref.key}")
    if own is not None:
        return _credential(own.value, own.unreadable)
    holders = _holders(store, namespace, ref)
    if not holders:
        return Credential(None, _missing(store, namespace, ref))
    if len(holders) > 1:
        places = " and in ".join(f"{path}:{secret.line}" for path, _, secret in holders)
        return Credential(None, f"Secret {ref.name} is in {places}: only one of them may stay")
    path, file, secret = holders[0]
    unreadable = f"{path}: {file.unreadable}" if file.unreadable else ""
    return _credential(_value(secret, ref), unreadable)


def is_read(store: Store, namespace: str, ref: SecretRef) -> bool:
    """Whether the Secret is there and was read now, be its value good or bad."""
    own = store.credentials.get(f"{ref.name}.{ref.key}")
    if own is not None:
        return not own.unreadable
    holders = _holders(store, namespace, ref)
    return any(not file.unreadable and not file.exposed for _, file, _ in holders)


_Holder: TypeAlias = tuple[str, ManifestFile, SecretManifest]


def _holders(store: Store, namespace: str, ref: SecretRef) -> list[_Holder]:
    holders: list[_Holder] = []
    for path, file in store.files.items():
        for secret in file.secrets:
            if secret.name != ref.name or secret.namespace not in ("", namespace):
                continue
            # one file may have two names
            if not any(file.same_file == f.same_file and secret == s for _, f, s in holders):
                holders.append((path, file, secret))
    # a file of somebody else's cannot take a password away either, by naming the same Secret
    return [holder for holder in holders if not holder[1].exposed] or holders[:1]


def _credential(value: Password | str, unreadable: str) -> Credential:
    if isinstance(value, str):
        return Credential(None, value)
    return Credential(value, f"the last good one is in use: {unreadable}" if unreadable else "")


def _value(secret: SecretManifest, ref: SecretRef) -> Password | str:
    if secret.wrong:
        return secret.wrong
    value = secret.values.get(ref.key)
    if value is None:
        there = ", ".join(sorted(secret.values)) or "none"
        return f"the key is missing; the keys that are there: {there}"
    return f"the value {value}" if isinstance(value, str) else value


def _missing(store: Store, namespace: str, ref: SecretRef) -> str:
    elsewhere = sorted(
        secret.namespace
        for file in store.files.values()
        for secret in file.secrets
        if secret.name == ref.name
    )
    if elsewhere:
        return f"no such Secret in the namespace {namespace}, but one in {elsewhere[0]}"
    if store.away:
        return f"no such Secret: {store.away}"
    unread = sorted(path for path, file in store.files.items() if file.unreadable)
    hint = f"; {unread[0]}: {store.files[unread[0]].unreadable}" if unread else ""
    return f"no such Secret in {store.root}{hint}"


def shown(ref: SecretRef) -> str:
    """Both names are the datastore's, which may hold any text."""
    return "/".join(
        part if is_stored_name(part) else repr(part[:100]) for part in (ref.name, ref.key)
    )
