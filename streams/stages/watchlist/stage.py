"""The watchlist stage: the ranked list at each boundary, and each symbol's place in it.

State: per symbol its newest score, under ``~universe`` the newest universe; the list itself lives in
the task's own value, which only ``at_watermark`` writes.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import (
    MINUTE_US,
    SECOND_US,
    WATERMARK_CAUSE,
    Batch,
    Drop,
    Out,
    Row,
    Step,
    Values,
)
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.base import derived, pack_state, unpack_state
from tapedeck.streams.stages.watchlist.reasons import WatchlistDrop
from tapedeck.streams.stages.watchlist.rule import Evaluation, Member, Place, Scored, evaluate

STATE_VERSION = 1
UNIVERSE_KEY = b"~universe"
_COMPONENTS = ("sentiment_pressure", "setup_quality", "vol_score", "trend_alignment")
_KEPT_SCORE = ("event_id", "event_time", "as_of", "watch_score", *_COMPONENTS)

Fields = dict[str, Any]


class _List(NamedTuple):
    """The task's own value: the list after the last evaluation, by whose record, for which universe."""

    members: dict[str, Member]
    event_id: str | None
    universe_version: int | None


class WatchlistStage:
    """Trigger ``scores``, join ``universe``; a ``watchlist`` record and one ``memberships`` each."""

    dead_letter_reasons: frozenset[str] = frozenset()

    def __init__(self, config: Config, calendar: Calendar) -> None:
        self._config = config
        self._calendar = calendar

    def key(self, row: Row) -> bytes:
        return UNIVERSE_KEY if row.topic == "universe" else row.key

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        newest = unpack_state(STATE_VERSION, state) if state else None
        drops = []
        for cause, row in enumerate(batch):
            fields = _universe_fields(row.body) if key == UNIVERSE_KEY else _score_fields(row.body)
            if newest is None or fields["order"] > newest["order"]:
                newest = fields
                continue
            is_repeat = fields["order"] == newest["order"]
            drops.append(Drop(cause, WatchlistDrop.DUPLICATE if is_repeat else WatchlistDrop.SUPERSEDED))
        return Step(pack_state(STATE_VERSION, newest) if newest else b"", [], drops)

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        own = values.own or b""
        before = _unpack_list(values.own)
        now = watermark + MINUTE_US
        is_boundary = self._calendar.is_boundary(now, self._config.watchlist.period_s)
        stored = values.get(UNIVERSE_KEY)
        if not stored:
            return Step(own, [], [Drop(WATERMARK_CAUSE, WatchlistDrop.NO_UNIVERSE)] if is_boundary else [])
        universe = unpack_state(STATE_VERSION, stored)
        if not is_boundary and universe["version"] == before.universe_version:
            return Step(own, [], [])
        scores = {
            key.decode(): unpack_state(STATE_VERSION, body)
            for key, body in values.items()
            if key != UNIVERSE_KEY
        }
        result = evaluate(
            self._config.watchlist,
            now,
            universe["symbols"],
            {
                symbol: Scored(fields["watch_score"], self._bar_age(fields, now))
                for symbol, fields in scores.items()
            },
            before.members,
        )
        whole = self._whole_list(now, result, universe, scores, before)
        outs = [whole, *self._memberships(now, result, universe["version"], whole.event_id, scores)]
        return Step(_pack_list(_List(result.members, whole.event_id, universe["version"])), outs, [])

    def _bar_age(self, score: Fields, now: int) -> float:
        """Seconds since the newest bar's close, as the newest score knows it.

        Between two boundaries there may be newer bars that no score has seen yet. So a score of the current
        period is judged at its own evaluation time, an older one at ``now``.
        """
        is_current = now - score["event_time"] < self._config.watchlist.period_s * SECOND_US
        seen_at = score["event_time"] if is_current else now
        return float(seen_at - score["as_of"]) / SECOND_US

    def _whole_list(
        self, now: int, result: Evaluation, universe: Fields, scores: Mapping[str, Fields], before: _List
    ) -> Out:
        body = {
            "event_time": now,
            "evaluation": now,
            "universe_version": universe["version"],
            "members": [_member_body(place, scores[place.symbol]) for place in result.places],
            "events": [{"symbol": symbol, "reason": str(reason)} for symbol, reason in result.events],
        }
        inputs = [universe["event_id"], *(scores[symbol]["event_id"] for symbol in sorted(scores))]
        if before.event_id is not None:
            inputs.insert(0, before.event_id)
        return derived(WATERMARK_CAUSE, "watchlist", body, self._config.digest, inputs)

    def _memberships(
        self, now: int, result: Evaluation, version: int, list_id: str, scores: Mapping[str, Fields]
    ) -> list[Out]:
        places = {place.symbol: place for place in result.places}
        outs = []
        for symbol, reason in result.standing.items():
            place = places.get(symbol)
            body = {
                "event_time": now,
                "symbol": symbol,
                "evaluation": now,
                "on_watchlist": place is not None,
                "rank": place.rank if place else None,
                "score": scores[symbol]["watch_score"] if symbol in scores else None,
                "flag": place.flag if place else None,
                "universe_version": version,
                "reason": str(reason),
            }
            outs.append(derived(WATERMARK_CAUSE, "memberships", body, self._config.digest, [list_id]))
        return outs


def _score_fields(body: Fields) -> Fields:
    return {field: body[field] for field in _KEPT_SCORE} | {"order": body["event_time"]}


def _universe_fields(body: Fields) -> Fields:
    return {
        "order": body["version"],
        "event_id": body["event_id"],
        "version": body["version"],
        "symbols": [member["symbol"] for member in body["members"]],
    }


def _member_body(place: Place, score: Fields) -> Fields:
    components = {field: score[field] for field in _COMPONENTS}
    return place._asdict() | {"reason": str(place.reason)} | components


def _pack_list(value: _List) -> bytes:
    members = {symbol: list(member) for symbol, member in value.members.items()}
    return pack_state(STATE_VERSION, value._asdict() | {"members": members})


def list_value(members: dict[str, Member], event_id: str, universe_version: int) -> bytes:
    """The task's own value after the evaluation that record ``event_id`` describes."""
    return _pack_list(_List(members, event_id, universe_version))


def _unpack_list(data: bytes | None) -> _List:
    if not data:
        return _List({}, None, None)
    fields = unpack_state(STATE_VERSION, data)
    members = {symbol: Member(*member) for symbol, member in fields["members"].items()}
    return _List(members, fields["event_id"], fields["universe_version"])
