"""What a demo says of its news, step by step, and that it says nothing where there was none."""

import json
from typing import Any

import pytest

from tapedeck.tape.demo.news import news_told
from tapedeck.tape.demo.report import commands, report
from tapedeck.tape.recording import Recording, TopicRecords
from tapedeck.topics.catalogue import Layout
from tests.unit.tape.test_demo_summary import summary

FACTORS = {"base": 0.6, "sentiment": 1.0, "volume": 1.0, "move": 1.0, "momentum": 1.0}


def signal(number: int, n: int, mean: float, factor: float, volume: float = 1.0) -> dict[str, Any]:
    return {
        "signal_id": f"s{number}", "symbol": "AMD", "action": "BUY_CALL",
        "confidence": min(1.0, 0.6 * factor * volume),
        "factors": FACTORS | {"sentiment": factor, "volume": volume}, "sentiment_n": n, "sentiment_avg": mean,
    }  # fmt: skip


BODIES: dict[str, list[dict[str, Any]]] = {
    "news": [{}, {}],
    "posts": [{}],
    "links": [{"links": [{"symbol": "AMD"}], "folded": False}, {"links": [], "folded": True}],
    "post_links": [{"links": [{"symbol": "AMD"}], "folded": False}],
    "sentiment": [{"reason": "SCORED", "score": 0.9}, {"reason": "RETRACTED", "score": None}],
    "sentiment_windows": [{}],
    "scores": [{"sentiment_n": 0}, {"sentiment_n": 2}],
    "decisions": [{"sentiment_n": 1}, {"sentiment_n": 0}],
    "signals": [
        signal(1, 1, 0.1, 1.005),
        signal(2, 5, 0.9, 1.225),
        signal(3, 0, 0.0, 1.0),
        signal(4, 5, 0.9, 1.2, 2.0),
    ],
}


def recorded(**changed: list[dict[str, Any]]) -> Recording:
    topics = {
        name: TopicRecords(name, bodies={str(number): body for number, body in enumerate(found)})
        for name, found in (BODIES | changed).items()
    }
    return Recording(Layout(), topics)


def test_each_step_is_counted_and_the_signal_that_news_changed_most_comes_first() -> None:
    told = news_told(recorded())
    assert told is not None
    assert (told.articles, told.posts, told.linked, told.folded) == (2, 1, 2, 1)
    assert (told.scored, told.retracted, told.windows, told.watch_scores, told.decisions) == (1, 1, 1, 1, 1)
    assert [each.signal_id for each in told.signals] == ["s2", "s1"]
    json.dumps(told.to_json())


def test_without_any_item_nothing_is_told() -> None:
    assert news_told(recorded(news=[], posts=[])) is None
    assert news_told(Recording(Layout())) is None


def test_the_report_shows_the_steps_and_the_signal_to_explain(tmp_path, capsys) -> None:
    found = summary()
    found.news = news_told(recorded())
    assert "explain s2" in commands(found)
    report(found, tmp_path, kept=False)
    said = capsys.readouterr().out
    assert "News: what came of it" in said
    assert "AMD BUY_CALL: confidence 0.73, 0.60 without its 5 articles" in said
    assert "tape explain s2" in said
    assert found.to_json()["news"]["signals"][0]["signal_id"] == "s2"


@pytest.mark.parametrize("signals", [True, False])
def test_the_report_says_nothing_of_news_where_there_was_none(signals: bool, tmp_path, capsys) -> None:
    found = summary()
    found.news = None if signals else news_told(recorded(signals=[]))
    report(found, tmp_path, kept=False)
    said = capsys.readouterr().out
    assert ("News: what came of it" in said) is not signals
    assert ("no signal's confidence was changed by news" in said) is not signals
    assert not any("explain" in command for command in commands(found))
