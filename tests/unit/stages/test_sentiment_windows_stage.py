"""The sentiment_windows stage: which scores count, when windows are written, what is known again."""

from collections.abc import Iterable
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.frame import pack
from tapedeck.streams.protocol import MINUTE_US, Row
from tapedeck.streams.sessions import xnys
from tapedeck.streams.shell import _Values
from tapedeck.streams.sim.task import MemoryStore
from tapedeck.streams.stages.sentiment_windows.items import CAP
from tapedeck.streams.stages.sentiment_windows.stage import SentimentWindowsStage
from tapedeck.streams.stages.sentiment_windows.told import TOLD
from tests.support.market_bodies import Table
from tests.support.sentiment import T0, minute, score
from tests.support.sentiments import sentiment_row as row

CONFIG = Config()
Body = dict[str, Any]


class Minutes(Table):
    """The stage, minute by minute."""

    def __init__(self, config: Config = CONFIG) -> None:
        super().__init__(SentimentWindowsStage(config, xnys()))
        self.label = T0 - MINUTE_US

    def hear(self, *scores: Body) -> list[str]:
        """Scores after the last watermark; returns the reasons of those that do not count."""
        known = len(self.drops)
        self.feed([row(body, self.label) for body in scores])
        return self.reasons()[known:]

    def windows(self, t: int) -> list[Body]:
        """What is written for ``t``."""
        self.label = t - MINUTE_US
        return [out.body for out in self.mark(self.label)]


def scoped(watchlist: str, signals: str) -> Config:
    return from_dict({"watchlist": {"sentiment_scope": watchlist}, "signal": {"sentiment_scope": signals}})


def counts(body: Body) -> tuple[int, int]:
    return body["n_30"], body["n_60"]


def test_a_score_is_in_both_windows_from_the_minute_that_its_item_is_of() -> None:
    made = Minutes()
    told = score(at=minute(0.5))
    assert made.hear(told) == []
    assert made.windows(minute(0)) == []
    (body,) = made.windows(minute(1))
    assert (body["symbol"], body["t"], body["event_time"], body["inputs"]) == (
        "NVDA", minute(1), minute(1), [told["event_id"]],
    )  # fmt: skip
    for minutes in (30, 60):
        named = ("n", "avg", "pos", "neg", "neu", "newest_at")
        assert [body[f"{name}_{minutes}"] for name in named] == [1, 0.8, 1, 0, 0, minute(0.5)]
    assert made.windows(minute(2)) == []


def test_neutral_items_lower_the_mean_and_the_newest_item_is_the_one_of_the_last_event_time() -> None:
    made = Minutes()
    made.hear(score(item="a", score=0.8), score(item="b", score=0.04), score(item="c", score=-0.4, at=T0 - 9))
    (body,) = made.windows(T0)
    assert (body["avg_60"], body["pos_60"], body["neg_60"], body["neu_60"]) == (0.133333, 1, 1, 1)
    assert body["newest_at_60"] == T0 and len(body["inputs"]) == 3 == len(set(body["inputs"]))
    assert body["inputs"] == sorted(body["inputs"])


def test_an_item_leaves_each_window_when_it_is_exactly_as_old_and_both_are_written() -> None:
    made = Minutes()
    made.hear(score(at=T0))
    written = [(n, counts(body)) for n in range(70) for body in made.windows(minute(n))]
    assert written == [(0, (1, 1)), (30, (0, 1)), (60, (0, 0))]
    empty = made.outs[-1].body
    assert (empty["inputs"], empty["avg_60"], empty["newest_at_60"]) == ([], 0.0, None)
    assert made.own == b""


def test_only_items_above_the_confidence_count_for_signals() -> None:
    made = Minutes()
    made.hear(score(item="a", confidence=0.65), score(item="b", confidence=0.650001))
    (body,) = made.windows(T0)
    assert counts(body) == (1, 2)


@pytest.mark.parametrize(
    ("watchlist", "signals", "n"),
    [("news", "news", (1, 1)), ("social", "news", (1, 1)), ("all", "social", (1, 2)), ("all", "all", (2, 2))],
)
def test_each_window_counts_its_scope(watchlist: str, signals: str, n: tuple[int, int]) -> None:
    made = Minutes(scoped(watchlist, signals))
    reasons = made.hear(score(item="a"), score(item="b", scope="SOCIAL"))
    assert reasons == (["OUT_OF_SCOPE"] if watchlist == signals == "news" else [])
    (body,) = made.windows(T0)
    assert counts(body) == n


def test_an_unsure_item_that_only_signals_would_count_is_said_to_be_unsure() -> None:
    made = Minutes(scoped("news", "all"))
    assert made.hear(score(scope="SOCIAL", confidence=0.6)) == ["LOW_CONFIDENCE"]
    assert made.windows(T0) == []


def test_a_newer_version_counts_in_place_of_the_one_before_in_whatever_order_they_come() -> None:
    made = Minutes()
    new = score(version=2, score=-0.5)
    assert made.hear(score(version=1), new, score(version=1), new) == ["SUPERSEDED", "DUPLICATE"]
    (body,) = made.windows(T0)
    assert (body["avg_60"], body["inputs"]) == (-0.5, [new["event_id"]])
    newer = score(version=3, score=-0.5)
    made.hear(newer)
    (body,) = made.windows(minute(1))
    assert body["inputs"] == [newer["event_id"]], "the windows name the version that they count"


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        ({"score": None}, "RETRACTED"),
        ({"score": None, "reason": "EMPTY_TEXT"}, "EMPTY_TEXT"),
        ({"folded": True}, "FOLDED"),
    ],
)
def test_a_version_that_does_not_count_removes_what_counted_and_the_empty_windows_are_written_once(
    gone: Body, reason: str
) -> None:
    made = Minutes()
    made.hear(score(version=1))
    assert [counts(body) for body in made.windows(T0)] == [(1, 1)]
    assert made.hear(score(version=2, **gone)) == [reason]
    assert [counts(body) for body in made.windows(minute(1))] == [(0, 0)]
    assert made.hear(score(version=1)) == ["SUPERSEDED"]
    assert made.windows(minute(2)) == []
    assert made.hear(score(version=3)) == []
    assert [counts(body) for body in made.windows(minute(3))] == [(1, 1)]


def test_windows_that_were_always_empty_are_not_written() -> None:
    made = Minutes()
    made.hear(score(score=None), score(item="b", folded=True))
    assert made.windows(T0) == []


def test_another_models_score_of_a_version_replaces_the_first_and_neither_comes_back() -> None:
    made = Minutes()
    first, second = score(), score(score=-0.3, model_digest="f" * 16)
    assert made.hear(first, second, first, second) == ["DUPLICATE", "DUPLICATE"]
    (body,) = made.windows(T0)
    assert (body["avg_30"], body["inputs"]) == (-0.3, [second["event_id"]])


def test_a_replaced_score_does_not_come_back_when_the_version_that_replaced_it_is_long_out() -> None:
    """The source corrected the time of the article: its new version is older than any window."""
    made = Minutes()
    old = score(version=1, at=minute(20))
    made.windows(minute(19))
    made.hear(old, score(version=2, at=minute(-300)))
    assert made.windows(minute(20)) == []
    made.hear(score(item="b"))
    for n in range(21, 90):
        made.windows(minute(n))
        assert made.hear(old) == ["TOO_OLD" if n >= 80 else "SUPERSEDED"]
    assert [out.body["inputs"] for out in made.outs if old["event_id"] in out.body["inputs"]] == []


def test_a_score_that_comes_an_hour_after_its_item_is_too_old() -> None:
    made = Minutes()
    made.windows(minute(60))
    assert made.hear(score(at=T0)) == ["TOO_OLD"]
    assert made.values[b"NVDA"] == b""


def test_a_symbol_keeps_its_newest_items_only_and_an_old_one_stays_away_when_it_comes_again() -> None:
    made = Minutes()
    scores = [score(item=f"{n}", at=T0 - n) for n in range(CAP + 2)]
    assert made.hear(*scores) == ["TOO_MANY_ITEMS"] * 2
    assert made.hear(*scores[-2:], scores[0]) == ["TOO_MANY_ITEMS", "TOO_MANY_ITEMS", "DUPLICATE"]
    (body,) = made.windows(T0)
    assert counts(body) == (CAP, CAP)
    assert len(made.values[b"NVDA"]) < 64_000


def test_repeats_leave_the_state_as_it_is_byte_by_byte() -> None:
    made = Minutes()
    heard = [score(item="a", at=T0 - 9), score(item="b", version=1), score(item="b", version=2, score=None)]
    made.hear(*heard)
    before = made.values[b"NVDA"]
    made.windows(minute(59.5))
    assert made.hear(*heard) == ["DUPLICATE", "SUPERSEDED", "DUPLICATE"]
    made.windows(minute(60))
    assert made.hear(*heard) == ["TOO_OLD"] * 3 and made.values[b"NVDA"] == before


def test_a_state_of_another_version_is_refused() -> None:
    made = Minutes()
    made.hear(score())
    made.values[b"NVDA"] = b"[9" + made.values[b"NVDA"][2:]
    with pytest.raises(Fatal, match="another format version"):
        made.hear(score(version=1))


def test_ten_thousand_symbols_without_current_items_cost_a_watermark_little() -> None:
    stage, store = SentimentWindowsStage(CONFIG, xnys()), MemoryStore()
    for n in range(10_000):
        told = score(f"S{n}", at=T0)
        state = stage.step(b"", None, [row(told, T0)]).state
        store.put(0, told["symbol"].encode(), pack(0, {(0, 0): n}, state, {0: bytes(16), 255: bytes(16)}))
    spent = []
    for _ in range(5):
        begun = process_time()
        step = stage.at_watermark(minute(60), 0, _Values(None, store, 0, {}))
        spent.append(process_time() - begun)
        assert step.outs == [] and step.state == b""
    print(f"{min(spent) * 1000:.1f} ms for 10,000 symbols")
    assert min(spent) < 0.15


def test_records_are_told_with_symbol_score_engine_model_and_item() -> None:
    made = Minutes()
    told = score(at=minute(0), score=0.8123, model_id="light-1", model_digest="0123456789abcdef")
    made.hear(told)
    (body,) = made.windows(T0)
    windows, source = TOLD["sentiment_windows"], TOLD["sentiment"]
    assert (
        windows.headline(body) == "NVDA from 10:00 on: mean 0.8123 of 1 in 30 min, mean 0.8123 of 1 in 60 min"
    )
    assert windows.details is not None and source.details is not None
    assert windows.details(body) == [
        f"{minutes} min: 1 positive, 0 negative, 0 neutral; the newest of 15:00:00Z" for minutes in (30, 60)
    ]
    assert source.headline(told) == "NVDA POSITIVE 0.8123: wire a"
    assert source.details(told) == [
        "version of 15:00:00Z, about NVDA with confidence 0.9",
        "scored once by light, model light-1 0123456789ab, confidence 0.8",
    ]
    away = score(score=None, link_confidence=None)
    assert source.headline(away) == "NVDA RETRACTED: wire a"
    assert source.details(away) == ["version of 15:00:00Z"]
    assert source.headline(score(folded=True)).endswith("wire a, told before")


# What a window counts, from all scores so far and no state: the newest version of each item that came.


class Oracle:
    """Every score that came, and what follows from all of them."""

    def __init__(self) -> None:
        self.heard: list[Body] = []
        self.written: dict[str, tuple[list[str], list[str]]] = {}

    def windows(self, t: int) -> list[tuple[str, int, int, list[str]]]:
        newest: dict[tuple[str, str], Body] = {}
        seen: set[str] = set()
        for body in self.heard:
            item = body["symbol"], body["native_id"]
            is_new = body["event_id"] not in seen
            seen.add(body["event_id"])
            if is_new and (item not in newest or body["updated_at"] >= newest[item]["updated_at"]):
                newest[item] = body
        found = []
        for symbol in sorted({symbol for symbol, _ in newest}):
            mine = [body for (each, _), body in newest.items() if each == symbol and counting(body)]
            of_30, of_60 = (
                sorted(
                    body["event_id"]
                    for body in mine
                    if t - minutes * MINUTE_US < body["event_time"] <= t and body["confidence"] > least
                )
                for minutes, least in ((30, 0.65), (60, -1.0))
            )
            if (of_30, of_60) != self.written.get(symbol, ([], [])):
                found.append((symbol, len(of_30), len(of_60), of_60))
            self.written[symbol] = (of_30, of_60)
        return found


def counting(body: Body) -> bool:
    return body["score"] is not None and not body["folded"] and body["scope"] == "NEWS"


KINDS: tuple[Body, ...] = (
    {}, {"score": -0.4}, {"confidence": 0.5}, {"score": None}, {"folded": True},
    {"score": None, "reason": "EMPTY_TEXT"},
)  # fmt: skip
TOLD_ITEMS = st.lists(
    st.tuples(
        st.sampled_from(("AMD", "NVDA")),
        st.sampled_from("abcd"),
        st.sampled_from((-70, -59, -31, -10, 0, 3, 20)),
        st.sampled_from(KINDS),
        st.sampled_from(("", "other-model")),
    ),
    min_size=1,
    max_size=12,
)
STEPS = st.lists(st.one_of(st.just("new"), st.just("again"), st.integers(1, 35)), min_size=1, max_size=40)


def played(items: list[Any], steps: list[Any], rng: Any, *, sizes: Iterable[int] = ()) -> Minutes:
    """Versions of items in order of their updates, repeats of any of them, and minutes that end."""
    made, oracle, waiting, sizes = Minutes(), Oracle(), list(enumerate(items)), iter(sizes)
    batch: list[Row] = []
    for each in steps:
        if each == "new" and waiting:
            version, (symbol, item, ago, kind, model) = waiting.pop(0)
            version = version - 1 if model and version else version
            extra = {"model_digest": model} if model and kind.get("score", 0) is not None else {}
            told = score(symbol, item, version=version, at=made.label + ago * MINUTE_US, **kind, **extra)
            if any(told["event_id"] == each["event_id"] for each in oracle.heard):
                continue  # one event has one body
            oracle.heard.append(told)
            batch.append(row(oracle.heard[-1], made.label))
        elif each == "again" and oracle.heard:
            oracle.heard.append(rng.choice(oracle.heard))
            batch.append(row(oracle.heard[-1], made.label))
        elif isinstance(each, int):
            while batch:
                size = next(sizes, len(batch))
                made.feed(batch[:size])
                batch = batch[size:]
            t = made.label + (each + 1) * MINUTE_US
            found = [(b["symbol"], *counts(b), b["inputs"]) for b in made.windows(t)]
            assert found == oracle.windows(t)
    return made


def test_a_score_that_was_too_old_is_so_again_after_another_one_of_its_version() -> None:
    made, old = Minutes(), score(at=minute(-70))
    gone = score(score=None, at=minute(-31))
    assert made.hear(old, gone, old) == ["TOO_OLD", "RETRACTED", "TOO_OLD"]


@given(TOLD_ITEMS, STEPS, st.randoms(use_true_random=False), st.lists(st.integers(1, 3)))
def test_windows_are_those_of_all_scores_so_far_and_the_state_follows_from_the_order_alone(
    items: list[Any], steps: list[Any], rng: Any, sizes: list[int]
) -> None:
    state = rng.getstate()
    whole = played(items, steps, rng)
    rng.setstate(state)
    parts = played(items, steps, rng, sizes=sizes)
    assert (whole.values, whole.own) == (parts.values, parts.own)


@given(TOLD_ITEMS, STEPS, st.randoms(use_true_random=False))
def test_a_repeated_score_changes_nothing_whenever_it_comes(
    items: list[Any], steps: list[Any], rng: Any
) -> None:
    state = rng.getstate()
    without = played(items, [each for each in steps if each != "again"], rng)
    rng.setstate(state)
    repeats = played(items, steps, rng)
    assert (without.values, without.own) == (repeats.values, repeats.own)
    assert without.outs == repeats.outs
