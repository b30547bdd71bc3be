"""What the signals stage counts for the funnel: feature events to decisions, and decisions to signals."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tapedeck.streams.config.accounts import Action
from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import (
    Body,
    Funnel,
    FunnelLine,
    FunnelReason,
    Recorded,
    lost_on_arrival,
    refused_by,
    told,
)
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.signals.fold import ALLOWED_LATENESS_BARS
from tapedeck.streams.stages.signals.reasons import SignalDrop


def _lines(recording: Recorded, config: Config, calendar: Calendar) -> Iterator[FunnelLine]:
    yield _decisions(recording, config, calendar)
    yield _signals(recording)


def _decisions(recording: Recorded, config: Config, calendar: Calendar) -> FunnelLine:
    reasons = lost_on_arrival(recording["features"])
    reasons.update(feature_reasons(recording, config, calendar).values())
    return FunnelLine(
        stage="decisions",
        unit="feature event",
        taken=recording["features"].records,
        given=len(recording.bodies("decisions")),
        reasons=told(reasons),
    )


def feature_reasons(recording: Recorded, config: Config, calendar: Calendar) -> dict[str, str]:
    """Why a feature event gave no decision, by its event_id. One that vanished is missing here."""
    features = recording["features"].bodies
    decided = {body["inputs"][0] for body in recording.bodies("decisions")}
    audited = {body["inputs"][0] for body in recording.bodies("revision_audit")}
    refused = refused_by("signals", "features", recording)
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


def _signals(recording: Recorded) -> FunnelLine:
    decisions = recording["decisions"]
    held = Counter(body["reason"] for body in decisions.bodies.values() if body["action"] == Action.HOLD)
    return FunnelLine(
        stage="signals",
        unit="decision",
        taken=decisions.records,
        given=len({body["signal_id"] for body in recording.bodies("signals")}),
        reasons=told(held + lost_on_arrival(decisions)),
    )


FUNNEL = Funnel(_lines, feature_reasons, by_minute=True)
