"""What news touched is explained back to the article, its version and where it can be read."""

from functools import cache
from typing import Any

import pytest

from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.explain.explanation import Explanation, explain_from
from tapedeck.tape.explain.reevaluate import Verdict
from tapedeck.tape.explain.tree import Node
from tapedeck.topics.catalogue import Layout
from tests.support.paths import CONFIG, bodies
from tests.support.sim_tapes import run_with_news, small_tape, written
from tests.support.whatifs import recorded

MINUTES = slice(60, 105)


@cache
def log() -> MemoryLog:
    """Three quarters of an hour with synthetic news."""
    made = written(small_tape(), minutes=MINUTES, history_tail=150, absent=())
    run_with_news(made, CONFIG)
    assert bodies(made, "sentiment")
    return made


def explained(asked: str) -> Explanation:
    return explain_from(TOPOLOGY, MemorySource(Layout(), recorded(log())), CONFIG, asked)


def newest(name: str) -> dict[str, Any]:
    """The last record that news touched."""
    windows = {body["event_id"] for body in bodies(log(), "sentiment_windows") if body["n_30"]}
    return [body for body in bodies(log(), name) if windows.intersection(body["inputs"])][-1]


def inputs(node: Node, name: str) -> list[Node]:
    return [each for each in node.inputs if each.found is not None and each.found.topic == name]


@pytest.mark.parametrize("name", ["decisions", "scores"])
def test_what_joined_news_goes_back_to_the_versions_of_the_articles_that_counted(name: str) -> None:
    asked = newest(name)
    found = explained(asked["event_id"])
    assert found.verdict is Verdict.SAME and "NOT EVALUATED" not in found.text(), found.text()
    (windows,) = (node for node in found if node.event_id in asked["inputs"] and inputs(node, "sentiment"))
    text, scores = found.text(), inputs(windows, "sentiment")
    assert windows.found is not None and len(scores) == len(windows.found.body["inputs"]) > 0
    told = {node.event_id: node for node in found}
    for score in scores:
        (linked,) = inputs(score, "links")
        (article, *_) = inputs(told[linked.event_id], "news")
        assert score.found is not None and article.found is not None
        assert article.found.body["event_uid"] == score.found.body["event_uid"]
        assert f"url: {article.found.body['url']}" in text
        assert f'"{article.found.body["title"]}"'[:60] in text
        assert f"{asked['symbol']} {score.found.body['label']}" in text
    assert "scored once by light, model" in text


@pytest.mark.parametrize("name", ["sentiment", "news"])
def test_a_score_is_a_fact_like_an_article_and_not_computed_again(name: str) -> None:
    body = bodies(log(), name)[-1]
    found = explained(body["event_id"])
    assert found.roots[0].found is not None and found.roots[0].found.topic == name
    assert body["event_id"] not in found.checks
