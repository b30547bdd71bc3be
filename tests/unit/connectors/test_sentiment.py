"""The sentiment engines: the domain's vectors, labels, bad input, and a score that needs no company."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.connectors.sentiment import light, words
from tapedeck.connectors.sentiment.engines import scorer_of
from tapedeck.connectors.sentiment.lexicon import Lexicon
from tapedeck.connectors.sentiment.light import Light
from tapedeck.connectors.sentiment.scorer import (
    FALLBACK,
    Label,
    Mattered,
    Model,
    Score,
    ScoreFailed,
    SentimentReason,
    label_of,
    outcomes,
    scored,
)
from tapedeck.connectors.sentiment.text import tokens_of
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.text_groups import Sentiment

LEXICON, LIGHT = Lexicon(), Light()
BOTH = pytest.mark.parametrize("scorer", [LEXICON, LIGHT], ids=["lexicon", "light"])
ODD = [
    "\0",
    "\ud800 profit \udfff",
    "🚀" * 50,
    "利润大幅增长",
    "أرباح الشركة",
    "\u202e",
    "&#0;&#xd800;",
    "ﷺ" * 2000,
]


@pytest.mark.parametrize(
    ("text", "score", "confidence"),
    [
        ("the annual meeting", 0.0, 1.0),
        ("profit rose", 0.5, 0.5),
        ("strong profit rose", 0.666667, 0.666667),
        ("shares rose, a weak and bleak day", -0.25, 0.5),
    ],
)
def test_the_lexicon_gives_the_vectors_of_the_domain(text: str, score: float, confidence: float) -> None:
    (found,) = LEXICON.score([text])
    assert (found.score, found.confidence) == (score, confidence)


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("not strong", [-1]),
        ("never a very strong", [-1]),
        ("never a very very strong", [1]),
        ("it isn't weak", [1]),
        ("it isn\u2019t weak", [1]),
        ("without growth, no weak", [-1, 1]),
        ("strong, not", [1]),
    ],
)
def test_a_hit_up_to_three_tokens_after_a_negation_changes_side(text: str, sides: list[int]) -> None:
    assert [hit.side for hit in LEXICON.hits(text)] == sides


def test_the_label_is_neutral_up_to_the_threshold_on_both_sides() -> None:
    found = [label_of(score, 0.05) for score in (0.050001, 0.05, 0.0, -0.05, -0.050001)]
    neutral = [Label.NEUTRAL] * 3
    assert found == [Label.POSITIVE, *neutral, Label.NEGATIVE]
    assert scorer_of(Sentiment(label_threshold=0.6)).score(["Profit surged to a record"])[0].label in Label
    assert Lexicon(0.5).score(["profit rose"])[0].label is Label.NEUTRAL


def test_an_engine_is_made_by_its_name_and_says_its_model() -> None:
    for name in ("light", "lexicon"):
        scorer = scorer_of(Sentiment(engine=name))
        assert scorer.model.engine == name
        assert len(scorer.model.digest) == 16
        assert scorer.score(["x"])[0][-3:] == scorer.model


@BOTH
def test_an_empty_text_is_told_as_such_and_the_others_are_scored(scorer: Light | Lexicon) -> None:
    found = outcomes(scorer, ["", "Profit rose", " \n\t", "\0"])
    told = [each.reason for each in found]
    empty = SentimentReason.EMPTY_TEXT
    assert told == [empty, SentimentReason.SCORED, empty, empty]
    assert [each.score is None for each in found] == [True, False, True, True]
    assert outcomes(scorer, []) == []


class Failing:
    """An engine that fails a batch that holds a bad word, and falls back for another."""

    model = Model("failing", "m", "0" * 16)

    def score(self, texts: Sequence[str]) -> list[Score]:
        if "bad" in texts:
            raise ScoreFailed("it cannot")
        fallback = self.model._replace(engine=FALLBACK)
        return [scored(0.5, 0.2, fallback if text == "slow" else self.model, 0.05) for text in texts]

    def mattered(self, text: str, count: int) -> list[Mattered]:
        return []


def test_a_text_that_fails_is_told_as_such_and_takes_no_other_with_it() -> None:
    found = outcomes(Failing(), ["good", "bad", "slow", ""])
    assert [each.reason for each in found] == ["SCORED", "SCORE_FAILED", "LIGHT_FALLBACK", "EMPTY_TEXT"]
    assert found[1].score is None


@BOTH
@given(texts=st.lists(st.text(st.characters(exclude_categories=[])) | st.sampled_from(ODD), max_size=6))
@settings(max_examples=60, deadline=None)
def test_whatever_the_text_its_probabilities_sum_to_one_and_its_company_does_not_matter(
    scorer: Light | Lexicon, texts: list[str]
) -> None:
    found = outcomes(scorer, texts)
    assert found == [outcomes(scorer, [text])[0] for text in texts]
    for each in found:
        if each.score is None:
            assert each.reason is SentimentReason.EMPTY_TEXT
            continue
        shares = each.score[:3]
        assert all(0 <= share <= 1 for share in shares)
        assert sum(shares) == pytest.approx(1, abs=1e-6)
        assert each.score.score == round(shares[0] - shares[1], 6)
        assert each.score.confidence == max(shares)


@BOTH
@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_scored_or_empty_and_tell_what_mattered(scorer: Light | Lexicon, text: str) -> None:
    (found,) = outcomes(scorer, [text])
    assert found.reason in (SentimentReason.SCORED, SentimentReason.EMPTY_TEXT)
    assert len(scorer.mattered(text, 5)) <= 5


@BOTH
def test_a_text_of_a_megabyte_is_scored_by_its_first_two_thousand_characters(scorer: Light | Lexicon) -> None:
    start = ("Operating profit fell and the outlook was cut. " * 50)[:2000]
    assert outcomes(scorer, [start + " record profit" * 80_000]) == outcomes(scorer, [start])


def test_links_handles_tickers_case_and_digits_do_not_count() -> None:
    styled = "$NVDA NVIDIA (NASDAQ:NVDA) profit rose 12% @someone https://t.co/x1 #Stocks"
    assert tokens_of(styled).words == ["nvidia", "profit", "rose", "0", "%", "stocks"]
    assert tokens_of("EUR 1.5 mn vs. 900,000 at 10:30").numbers[:2] == [(1, 1.5e6), (4, 900_000.0)]


def test_the_order_of_two_numbers_decides_where_the_words_are_the_same() -> None:
    up, down = LIGHT.score(
        [f"Quarterly sales were ${a} billion vs. ${b} billion" for a, b in (("4.9", "4.1"), ("4.1", "4.9"))]
    )
    assert up.score > 0.05 > -0.05 > down.score


def test_how_much_a_thing_moved_does_not_change_which_way_it_went() -> None:
    rose, fell = LIGHT.score(["Profit rose sharply", "Profit fell sharply"])
    assert (rose.label, fell.label) == (Label.POSITIVE, Label.NEGATIVE)


def test_the_tokens_that_mattered_are_those_without_which_the_score_moves() -> None:
    text = "Shares plunged after the company issued a profit warning on Tuesday"
    told = LIGHT.mattered(text, 3)
    assert "plunged" in told[0].token
    assert all(each.weight < 0 for each in told[:1])
    assert told == LIGHT.mattered(text, 3)
    assert LEXICON.mattered("profit rose, not weak", 5) == [Mattered("rose", 1.0), Mattered("weak", 1.0)]


def test_a_model_file_that_cannot_be_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    broken = tmp_path / "light.npz"
    broken.write_bytes(b"PK\x03\x04 no model")
    with pytest.raises(Fatal, match=r"cannot be read.*lexicon"):
        light.read(broken)
    with pytest.raises(Fatal, match="cannot be read"):
        light.read(tmp_path / "absent.npz")
    np.savez(broken, version=np.array(0), **light.shipped()._asdict())
    with pytest.raises(Fatal, match=r"version 0, not 1.*train it again"):
        light.read(broken)


def test_the_word_list_has_each_word_once_in_lower_case() -> None:
    lines = words.FILE.read_text(encoding="utf-8").splitlines()
    kinds = {line.split("\t")[0] for line in lines}
    assert len(words.classes()) == len(lines)
    assert kinds == {"pos", "neg", "up", "down", "good", "bad", "not", "undo", "than", "plan"}
    assert all(word == word.lower() for word in words.classes())


def test_importing_tapedeck_or_the_lexicon_loads_no_model() -> None:
    told = (
        "import tapedeck, tapedeck.connectors.sentiment.lexicon, sys; print('light' in ' '.join(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
