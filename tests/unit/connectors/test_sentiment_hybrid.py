"""The hybrid engine by its rule, its fall-back, and what is said where an extra is not installed."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

import pytest

from tapedeck.connectors.sentiment import bert, extras
from tapedeck.connectors.sentiment.engines import scorer_of
from tapedeck.connectors.sentiment.hybrid import Hybrid
from tapedeck.connectors.sentiment.scorer import (
    FALLBACK,
    Mattered,
    Model,
    Score,
    ScoreFailed,
    SentimentReason,
    outcomes,
    scored,
)
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.text_groups import Sentiment


class Fixed:
    """An engine that gives the number that it finds in a text under its name, or does what stands there."""

    def __init__(self, name: str, act: Callable[[], None] = lambda: None) -> None:
        self.model = Model(name, f"{name}-1", name.ljust(16, "0"))
        self._act = act

    def score(self, texts: Sequence[str]) -> list[Score]:
        return [self._one(json.loads(text)[self.model.engine]) for text in texts]

    def mattered(self, text: str, count: int) -> list[Mattered]:
        return []

    def _one(self, value: float | None) -> Score:
        if value is None:
            raise ScoreFailed("no number")
        self._act()
        return scored(max(value, 0), max(-value, 0), self.model, 0.05)


def text(first: float | None, light: float | None) -> str:
    return json.dumps({"finbert": first, "light": light})


def hybrid(act: Callable[[], None] = lambda: None, **seconds: float) -> Hybrid:
    return Hybrid(Fixed("finbert", act), Fixed("light"), 0.2, **seconds)


@pytest.mark.parametrize(
    ("first", "light", "engine"),
    [
        (0.21, -0.9, "finbert"),
        (-0.21, 0.9, "finbert"),
        (0.2, 0.9, "light"),
        (0.2, -0.2, "finbert"),
        (0.1, -0.11, "light"),
        (-0.1, 0.09, "finbert"),
        (0.0, 0.0, "finbert"),
    ],
)
def test_finbert_is_taken_above_the_cut_and_else_the_larger_with_a_tie_to_finbert(
    first: float, light: float, engine: str
) -> None:
    (found,) = hybrid().score([text(first, light)])
    assert (found.engine, found.score) == (engine, first if engine == "finbert" else light)


def test_a_failed_text_alone_falls_back_and_both_failing_is_no_score() -> None:
    rows = [text(0.9, 0.1), text(None, 0.1), text(None, None), text(0.3, None)]
    found = outcomes(hybrid(), rows)
    assert [each.reason for each in found] == [
        SentimentReason.SCORED,
        SentimentReason.LIGHT_FALLBACK,
        SentimentReason.SCORE_FAILED,
        SentimentReason.SCORED,
    ]
    assert [each.score and (each.score.engine, each.score.score) for each in found] == [
        ("finbert", 0.9),
        (FALLBACK, 0.1),
        None,
        ("finbert", 0.3),
    ]
    assert found[1].score is not None and found[1].score.model_digest == "light".ljust(16, "0")


def test_a_call_that_takes_too_long_falls_back_and_no_second_one_starts_beside_it() -> None:
    freed, calls = threading.Event(), list[int]()

    def wait() -> None:
        calls.append(1)
        freed.wait(20)

    scorer = hybrid(wait, call_s=0.05, text_s=0.0)
    assert [scorer.score([text(0.9, 0.1)])[0].engine for _ in range(3)] == [FALLBACK] * 3
    assert len(calls) == 1
    freed.set()
    assert scorer._running is not None
    scorer._running.join(20)
    assert hybrid().score([text(0.9, 0.1)])[0].engine == "finbert"
    assert scorer.score([text(0.9, 0.1)])[0].engine == "finbert"


def test_an_error_that_is_no_failed_score_is_raised_in_the_caller() -> None:
    def broken() -> None:
        raise ValueError("a fault of ours")

    with pytest.raises(ValueError, match="a fault of ours"):
        hybrid(broken).score([text(0.9, 0.1)])


@pytest.mark.parametrize(("engine", "extra"), [("finbert", "ml"), ("hybrid", "ml"), ("onnx", "onnx")])
def test_a_missing_package_is_named_with_the_command_only_when_it_is_asked_for(
    engine: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(extras, "import_module", absent)
    with pytest.raises(Fatal, match=rf"not installed.*pip install 'tapedeck\[{extra}\]'"):
        scorer_of(Sentiment(engine=engine))
    assert scorer_of(Sentiment()).score(["Profit rose"])


def test_the_modules_of_the_engines_import_none_of_the_extras() -> None:
    names = ("finbert", "onnx", "hybrid", "export")
    code = (
        "import importlib, sys\n"
        f"[importlib.import_module('tapedeck.connectors.sentiment.' + name) for name in {names}]\n"
        "print([n for n in ('torch', 'transformers', 'onnxruntime', 'tokenizers') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"},
        {"0": "positive", "1": "negative"},
        {"0": "positive", "1": "negative", "2": "positive"},
        {"0": "positive", "1": "negative", "2": "neutral", "3": "mixed"},
        {"0": "positive", "1": "negative", "3": "neutral"},
    ],
)
def test_labels_that_are_not_the_three_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(Fatal, match="not positive, negative and neutral"):
        bert.order_of(labels, "config.json")


def test_labels_are_found_by_name_and_batches_hold_texts_of_like_length() -> None:
    assert bert.order_of({"0": "Neutral", "1": "Positive", "2": "Negative"}, "x") == (1, 2, 0)
    lengths = [512, 3, 4, 512, 3, *([512] * 20)]
    found = list(bert.batches(lengths))
    assert found[0] == [1, 4, 2] or found[0][:3] == [1, 4, 2]
    assert sorted(place for batch in found for place in batch) == list(range(25))
    assert max(len(batch) * max(lengths[place] for place in batch) for batch in found) <= 4096
    assert [len(batch) for batch in bert.batches([5] * 3, rows=1)] == [1, 1, 1]
