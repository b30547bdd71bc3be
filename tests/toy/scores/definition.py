"""The scores stage, listening to moods."""

from dataclasses import replace

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.scores.definition import DEFINITION as SHIPPED
from tests.toy.listening import MOODS, Listening


def _make(config: Config, calendar: Calendar, account_id: str | None) -> Stage:
    return Listening(SHIPPED.make(config, calendar, None), config.digest, ("scores",))


DEFINITION = replace(SHIPPED, make=_make, reads=(*SHIPPED.reads, MOODS), columnar=None)
