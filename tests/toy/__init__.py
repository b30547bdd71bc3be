"""A package as a user would write it: a stage of its own, moods, which two shipped stages join optionally.

Importing it declares its records and topics. ``TAPE_TOPOLOGY=tests.toy.topology:TOPOLOGY`` runs it.
"""

from importlib import resources

from tapedeck.schemas import ids
from tapedeck.topics.catalogue import declare
from tapedeck.topics.topic import Spread, Topic


def declare_all() -> None:
    """The records and topics of this package."""
    ids.declare(resources.files(__name__) / "ids.jsonl")
    declare(*_TOPICS)


_TOPICS = (
    Topic(
        name="toy_notes", schema="toy_notes", owner="feed", doc="a line about a symbol, with how good it is",
        spread=Spread.SYMBOL, key=("symbol",), part="symbol", natural_key=("symbol", "t"), watermarked=True,
    ),
    Topic(
        name="toy_moods", schema="toy_moods", owner="moods", doc="the mean of a symbol's notes so far",
        spread=Spread.SYMBOL, key=("symbol",), part="symbol", natural_key=("symbol", "t"), watermarked=True,
    ),
)  # fmt: skip

declare_all()
