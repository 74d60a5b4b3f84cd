from __future__ import annotations

from dataplane.ipsec.news import News


def test_what_has_changed_is_told_once() -> None:
    news: News[str, int] = News()
    there = {"a": 1, "b": 2}
    news.touch(there)
    assert news.take(there) == {"a": 1, "b": 2}
    assert news.take(there) == {}
    news.touch(["a"])
    assert news.take(there) == {}, "it was touched, and is the same"
    there["a"] = 3
    assert news.take(there) == {}, "nobody has said so"
    news.touch(["a"])
    assert news.take(there) == {"a": 3}


def test_what_has_gone_is_told_if_it_was_there() -> None:
    news: News[str, int] = News()
    there = {"a": 1}
    news.touch(["a"])
    news.take(there)
    there.clear()
    news.touch(["a", "b"])
    assert news.take(there) == {"a": None}
    news.touch(["a"])
    assert news.take(there) == {}
