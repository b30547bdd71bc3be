"""The funnel of one run from its topics: per stage, how much went in, came out, and why the rest did not.

One unit is one evaluation, counted by event_id. Whatever came out, and whatever ended for a reason, is found
on its own, so that ``in = out + reasons`` can fail; a line where it does is red.

========== ==================================== =========================================================
stage      in                                   out
========== ==================================== =========================================================
bars       records of ``bars``                  different bars
features   different bars                       bars that gave a feature event, be it the newest bar's again
scores     (symbol, boundary) with a feature    those that got a score
watchlist  (symbol, evaluation)                 those on the list
decisions  records of ``features``              bars decided, HOLD included, each once
signals    records of ``decisions``             different signals
proposals  records of ``signals``, per account  APPROVED ones
orders     APPROVED proposals, per account      orders that the broker took
executions orders that the broker took          orders whose executions come to what was filled
========== ==================================== =========================================================
"""

from collections import Counter, defaultdict

from tapedeck.streams.config.document import Config
from tapedeck.streams.contract import MINUTE_US
from tapedeck.streams.sessions import Calendar, CalendarUnknown, Phase
from tapedeck.streams.stages.features.reasons import FeatureReason
from tapedeck.streams.stages.signals.fold import ALLOWED_LATENESS_BARS
from tapedeck.streams.stages.signals.reasons import SignalDrop
from tapedeck.streams.stages.signals.rule import Action
from tapedeck.streams.stages.watchlist.reasons import WatchlistDrop, WatchlistReason
from tapedeck.streams.watermarks import label_of
from tapedeck.tape.demo.funnel_accounts import account_lines
from tapedeck.tape.demo.line import FunnelLine, FunnelReason, lost_on_arrival, told
from tapedeck.tape.recording import Body, Recording


def funnel(recording: Recording, config: Config, calendar: Calendar) -> list[FunnelLine]:
    """Every stage's line, in the order of the pipeline; the last three once per configured account."""
    return [
        _bars(recording),
        _features(recording, config, calendar),
        _scores(recording, config, calendar),
        _watchlist(recording),
        _decisions(recording, config),
        _signals(recording),
        *account_lines(recording, config),
    ]


def _bars(recording: Recording) -> FunnelLine:
    bars = recording["bars"]
    return FunnelLine(
        stage="bars",
        unit="record",
        taken=bars.records,
        given=len(bars.bodies),
        reasons=told(lost_on_arrival(bars)),
    )


def _features(recording: Recording, config: Config, calendar: Calendar) -> FunnelLine:
    gave = {body["inputs"][0] for body in recording.bodies("features")}
    reasons = Counter(bar_reasons(recording, config, calendar).values())
    taken = len(recording["bars"].bodies)
    return FunnelLine(stage="features", unit="bar", taken=taken, given=len(gave), reasons=told(reasons))


def bar_reasons(recording: Recording, config: Config, calendar: Calendar) -> dict[str, str]:
    """Why a bar gave no feature event, by the bar's event_id. One that vanished is not in it."""
    gave = {body["inputs"][0] for body in recording.bodies("features")}
    late = recording["bars.late"].bodies
    refused = _refused_by("features", "bars", recording)
    newest: dict[tuple[str, str, int], int] = {}
    for bar in recording.bodies("bars"):
        key = (bar["feed"], bar["symbol"], bar["t"])
        newest[key] = max(bar["revision"], newest.get(key, 0))
    reasons: dict[str, str] = {}
    for event_id, bar in recording["bars"].bodies.items():
        if event_id in gave:
            continue
        if event_id in late:
            reasons[event_id] = FunnelReason.LATE
        elif event_id in refused:
            reasons[event_id] = refused[event_id]
        elif (off_hours := _off_hours(bar["t"], config, calendar)) is not None:
            reasons[event_id] = off_hours
        elif newest[bar["feed"], bar["symbol"], bar["t"]] > bar["revision"]:
            reasons[event_id] = FeatureReason.DUPLICATE_BAR
    return reasons


def _refused_by(stage: str, name: str, recording: Recording) -> dict[str, str]:
    """Reason by event_id of the records of topic ``name`` that ``stage`` wrote to dead letters."""
    return {
        each.body["event_id"]: each.reason
        for each in recording.refused()
        if (each.stage, each.topic) == (stage, name) and each.body is not None
    }


def _off_hours(t: int, config: Config, calendar: Calendar) -> FeatureReason | None:
    try:
        phase = calendar.phase(t)
    except CalendarUnknown:
        return FeatureReason.CALENDAR_UNKNOWN
    if phase is Phase.REGULAR or (config.feature.extended_hours and phase is not Phase.CLOSED):
        return None
    return FeatureReason.OUTSIDE_SESSION


def _scores(recording: Recording, config: Config, calendar: Calendar) -> FunnelLine:
    """In: at each boundary that ``features`` has ended, the symbols seen in it before."""
    seen: dict[int, set[str]] = defaultdict(set)
    ended: dict[int, int] = {}
    due = 0
    for message, body in recording["features"].entries:
        if body is not None and body["feed"] == config.bars.feed:
            seen[message.partition].add(body["symbol"])
        label = label_of(message.key, message.value, message.headers)
        if label is not None and label > ended.get(message.partition, label - 1):
            ended[message.partition] = label
            if calendar.is_boundary(label + MINUTE_US, config.watchlist.period_s):
                due += len(seen[message.partition])
    bodies = recording.bodies("scores")
    unscored = sum(body["watch_score"] is None for body in bodies)
    return FunnelLine(
        stage="scores",
        unit="symbol and boundary",
        taken=due,
        given=len(bodies) - unscored,
        reasons=told({WatchlistReason.NOT_SCORED: unscored}),
    )


def _watchlist(recording: Recording) -> FunnelLine:
    """In: at each evaluation, every symbol that the universe or a score so far names."""
    universes = {
        body["version"]: {member["symbol"] for member in body["members"]}
        for body in recording.bodies("universe")
    }
    scored: dict[int, set[str]] = defaultdict(set)
    for body in recording.bodies("scores"):
        scored[body["evaluation"]].add(body["symbol"])
    lists = {body["evaluation"]: body for body in recording.bodies("watchlist")}
    reasons = Counter(body["reason"] for body in recording.bodies("memberships") if not body["on_watchlist"])
    known: set[str] = set()
    taken = 0
    for evaluation in sorted(scored.keys() | lists.keys()):
        known |= scored[evaluation]
        if evaluation in lists:
            taken += len(known | universes.get(lists[evaluation]["universe_version"], set()))
        else:
            taken += len(known)
            reasons[WatchlistDrop.NO_UNIVERSE] += len(known) * (not universes)
    return FunnelLine(
        stage="watchlist",
        unit="symbol and evaluation",
        taken=taken,
        given=sum(len(body["members"]) for body in lists.values()),
        reasons=told(reasons),
    )


def _decisions(recording: Recording, config: Config) -> FunnelLine:
    reasons = lost_on_arrival(recording["features"])
    reasons.update(feature_reasons(recording, config).values())
    return FunnelLine(
        stage="decisions",
        unit="feature event",
        taken=recording["features"].records,
        given=len(recording.bodies("decisions")),
        reasons=told(reasons),
    )


def feature_reasons(recording: Recording, config: Config) -> dict[str, str]:
    """Why a feature event gave no decision, by its event_id. One that vanished is not in it."""
    features = recording["features"].bodies
    decided = {body["inputs"][0] for body in recording.bodies("decisions")}
    audited = {body["inputs"][0] for body in recording.bodies("revision_audit")}
    refused = _refused_by("signals", "features", recording)
    times: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for event_id in decided & features.keys():
        feature = features[event_id]
        times[_series(feature)][feature["t"]] = feature["revision"]
    kept = config.bars.rollback_min + ALLOWED_LATENESS_BARS
    reasons: dict[str, str] = {}
    for event_id in features.keys() - decided:
        feature = features[event_id]
        series = times[_series(feature)]
        if event_id in audited:
            reasons[event_id] = FunnelReason.REVISION_AUDITED
        elif event_id in refused:
            reasons[event_id] = refused[event_id]
        elif feature["t"] in series:
            again = feature["revision"] <= series[feature["t"]]
            reasons[event_id] = SignalDrop.DUPLICATE if again else SignalDrop.SAME_ACTION
        elif sum(t > feature["t"] for t in series) >= kept:
            reasons[event_id] = SignalDrop.TOO_OLD
    return reasons


def _series(feature: Body) -> tuple[str, str]:
    return feature["feed"], feature["symbol"]


def _signals(recording: Recording) -> FunnelLine:
    decisions = recording["decisions"]
    held = Counter(body["reason"] for body in decisions.bodies.values() if body["action"] == Action.HOLD)
    return FunnelLine(
        stage="signals",
        unit="decision",
        taken=decisions.records,
        given=len({body["signal_id"] for body in recording.bodies("signals")}),
        reasons=told(held + lost_on_arrival(decisions)),
    )
