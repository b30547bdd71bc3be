"""One decision on inputs laid down for it: the stage computes it as ``explain`` does, on other inputs."""

from typing import Any

from tapedeck.streams.again import Begun, Body
from tapedeck.streams.contract import MINUTE_US, Row, StageSpec
from tapedeck.streams.stages.signals.again import FEATURE, state_on
from tapedeck.tape.explain.lookup import DAY_US, Lookup, opened
from tapedeck.tape.explain.tree import parts_of
from tapedeck.tape.whatif.outcomes import DecisionOutcome
from tapedeck.tape.whatif.places import Places
from tapedeck.tape.whatif.tables import Context, Key

_NO_ID = ""


class Joined:
    """What a symbol's decision is joined with: places as of one run, every other topic as recorded."""

    def __init__(self, lookup: Lookup, places: Places) -> None:
        self._lookup, self._places = lookup, places

    def rows(self, name: str, symbol: str, now: int) -> list[Row]:
        """The rows of topic ``name`` that a decision at ``now`` has seen, the newest one or days of them."""
        key = symbol.encode()
        if name != "memberships":
            part = parts_of(self._lookup, name, {"symbol": symbol})[0]
            found = map(opened, self._lookup.between(part, now - DAY_US, now, key))
            return [Row(name, key, each.body, 0, 0) for each in found if each is not None]
        found_place = self._places.in_force(symbol, now)
        if found_place is None:
            return []
        at, place = found_place
        body = {"event_id": _NO_ID, "event_time": at, "on_watchlist": place.on_watchlist, "rank": None,
                "flag": None, "universe_version": None}  # fmt: skip
        return [Row(name, key, body, 0, 0)]


class Laid:
    """One bar's feature, joined with what its symbol has, on the state that it is decided on."""

    def __init__(
        self, spec: StageSpec, key: Key, feature: dict[str, Any], context: Context, *, joined: Joined
    ) -> None:
        self._spec, self._key, self._context, self._joined = spec, key, context, joined
        as_of = feature["as_of"]
        flags = {name: bool(feature[name]) for name in ("ready", "suspect_split")}
        own = {"event_time": as_of, "symbol": key.symbol, "feed": key.feed, "t": key.t}
        fresh = dict.fromkeys(FEATURE, 0) | {"event_id": _NO_ID}
        self._feature: Body = fresh | feature | flags | own
        self.decision: Body = {"symbol": key.symbol, "bar_t": key.t, "inputs": []}

    def named(self, topic: str, body: Body) -> list[Body]:
        """Nothing: what a decision names is laid down."""
        return []

    def rows(self, record_key: bytes, since: int | None) -> Begun:
        """The rows that it is decided on, the feature last, on the last signal and gap fade given."""
        now, joins = self._context.now, [join.topic for join in self._spec.joins]
        rows = [row for name in joins for row in self._joined.rows(name, self._key.symbol, now)]
        feature = Row(self._spec.trigger, record_key, self._feature, now - MINUTE_US, now)
        return Begun(state_on(self._context.last_signal, self._context.fade_date), [*rows, feature])


def outcome_of(body: Body) -> DecisionOutcome:
    """The fields of a decision that runs are compared by."""
    return DecisionOutcome(**{name: body[name] for name in DecisionOutcome._fields})
