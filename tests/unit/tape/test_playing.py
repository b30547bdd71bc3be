"""Lock-step only where something trades; a line now and then where no bar can be drawn."""

from io import StringIO

import pytest
from rich.console import Console

from tapedeck.connectors.tapes.generator import generate
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Phase, xnys
from tapedeck.tape import playing
from tapedeck.tape.playing import _in_session, _teller


def test_only_regular_minutes_and_the_last_one_are_waited_for() -> None:
    tape = generate(3, symbols=("AMD",))
    waited: list[int] = []
    wait_for = _in_session(tape, waited.append)
    for minute in tape:
        wait_for(minute.label)
    phases = [xnys().phase(label) for label in waited]
    assert phases == [Phase.REGULAR] * 390 + [Phase.POST]
    assert waited[0] == tape.first_live + 5 * MINUTE_US, "the first minute of the session"
    assert waited[-1] == tape.minutes[-1].label


def test_a_line_is_told_into_a_file_after_a_while_and_none_onto_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(playing.time, "monotonic", lambda: now)
    for is_terminal, told in ((False, "two\n"), (True, "")):
        now, out = 0.0, StringIO()
        tell = _teller(Console(file=out, force_terminal=is_terminal))
        tell("one")
        now = 10.0
        tell("two")
        tell("three")
        assert out.getvalue() == told
