"""What a stage that links counts for the funnel: versions in, those that count for a symbol out."""

from collections import Counter
from collections.abc import Iterator

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import Funnel, FunnelLine, Recorded, lost_on_arrival, refused_by, told
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.links.items import Body, name_of
from tapedeck.streams.stages.links.reasons import LinkReason


def funnel_of(stage: str, source: str, output: str) -> Funnel:
    """The funnel of ``stage``, which links ``source`` into ``output``."""

    def dropped(recording: Recorded, config: Config, calendar: Calendar) -> dict[str, str]:
        return _dropped(recording, stage, source, output)

    def lines(recording: Recorded, config: Config, calendar: Calendar) -> Iterator[FunnelLine]:
        linked = recording.bodies(output)
        gone = {_version(body) for body in recording.bodies(source) if body.get("removed")}
        reasons = Counter(_outcome(body, gone) for body in linked)
        given = reasons.pop(None, 0)
        reasons.update(_dropped(recording, stage, source, output).values())
        reasons.update(lost_on_arrival(recording[source]))
        yield FunnelLine(
            stage=stage, unit="version", taken=recording[source].records, given=given, reasons=told(reasons)
        )

    return Funnel(lines, dropped)


def _version(body: Body) -> tuple[str, int]:
    return name_of(body), body["updated_at"]


def _outcome(links: Body, gone: set[tuple[str, int]]) -> str | None:
    """Why a linked version counts for no symbol; None if it does."""
    if not links["links"]:
        return LinkReason.REMOVED if _version(links) in gone else LinkReason.NO_SYMBOL
    if links["list_post"]:
        return LinkReason.LIST_POST
    return LinkReason.FOLDED if links["folded"] else None


def _dropped(recording: Recorded, stage: str, source: str, output: str) -> dict[str, str]:
    """Why a version was not linked, by its event_id. One that the stage has not met yet is missing here."""
    linked = {_version(body) for body in recording.bodies(output)}
    reasons = refused_by(stage, source, recording)
    newest: dict[str, int] = {}
    for event_id, body in recording[source].bodies.items():
        name, updated_at = _version(body)
        if name in newest and updated_at <= newest[name] and (name, updated_at) not in linked:
            is_repeat = updated_at == newest[name]
            reasons.setdefault(event_id, LinkReason.DUPLICATE if is_repeat else LinkReason.SUPERSEDED)
        newest[name] = max(updated_at, newest.get(name, updated_at))
    return reasons
