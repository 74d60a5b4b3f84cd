import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.bird.faults import describe, parser_said
from dataplane.bird.version import Version

TEXT = """# Written by felixpy
protocol bgp a {
  local 10.0.0.1 as 64512; password "hunter2 secret"; multihop;
  description "of the ToR";
}
"""
REDACTED = TEXT.replace("hunter2 secret", "<secret s/k>")
VERSION = Version(TEXT, REDACTED, {})

SAID = [
    # case                  BIRD's words                                      ours
    (
        "a line",
        "bird: /etc/bird/f.new:5:3 syntax error, unexpected '}'",
        "line 5: syntax error, unexpected '}'; that line is: }",
    ),
    (
        "a string elsewhere",
        'f:5:1 Something about "of the ToR"',
        'line 5: Something about "..."; that line is: }',
    ),
    (
        "the password's line",
        "f:3:40 syntax error, unexpected hunter2",
        "line 3: syntax error; that line is: local 10.0.0.1 as 64512; password ...",
    ),
    (
        "an unknown message about it",
        "f:3:40 Cannot use hunter2 secret",
        "line 3: refused; that line is: local 10.0.0.1 as 64512; password ...",
    ),
    (
        "the line after it",
        'f:4:1 Unterminated string "hunter2',
        'line 4: Unterminated string; that line is: description "...";',
    ),
    ("no line", "bird: Unable to open f: Denied", "bird: Unable to open f: Denied"),
    ("beyond the end", "f:99:1 syntax error", "line 99: syntax error"),
    ("nothing", "", "BIRD refuses it and does not say why"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "ours"), [each[1:] for each in SAID], ids=[e[0] for e in SAID])
def test_describe(said: str, ours: str) -> None:
    assert describe(said, VERSION) == ours


def test_a_crash_is_told_by_its_signal() -> None:
    assert parser_said(-6, "realloc(): invalid old size", VERSION) == (
        "BIRD's parser was ended by signal 6"
    )
    assert parser_said(1, "f:1:1 syntax error", VERSION).startswith("line 1: syntax error")


PASSWORDS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"'))


@given(PASSWORDS.map(lambda text: f"!{text}!~#"), st.integers(1, 9), st.booleans())
def test_no_password_is_shown(password: str, line: int, quoted: bool) -> None:
    """Whatever BIRD quotes of the line that it is about."""
    text = TEXT.replace("hunter2 secret", password)
    version = Version(text, REDACTED, {})
    said = f'"{password}"' if quoted or line not in (3, 4) else password
    assert password not in describe(f"f:{line}:1 syntax error, unexpected {said}", version)
    assert password not in describe(f"f:{line}:1 What is {said} doing here", version)
