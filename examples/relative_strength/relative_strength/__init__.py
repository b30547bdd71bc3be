"""Relative strength: two stages of a user's own beside the shipped pipeline. Importing it declares its parts.

``strength`` measures how far a symbol runs ahead of the universe's mean. ``rsignals`` trades it.
"""

from importlib import resources

from relative_strength.parameters import Parameters
from tapedeck.schemas import ids
from tapedeck.streams.config import user
from tapedeck.topics.catalogue import declare
from tapedeck.topics.topic import SIGNALS, Spread, Topic

TOPICS = (
    Topic(
        name="universe_means", schema="universe_means", owner="strength",
        doc="the mean momentum of the universe, minute by minute",
        spread=Spread.ONE, key=(), part=None, natural_key=("evaluation",), watermarked=True,
    ),
    Topic(
        name="strengths", schema="strengths", owner="strength",
        doc="how far a symbol's momentum is above the universe's mean",
        spread=Spread.SYMBOL, key=("symbol",), part="symbol", natural_key=("symbol", "evaluation"),
        watermarked=True,
    ),
    Topic(
        name="rsignals", schema=SIGNALS, owner="rsignals",
        doc="actions on relative strength, for the dispatchers",
        spread=Spread.SYMBOL, key=("symbol",), part="symbol", natural_key=("signal_id",), watermarked=True,
    ),
)  # fmt: skip


def declare_all() -> None:
    """Declare the records, topics and parameters of this package."""
    ids.declare(resources.files(__name__) / "ids.jsonl")
    declare(*TOPICS)
    user.declare("relative_strength", Parameters)


declare_all()
