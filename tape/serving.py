"""The health of a process that is no stage: served from its start, ready when it says so."""

from collections.abc import Callable, Iterable

from tapedeck.agents.settings import Settings, code_version, tell_ready
from tapedeck.connectors.beats import about
from tapedeck.connectors.health.server import serve
from tapedeck.connectors.health.vitals import Edge, Vitals
from tapedeck.streams.metrics import Sample
from tapedeck.streams.sessions import Calendar, xnys


def serving(
    name: str,
    settings: Settings,
    *,
    connected: Callable[[], str] = str,
    more: Callable[[], Iterable[Sample]] = tuple,
    dead: bool = True,
) -> Callable[[], None]:
    """Serve the health of an edge; gives what to call when it works, or waits for its turn.

    ``connected``, ``more`` and ``dead`` as ``Edge`` takes them. Raises Fatal if the port is taken.
    """
    edge = Edge(name, connected=connected, more=more, dead=dead)
    return begin(name, settings.config.digest, lambda: settings.calendar, edge)


def begin(
    name: str, digest: str, calendar: Callable[[], Calendar] = xnys, *parts: Edge
) -> Callable[[], None]:
    """The same for a process that writes no heartbeats; ``digest``: of its configuration."""
    vitals = Vitals(name, about(code_version(), digest), calendar=calendar)
    vitals.parts.extend(parts)
    serve(vitals)

    def started() -> None:
        vitals.started = True
        tell_ready()

    return started
