"""Manifests to Secrets; no word of what is said quotes a value."""

from __future__ import annotations

import json

import pytest

from dataplane.bird.credentials import Password
from felixpy.bgp.passwords import ENDS_WITH_NEWLINE
from felixpy.bgp.secret_manifests import ManifestError, read_secrets
from tests.felixpy.bgp.secret_texts import HIDDEN, secret

NOT_BASE64 = "is not base64: what is plain belongs under stringData"
HEAD = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"


def values(text: str) -> dict[str, Password | str]:
    found = read_secrets(text, is_json=False)
    assert not found.strange
    return dict(found.secrets[0].values)


VALUES = [
    # what is under the head           key: what it comes to
    ("data: {k: c2VjcmV0}",            {"k": Password("secret")}),
    ("data: {k: 'c2Vj\n\n  cmV0'}",    {"k": Password("secret")}),
    ("stringData: {k: secret}",        {"k": Password("secret")}),
    ("data: {k: b2xk}\nstringData: {k: new}",       {"k": Password("new")}),
    ("data: {a: b2xk}\nstringData: {b: new}",       {"a": Password("old"), "b": Password("new")}),
    ("data:\nstringData:",             {}),
    ("data: {k: '%%%'}",               {"k": NOT_BASE64}),
    ("data: {k: c2VjcmV0Cg==}",        {"k": ENDS_WITH_NEWLINE}),
    ("stringData: {k: 12345}",         {"k": "is not text: put it in quotes"}),
    ("stringData: {k: ''}",            {"k": "is empty"}),
    ("data: {k: ''}",                  {"k": "is empty"}),
    ("stringData: {k: ''}\ndata: {k: c2VjcmV0}",    {"k": "is empty"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), VALUES)
def test_data_is_base64_and_string_data_plain(text, expected):
    assert values(HEAD + text) == expected


WRONG = [
    (f"stringdata: {{k: {HIDDEN}}}", "not have, did you mean 'stringData'?"),
    (f"{HIDDEN}: x", "has a field that a Secret does not have"),
    (f"data: {HIDDEN}", "its data is not a map"),
    (f"stringData: [{HIDDEN}]", "its stringData is not a map"),
    (f"stringData: {{'{HIDDEN} !': x}}", "its stringData has an improper key"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), WRONG)
def test_a_secret_with_a_slip_of_the_pen_is_refused_as_a_whole(text, reason):
    found = read_secrets(HEAD + text, is_json=False).secrets[0]
    assert not found.values
    assert reason in found.wrong
    assert HIDDEN not in repr(found)


STRANGE = [
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n",
    "apiVersion: v2\nkind: Secret\nmetadata: {name: c}\n",
    "apiVersion: v1\nkind: Secret\n",
    f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {HIDDEN}}}\n",
    f"apiVersion: v1\nkind: Secret\nmetadata: {HIDDEN}\n",
    f"apiVersion: v1\nkind: Secret\nmetadata: {{name: x, namespace: [{HIDDEN}]}}\n",
    f"{HIDDEN}\n",
    f"- {HIDDEN}\n",
]


@pytest.mark.parametrize("text", STRANGE)
def test_what_is_no_secret_counts_for_nothing_and_spoils_nothing(text):
    found = read_secrets(f"{secret('good')}---\n{text}", is_json=False)
    assert [entry.name for entry in found.secrets] == ["bgp-secrets"]
    assert len(found.strange) == 1
    assert found.strange[0].startswith("line 7: ")
    assert HIDDEN not in found.strange[0]


BROKEN = [
    (f"stringData: {{k: {HIDDEN}", False),
    (f"stringData: {{{HIDDEN}: a, {HIDDEN}: b}}", False),
    (f"stringData: !{HIDDEN} x", False),
    (f"a: !!int {HIDDEN}", False),
    (f"a: *{HIDDEN}", False),
    (f"{HIDDEN}: \x01", False),
    (f'{{"{HIDDEN}": 1, "{HIDDEN}": 2}}', True),
    (f'{{"k": {HIDDEN}}}', True),
]


@pytest.mark.parametrize(("text", "is_json"), BROKEN)
def test_a_text_that_cannot_be_read_is_not_quoted(text, is_json):
    with pytest.raises(ManifestError) as caught:
        read_secrets(text, is_json=is_json)
    assert HIDDEN not in str(caught.value)


def test_lists_and_json():
    items = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": n}, "stringData": {"k": n}}
        for n in ("a", "b")
    ]
    for kind in ("List", "SecretList"):
        text = json.dumps({"apiVersion": "v1", "kind": kind, "items": items})
        found = read_secrets(text, is_json=True).secrets
        assert [(entry.name, entry.values["k"]) for entry in found] == [
            ("a", Password("a")),
            ("b", Password("b")),
        ]
