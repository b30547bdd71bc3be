"""The market part of a what-if: the whole run under the changed configuration, and each bar decided alone."""

from functools import cached_property

from tapedeck.streams.blocks import Source
from tapedeck.streams.config.document import Config
from tapedeck.streams.contract import MINUTE_US, StageSpec
from tapedeck.streams.sessions import Calendar, CalendarUnknown
from tapedeck.streams.stages.signals.reasons import SignalReason
from tapedeck.streams.stages.signals.rule import Action, Case, Decision, GapCase, decide
from tapedeck.streams.topology import Topology
from tapedeck.tape.whatif.chain import lists_before, run_pinned_list, run_stages
from tapedeck.tape.whatif.chained import Chained
from tapedeck.tape.whatif.changes import Between, first_stage
from tapedeck.tape.whatif.outcomes import DecisionOutcome, MembershipOutcome
from tapedeck.tape.whatif.places import Places
from tapedeck.tape.whatif.spill import Shelf
from tapedeck.tape.whatif.tables import Decisions, Features, Key, Names

_LIST = "watchlist"


class Variant:
    """What single decisions come to with only some parameters changed, all state before them as recorded."""

    def __init__(self, config: Config, features: Features, places: Places) -> None:
        self.config, self.features, self.places = config, features, places


class Market:
    """Recorded and re-decided market topics, and what lies in between, made when it is asked for."""

    def __init__(self, topology: Topology, source: Source, between: Between, calendar: Calendar) -> None:
        self._topology = topology
        self._source, self._between, self._calendar = source, between, calendar
        self._names = Names()
        self._variants: dict[frozenset[str], Variant] = {}
        self.recorded = Decisions(self._names, source, calendar)
        self.recorded_places = Places(source)
        self.again, self.again_places = self.recorded, self.recorded_places

    def run(self) -> None:
        """Decide the whole recording again, without a change from the bars on: nothing should differ."""
        stage = first_stage(self._between.changes) if self._between.changes else "features"
        if stage is None:
            return
        made = Chained(self._source)
        run_stages(self._from(stage), self._between.changed, self._calendar, made)
        self.again = Decisions(self._names, made, self._calendar)
        self.again_places = Places(made)

    def place_alone(self, symbol: str, at: int, units: frozenset[str]) -> MembershipOutcome | None:
        """What the evaluation at ``at`` says of a symbol, on the recorded list before it."""
        places = self._variant(units).places if units else self._lists[1]
        return places.outcome(symbol, at)

    def decide_alone(self, key: Key, units: frozenset[str]) -> DecisionOutcome | None:
        """What one bar comes to, on the recorded signals and the recorded list before it."""
        variant = self._variant(units)
        return self._decide(variant.config, variant.features, variant.places, key, self.recorded)

    def decide_after(self, key: Key, units: frozenset[str]) -> DecisionOutcome | None:
        """What one bar comes to on the signals and the list of the changed run."""
        variant = self._variant(units)
        return self._decide(variant.config, variant.features, self.again_places, key, self.again)

    def decide_listed(self, key: Key) -> DecisionOutcome | None:
        """What one bar comes to under all changes, listed as in the changed run, on the recorded signals."""
        whole = self._variant(frozenset(self._between.units))
        return self._decide(whole.config, whole.features, self.again_places, key, self.recorded)

    def _decide(
        self, config: Config, features: Features, places: Places, key: Key, signals: Decisions
    ) -> DecisionOutcome | None:
        other = self.again if signals is self.recorded else self.recorded
        feature, context = features.row(key), signals.context(key) or other.context(key)
        if feature is None or context is None:
            return None
        try:
            session = self._calendar.session_at(key.t)
        except CalendarUnknown:
            return _outcome(Decision(Action.HOLD, None, SignalReason.RULE_ERROR))
        gap = None
        if session is not None:
            gap = GapCase(
                minutes_in=(feature["as_of"] - session.open) / MINUTE_US,
                gap_pct=feature["gap_pct"],
                prev_move=feature["prev_move"],
                done=context.fade_date == session.date,
            )
        case = Case(
            in_session=session is not None,
            on_watchlist=places.is_listed(key.symbol, context.now),
            ready=bool(feature["ready"]),
            prices=(feature["close"], feature["sma20"], feature["sma50"]),
            distance=feature["distance_sma20"],
            trend=feature["trend_state"],
            vol_ratio=feature["vol_ratio"],
            volume_ratio=feature["volume_ratio"],
            bar_age=context.now - feature["as_of"],
            since_signal=None if context.last_signal is None else key.t - context.last_signal,
            feed_selected=key.feed == config.bars.feed,
            suspect_split=bool(feature["suspect_split"]),
            gap=gap,
        )
        return _outcome(decide(case, config))

    def _variant(self, units: frozenset[str]) -> Variant:
        if units not in self._variants:
            self._variants[units] = self._made(units)
        return self._variants[units]

    def _made(self, units: frozenset[str]) -> Variant:
        """Only what the parameters can touch is made again; the rest is the recording."""
        config = self._between.with_only(units)
        stage = first_stage(change for name in units for change in self._between.units[name])
        if stage in (None, "signals"):
            return Variant(config, self._features, self.recorded_places)
        made = Chained(self._source)
        run_stages(self._from(stage, until=self._topology.stage(_LIST)), config, self._calendar, made)
        run_pinned_list(self._topology.stage(_LIST), config, self._calendar, made, self._lists[0])
        features = Features(self._names, made) if stage == "features" else self._features
        return Variant(config, features, Places(made))

    def _from(self, first: str, until: StageSpec | None = None) -> tuple[StageSpec, ...]:
        """The market stages from ``first`` on, up to and without ``until``."""
        stages = self._topology.market
        end = len(stages) if until is None else stages.index(until)
        return stages[stages.index(self._topology.stage(first)) : end]

    @cached_property
    def _features(self) -> Features:
        return Features(self._names, self._source)

    @cached_property
    def _lists(self) -> tuple[Shelf, Places]:
        """The recorded list before each watermark, and the places that the recorded configuration gives."""
        made = Chained(self._source)
        return lists_before(self._topology.stage(_LIST), self._between.base, self._calendar, made), Places(
            made
        )


def _outcome(made: Decision) -> DecisionOutcome:
    return DecisionOutcome(
        str(made.action),
        None if made.strategy is None else str(made.strategy),
        str(made.reason),
        made.confidence,
        None if made.direction is None else str(made.direction),
    )
