"""What the features stage's funnel line counts: bars in, bars that gave a feature event out."""

from collections import Counter
from collections.abc import Iterator

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import Funnel, FunnelLine, FunnelReason, Recorded, refused_by, told
from tapedeck.streams.sessions import Calendar, CalendarUnknown, Phase
from tapedeck.streams.stages.features.reasons import FeatureReason


def _lines(recording: Recorded, config: Config, calendar: Calendar) -> Iterator[FunnelLine]:
    gave = {body["inputs"][0] for body in recording.bodies("features")}
    reasons = Counter(bar_reasons(recording, config, calendar).values())
    taken = len(recording["bars"].bodies)
    yield FunnelLine(stage="features", unit="bar", taken=taken, given=len(gave), reasons=told(reasons))


def bar_reasons(recording: Recorded, config: Config, calendar: Calendar) -> dict[str, str]:
    """Why a bar gave no feature event, by the bar's event_id. A bar that vanished is missing here."""
    gave = {body["inputs"][0] for body in recording.bodies("features")}
    late = recording["bars.late"].bodies
    refused = refused_by("features", "bars", recording)
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


def _off_hours(t: int, config: Config, calendar: Calendar) -> FeatureReason | None:
    try:
        phase = calendar.phase(t)
    except CalendarUnknown:
        return FeatureReason.CALENDAR_UNKNOWN
    if phase is Phase.REGULAR or (config.feature.extended_hours and phase is not Phase.CLOSED):
        return None
    return FeatureReason.OUTSIDE_SESSION


FUNNEL = Funnel(_lines, bar_reasons, by_minute=True)
