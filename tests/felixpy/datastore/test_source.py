"""What every datastore says about what is wrong."""

import pytest

from felixpy.datastore.source import BadInput, DatastoreStartError, Problems


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (BadInput("f.yaml", 3, 7, "spec.x", "unknown"), "f.yaml:3:7: spec.x: unknown"),
        (BadInput("f.yaml", 3, 0, "", "unknown"), "f.yaml:3: unknown"),
        (BadInput("/calico/key", 0, 0, "spec.x", "unknown"), "/calico/key: spec.x: unknown"),
    ],
)
def test_an_error_is_one_line(error, text):
    assert str(error) == text


def test_a_start_error_lists_all_in_the_order_of_their_places():
    errors = [BadInput(where, line, 0, "", "x") for where, line in [("b", 1), ("a", 10), ("a", 9)]]
    assert str(DatastoreStartError(errors)) == "a:9: x\na:10: x\nb:1: x"


def test_listeners_hear_of_every_change_and_of_nothing_else():
    problems = Problems()
    heard = []
    problems.listen(lambda: heard.append(dict(problems.current)))
    assert problems.report("f", "bad")
    assert not problems.report("f", "bad")
    assert problems.report("f", "worse")
    assert not problems.clear("g")
    assert problems.clear("f")
    assert heard == [{"f": "bad"}, {"f": "worse"}, {}]
    assert problems.version == 3
