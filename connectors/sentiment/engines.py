"""The engines by name. A module of an engine is imported only when it is asked for."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from tapedeck.connectors.sentiment.scorer import Scorer
from tapedeck.streams.config.text_groups import Sentiment


def _named(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(f"tapedeck.connectors.sentiment.{module}"), name)


def _built_in(path: str) -> Callable[[Sentiment, str], Scorer]:
    def make(chosen: Sentiment, model: str) -> Scorer:
        del model  # it is part of the release
        made: Scorer = _named(path)(chosen.label_threshold)
        return made

    return make


def _of_model(path: str) -> Callable[[Sentiment, str], Scorer]:
    def make(chosen: Sentiment, model: str) -> Scorer:
        made: Scorer = _named(path)(model, chosen.label_threshold)
        return made

    return make


def _hybrid(chosen: Sentiment, model: str) -> Scorer:
    """FinBERT by ONNX Runtime if the model is an exported one, else by torch."""
    is_exported = bool(model) and (Path(model) / _named("finbert:EXPORTED")).is_file()
    first = ENGINES["onnx" if is_exported else "finbert"](chosen, model)
    made: Scorer = _named("hybrid:Hybrid")(first, ENGINES["light"](chosen, ""), chosen.hybrid_cut)
    return made


ENGINES = {
    "light": _built_in("light:Light"),
    "lexicon": _built_in("lexicon:Lexicon"),
    "finbert": _of_model("finbert:Finbert"),
    "onnx": _of_model("onnx:Onnx"),
    "hybrid": _hybrid,
}
"""``sentiment.engine`` to what makes the engine of the parameters and of the model's folder or name."""


def scorer_of(chosen: Sentiment, model: str = "") -> Scorer:
    """The engine that the configuration names.

    ``model``: the model's folder, or its name on the hub, for the engines that have none of their own. Raises
    Fatal if the model or a package that it needs cannot be loaded.
    """
    return ENGINES[chosen.engine](chosen, model)
