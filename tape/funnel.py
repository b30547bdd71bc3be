"""The funnel of one run from its topics: per stage, how much went in and came out, and why the rest did not.

One unit is one evaluation, counted by event_id. What came out and what ended for a reason are counted
separately, so ``in = out + reasons`` can fail; such a line is red.

========== ==================================== =========================================================
stage      in                                   out
========== ==================================== =========================================================
bars       records of ``bars``                  different bars
features   different bars                       bars that gave a feature event, even a repeat of the newest
bar's scores     (symbol, boundary) with a feature    those that got a score
watchlist  (symbol, evaluation)                 those on the list
decisions  records of ``features``              bars decided, HOLD included, each once
signals    records of ``decisions``             different signals
proposals  all records of signals, per account  APPROVED ones
orders     APPROVED proposals, per account      orders that the broker took
executions orders that the broker took          orders whose executions come to what was filled
========== ==================================== =========================================================
"""

from collections.abc import Iterator

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import FunnelLine, plain_line, source_line
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.topology import Topology, definition_of
from tapedeck.tape.recording import Recording


def funnel(topology: Topology, recording: Recording, config: Config, calendar: Calendar) -> list[FunnelLine]:
    """Every stage's lines in the order of the pipeline, after those of its sources."""
    return list(_lines(topology, recording, config, calendar))


def _lines(
    topology: Topology, recording: Recording, config: Config, calendar: Calendar
) -> Iterator[FunnelLine]:
    begun = {spec.trigger for spec in topology.market}
    yield from (source_line(name, recording) for name in topology.sources if name in begun)
    for spec in topology:
        counts = definition_of(spec).funnel
        yield from (
            [plain_line(spec, recording)] if counts is None else counts.lines(recording, config, calendar)
        )
