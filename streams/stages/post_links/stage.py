"""The post_links stage: the symbols that each version of a post or comment names.

State, in 256 keys: the last version of each post for as long as its thread is visited again.
"""

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Batch, Drop, Out, Row, Step
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.base import Body, WithoutPeriod, derived
from tapedeck.streams.stages.links.items import Linker, counted, fact_of, links_body, name_of
from tapedeck.streams.stages.links.memory import Memory
from tapedeck.streams.stages.links.reasons import LinkReason
from tapedeck.streams.stages.links.rule import Linked
from tapedeck.streams.stages.links.text import text_of
from tapedeck.streams.stages.post_links.state import Post, bucket_of, opened, packed

SCOPE = "SOCIAL"


class PostLinksStage(WithoutPeriod):
    """Trigger ``posts``; one ``post_links`` record per version."""

    def __init__(self, config: Config, calendar: Calendar) -> None:
        self._config = config
        self._linker = Linker(config)

    def key(self, row: Row) -> bytes:
        return bucket_of(name_of(row.body))

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        memory = opened(state, self._config.reddit)
        outs, drops = list[Out](), list[Drop]()
        for cause, row in enumerate(batch):
            memory.advance(row.log_minute)
            reason = memory.refuses(name_of(row.body), row.body["updated_at"])
            if reason is not None:
                drops.append(Drop(cause, reason))
                continue
            out, post = self._version(cause, row, memory)
            outs.append(out)
            drops += [Drop(cause, LinkReason.MEMORY_FULL)] * memory.put(name_of(row.body), post)
        return Step(packed(memory.entries), outs, drops)

    def linked(self, body: Body) -> tuple[str, Linked]:
        """The text of a post, and what it is linked to. A removed one has none, and so no links."""
        text = "" if body["removed"] else text_of(body["title"], body["text"])
        return text, self._linker.linked(text, None)

    def post(self, body: Body, found: Linked) -> Post:
        """What is remembered of a version."""
        return Post(body["event_time"], body["updated_at"], counted(found))

    def _version(self, cause: int, row: Row, memory: Memory[Post]) -> tuple[Out, Post]:
        """The record of a new version, and what to remember of it."""
        body, name = row.body, name_of(row.body)
        known = memory.entries.get(name)
        text, found = self.linked(body)
        links = links_body(body, SCOPE, text, found, known.symbols if known else ())
        links |= {"story": None, "folded": False}
        inputs = [body["event_id"], *([fact_of(row.topic, name, known.updated_at)] if known else [])]
        return derived(cause, "post_links", links, self._config.digest, inputs), self.post(body, found)
