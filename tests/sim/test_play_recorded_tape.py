"""A recorded tape is a tape to play: the window's minutes as they arrived, behind their warm-up."""

from dataclasses import replace
from datetime import date

import pytest

from tapedeck.connectors.recorded.format import RecordedTape, load, renumbered
from tapedeck.connectors.recorded.playable import playable
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.sim.simulation import Simulation
from tests.support.paths import CONFIG, UNTIL, cut, morning
from tests.support.sim_tapes import small_tape
from tests.tapes import HERE

FOLDER = HERE / "signal_morning_of_two_accounts"


def bodies(bars) -> list[str]:
    return sorted(bar["event_id"] for bar in bars)


def test_a_recorded_tape_plays_the_minutes_that_were_recorded():
    played, original = TapeSource(tape=str(FOLDER)).load(), cut(small_tape(), slice(UNTIL))
    assert [m.label for m in played] == [m.label for m in original]
    assert [bodies(m.bars) for m in played] == [bodies(m.bars) for m in original]
    assert [bodies(m.quotes) for m in played] == [bodies(m.quotes) for m in original]
    assert bodies(played.history) == bodies(original.history)
    assert played.universe == original.universe


def test_a_played_recording_is_decided_as_the_recorded_run_was_and_its_chains_are_labelled():
    again = Simulation(TOPOLOGY, TapeSource(tape=str(FOLDER)).load(), CONFIG).play()
    for name in ("decisions", "signals"):
        assert again.outputs(name).hexdigest() == morning().outputs(name).hexdigest()
    assert again.tape.market.origin.startswith("synthetic/")
    assert len(again.outputs("proposals")) == len(morning().outputs("proposals"))


def test_minutes_that_the_log_jumps_over_are_played_empty():
    played = TapeSource(tape=str(HERE / "session_edge_with_a_gap")).load()
    labels = [minute.label for minute in played]
    assert labels == list(range(labels[0], labels[-1] + MINUTE_US, MINUTE_US))
    assert sum(not minute.bars for minute in played) >= 15
    assert Simulation(TOPOLOGY, played, Config()).play().outputs("features")


def _with(tape: RecordedTape, **changes: object) -> RecordedTape:
    return replace(tape, manifest=tape.manifest.model_copy(update=changes))


def test_a_record_that_cannot_be_decoded_is_left_out_and_counted():
    tape = load(FOLDER)
    place = next(at for at, m in enumerate(tape.messages) if m.topic == "quotes" and m.value is not None)
    messages = list(tape.messages)
    messages[place] = messages[place]._replace(value=b"\0nonsense")
    played = playable(replace(tape, messages=renumbered(messages)), xnys())
    assert "1 records that cannot be decoded are left out" in played.notes


def test_a_tape_without_quotes_gets_made_ones_that_say_so():
    tape = load(FOLDER)
    bars = renumbered(m for m in tape.messages if m.topic != "quotes" or m.value is None)
    assert playable(replace(tape, messages=bars), xnys()).market.quote_origin == "synthetic/quotes"


def test_a_window_of_two_sessions_is_no_tape_to_play():
    tape = _with(load(FOLDER), start="2026-02-13T15:00:00Z")
    with pytest.raises(Fatal, match=r"market of one session; got '2026-02-13, 2026-02-17'; .*--sessions"):
        playable(tape, xnys())


def test_a_session_is_chosen_of_a_window_of_two_and_the_one_before_warms_it_up():
    whole = playable(load(FOLDER), xnys())
    tape = _with(load(FOLDER), start="2026-02-13T15:00:00Z")
    chosen = playable(tape, xnys(), date(2026, 2, 17))
    assert chosen.session == whole.session
    assert [b for m in chosen for b in m.bars] == [b for m in whole for b in m.bars]
    assert chosen.history == whole.history


def test_a_session_that_the_window_lacks_is_refused_with_those_it_has():
    with pytest.raises(Fatal, match="no such session; got '2026-02-18'; sessions on the tape: 2026-02-17"):
        TapeSource(tape=str(FOLDER), session=date(2026, 2, 18)).load()


def test_a_recorded_tape_has_its_own_quotes():
    with pytest.raises(Fatal, match="leave out --quotes"):
        TapeSource(tape=str(FOLDER), quotes=FOLDER / "quotes.csv").load()
