"""How links of a post are recomputed: from its version, and the one before it."""

from tapedeck.streams.again import Again, Body, Case, Inputs
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Row, Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.links.items import name_of
from tapedeck.streams.stages.post_links.stage import PostLinksStage
from tapedeck.streams.stages.post_links.state import bucket_of, packed


def _case(stage: Stage, config: Config, calendar: Calendar, body: Body, inputs: Inputs) -> Case | None:
    assert isinstance(stage, PostLinksStage)
    versions = inputs.named("posts", body)
    if len(versions) < len(body["inputs"]):
        return None
    this, *before = versions
    name = name_of(body)
    known = {name_of(each): stage.post(each, stage.linked(each)[1]) for each in before}
    return Case(bucket_of(name), packed(known), [Row("posts", name.encode(), this, 0, 0)])


AGAIN = Again(_case)
