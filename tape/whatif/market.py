"""The market part of a what-if: the whole run under the changed configuration, and single bars."""

from functools import cached_property

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.again import run
from tapedeck.streams.blocks import Source
from tapedeck.streams.compared import Decides
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Stage, StageSpec
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.topology import Topology, definition_of, make
from tapedeck.tape.explain.lookup import Lookup
from tapedeck.tape.whatif.changes import Between, touched_by
from tapedeck.tape.whatif.laid import Joined, Laid, outcome_of
from tapedeck.tape.whatif.market_run import lists_before, run_pinned_list, run_stages
from tapedeck.tape.whatif.outcomes import DecisionOutcome, MembershipOutcome
from tapedeck.tape.whatif.overlay import Chained
from tapedeck.tape.whatif.places import Places
from tapedeck.tape.whatif.spill import Shelf
from tapedeck.tape.whatif.tables import Decisions, Features, Key, Names


class Variant:
    """Single decisions with only some parameters changed, on the recorded state.

    ``joined`` reads what they join beside the list.
    """

    def __init__(
        self, config: Config, calendar: Calendar, features: Features, places: Places, joined: Joined
    ) -> None:
        self.config, self.features, self.places, self.joined = config, features, places, joined
        self._calendar = calendar
        self._stages: dict[str, Stage] = {}

    def stage(self, spec: StageSpec) -> Stage:
        if spec.name not in self._stages:
            self._stages[spec.name] = make(spec, self.config, self._calendar)
        return self._stages[spec.name]


class Market:
    """Recorded and recomputed market topics, and the runs in between, computed on demand."""

    def __init__(self, topology: Topology, source: Source, between: Between, calendar: Calendar) -> None:
        self._topology = topology
        self._decider, self.decides = decider_of(topology)
        self._list = _writer(topology, self.decides.listed)
        self._source, self._between, self._calendar = source, between, calendar
        self._names, self._joined = Names(self.decides.once_a_day), self._joined_of(source)
        self._variants: dict[frozenset[str], Variant] = {}
        self.recorded = self._decisions(source)
        self.recorded_places = self._places(source)
        self.again, self.again_places = self.recorded, self.recorded_places

    def run(self) -> None:
        """Decide the whole recording again from the bars, without a change: nothing should differ."""
        changes = self._between.changes
        stages = touched_by(self._topology, changes) if changes else self._topology.market
        if not stages:
            return
        made = Chained(self._source)
        run_stages(stages, self._between.changed, self._calendar, made)
        self.again = self._decisions(made)
        self.again_places = self._places(made)

    def place_alone(self, symbol: str, at: int, units: frozenset[str]) -> MembershipOutcome | None:
        """The result of the evaluation at ``at`` for a symbol, on the recorded list before it."""
        places = self._variant(units).places if units else self._lists[1]
        return places.outcome(symbol, at)

    def decide_alone(self, key: Key, units: frozenset[str]) -> DecisionOutcome | None:
        """The decision for one bar on the recorded signals and the recorded list before it."""
        variant = self._variant(units)
        return self._decide(variant, variant.places, key, self.recorded)

    def decide_after(self, key: Key, units: frozenset[str]) -> DecisionOutcome | None:
        """The decision for one bar on the signals and the list of the changed run."""
        variant = self._variant(units)
        return self._decide(variant, self.again_places, key, self.again)

    def decide_listed(self, key: Key) -> DecisionOutcome | None:
        """The decision for one bar under all changes, on the changed run's list and the recorded signals."""
        whole = self._variant(frozenset(self._between.units))
        return self._decide(whole, self.again_places, key, self.recorded)

    def _decide(
        self, variant: Variant, places: Places, key: Key, signals: Decisions
    ) -> DecisionOutcome | None:
        other = self.again if signals is self.recorded else self.recorded
        feature, context = variant.features.row(key), signals.context(key) or other.context(key)
        if feature is None or context is None:
            return None
        stage, again = variant.stage(self._decider), definition_of(self._decider).again
        assert again is not None
        laid = Laid(self._decider, self.decides, key, feature, context, joined=variant.joined, places=places)
        case = again.case(stage, variant.config, self._calendar, laid.decision, laid)
        outs = () if case is None else run(stage, case).outs
        return next((outcome_of(out.body) for out in outs if out.topic == self.decides.topic), None)

    def _variant(self, units: frozenset[str]) -> Variant:
        if units not in self._variants:
            self._variants[units] = self._made(units)
        return self._variants[units]

    def _made(self, units: frozenset[str]) -> Variant:
        """Only what the parameters can affect is recomputed; the rest is the recording."""
        config = self._between.with_only(units)
        changes = [change for name in units for change in self._between.units[name]]
        touched = touched_by(self._topology, changes)
        if self._list not in touched:
            return Variant(config, self._calendar, self._features, self.recorded_places, self._joined)
        made = Chained(self._source)
        run_stages([spec for spec in touched if self._feeds_list(spec)], config, self._calendar, made)
        run_pinned_list(self._list, config, self._calendar, made, self._lists[0])
        is_new = any(self._decider.trigger in spec.outputs for spec in touched)
        features = self._features_of(made) if is_new else self._features
        return Variant(config, self._calendar, features, self._places(made), self._joined_of(made))

    def _joined_of(self, source: Source) -> Joined:
        return Joined(self._decider, self.decides, Lookup(source))

    def _decisions(self, source: Source) -> Decisions:
        return Decisions(self.decides, self._names, source, self._calendar)

    def _features_of(self, source: Source) -> Features:
        return Features(self.decides, self._names, source, self._decider.trigger)

    def _places(self, source: Source) -> Places:
        return Places(source, self.decides.listed)

    def _feeds_list(self, spec: StageSpec) -> bool:
        return spec is not self._list and self._list in self._topology.downstream(spec.outputs)

    @cached_property
    def _features(self) -> Features:
        return self._features_of(self._source)

    @cached_property
    def _lists(self) -> tuple[Shelf, Places]:
        """The recorded list before each watermark, and the places under the recorded configuration."""
        made = Chained(self._source)
        return lists_before(self._list, self._between.base, self._calendar, made), self._places(made)


def decider_of(topology: Topology) -> tuple[StageSpec, Decides]:
    """The stage whose decisions are compared. Raises Fatal for a topology without one."""
    for spec in topology.market:
        decides = definition_of(spec).decides
        if decides is not None:
            return spec, decides
    raise Fatal(
        "this topology has no decisions that a what-if could compare",
        value=f"stages: {', '.join(topology.names)}",
        remedy="name a topology with a stage whose definition has decides=",
    )


def _writer(topology: Topology, name: str) -> StageSpec:
    spec = topology.writer(name)
    if spec is None:
        raise Fatal(
            "this topology has no decisions that a what-if could compare",
            value=f"no stage writes {name}",
            remedy="name a topology with a stage that does",
        )
    return spec
