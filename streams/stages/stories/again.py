"""How links and the story of an article are recomputed.

From its version, the one before it, and the first article of the story that decided: those that the record
names. That no other story is more alike is not checked again.
"""

from tapedeck.streams.again import Again, Body, Case, Inputs
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Row, Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.links.items import name_of, uid_of
from tapedeck.streams.stages.stories.stage import KEY, StoriesStage
from tapedeck.streams.stages.stories.state import Article, packed


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    assert isinstance(stage, StoriesStage)
    articles = inputs.named("news", body)
    if len(articles) < len(body["inputs"]):
        return None
    this, *others = articles
    known = _known(stage, body, others, inputs)
    if known is None:
        return None
    return Case(KEY, packed(known), [Row("news", name_of(body).encode(), this, 0, 0)])


def _known(stage: StoriesStage, body: Body, others: list[Body], inputs: Inputs) -> dict[str, Article] | None:
    """The memory before the record, as far as it mattered; None if a story's first version is not kept."""
    name = name_of(body)
    before = next((each for each in others if name_of(each) == name), None)
    first = next((each for each in others if name_of(each) != name), None)
    known: dict[str, int | str | None] = {}
    if first is not None:
        known[name_of(first)] = _began(first, body, inputs) if body["folded"] else first["updated_at"]
    if before is not None:
        if not body["folded"] and body["story"] != body["event_uid"]:
            known[name] = _began(before, body, inputs)
        elif first is not None and not body["folded"]:  # it told the other one's story before
            known[name] = uid_of(name_of(first), first["updated_at"])
        else:
            known[name] = body["story"]
    found = {}
    for each in others:
        story = known[name_of(each)]
        if story is None:
            return None
        found[name_of(each)] = stage.article(each, stage.linked(each)[1], story)
    return found


def _began(article: Body, body: Body, inputs: Inputs) -> int | None:
    """The version of ``article`` that began the story of ``body``; None if it is not kept."""
    if article["event_uid"] == body["story"]:
        return int(article["updated_at"])
    rows = inputs.rows(name_of(article).encode(), article["event_time"] - MINUTE_US).rows
    versions = (row.body for row in rows if row.body["event_uid"] == body["story"])
    return next((int(each["updated_at"]) for each in versions), None)


AGAIN = Again(_case)
