"""The engines by name. A module of an engine is imported only when it is asked for."""

from collections.abc import Callable
from functools import partial
from importlib import import_module

from tapedeck.connectors.sentiment.scorer import Scorer
from tapedeck.streams.config.text_groups import Sentiment

ENGINES = {"light": "light:Light", "lexicon": "lexicon:Lexicon"}
"""``sentiment.engine`` to the class, module:name, that is made with the label's threshold."""


def scorer_of(chosen: Sentiment) -> Scorer:
    """The engine that the configuration names. Raises Fatal where its model cannot be read."""
    module, name = ENGINES[chosen.engine].split(":")
    engine: Callable[[], Scorer] = partial(
        getattr(import_module(f"tapedeck.connectors.sentiment.{module}"), name), chosen.label_threshold
    )
    return engine()
