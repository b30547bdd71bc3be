"""Every regression tape through the rebuild and the sim driver; ``test_three_drivers`` has the live one."""

from dataclasses import replace

import pytest

from tapedeck.connectors.recorded.format import RecordedTape, load
from tapedeck.schemas.codec import decode, encode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.digests import of_messages
from tapedeck.streams.protocol import Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.record.making import check, record, with_digests
from tests.support.paths import CONFIG, OUTPUTS, morning
from tests.tapes import FOLDERS, HERE
from tests.tapes.make import TAPES
from tests.unit.connectors.test_recorded_window import messages_of, source, window

MORNING = HERE / "signal_morning_of_two_accounts"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_rebuild_and_sim_leave_the_digests_of_the_tape(folder):
    assert check(TOPOLOGY, load(folder), xnys()) == {"rebuild": [], "sim": []}


def test_the_accounts_of_a_tape_decide_what_they_decided_when_it_was_recorded():
    tape, log = load(MORNING), morning().log
    assert tape.manifest.topics["orders"].count > 0
    for name in OUTPUTS:
        assert tape.manifest.topics[name].sha256 == of_messages(name, log.messages(name)).hexdigest()


def changed(tape: RecordedTape, at: int) -> RecordedTape:
    """The tape with the close of its bar number ``at`` a cent higher."""
    places = [place for place, m in enumerate(tape.messages) if m.topic == "bars" and m.value is not None]
    messages = list(tape.messages)
    found: Message = messages[places[at]]
    body = decode("bars", found.value)
    body |= {"close": body["close"] + 0.01, "high": body["high"] + 0.01}
    messages[places[at]] = found._replace(value=encode("bars", body))
    return replace(tape, messages=tuple(messages))


def test_a_record_that_is_not_the_recorded_one_is_found_by_both_drivers_at_the_first_topic():
    for found in check(TOPOLOGY, changed(load(FOLDERS[0]), -10), xnys()).values():
        assert str(found[0]).startswith("topic features: expected ")


def test_a_tape_of_other_rules_or_defaults_says_how_to_make_its_digests_again():
    tape = load(FOLDERS[0])
    for field, words in (
        ("rules_version", "under other rules"),
        ("config_digest", "the digest of the tape's configuration changed"),
    ):
        other = replace(tape, manifest=tape.manifest.model_copy(update={field: "other"}))
        with pytest.raises(Fatal, match=f"{words}.*tape record --update"):
            check(TOPOLOGY, other, xnys())
        assert check(TOPOLOGY, with_digests(TOPOLOGY, other, xnys()), xnys()) == {"rebuild": [], "sim": []}


def test_a_recorded_window_of_some_symbols_agrees_with_itself():
    tape = record(TOPOLOGY, source(), window(), CONFIG, xnys(), name="two", symbols=("AMD", "WMT"))
    assert tape.manifest.symbols == ("AMD", "WMT")
    assert check(TOPOLOGY, tape, xnys()) == {"rebuild": [], "sim": []}


def test_what_the_window_does_not_have_is_refused():
    with pytest.raises(Fatal, match=r"no bar of this symbol.*got 'TSLA'.*there are: AMD, BAC"):
        record(TOPOLOGY, source(), window(), CONFIG, xnys(), name="x", symbols=("TSLA",))
    market = MemorySource(
        source().layout, [m for m in messages_of(morning().log) if m.topic != "account_inbox"]
    )
    with pytest.raises(Fatal, match="inbox is empty; got 'large'"):
        record(TOPOLOGY, market, window(), CONFIG, xnys(), name="x", accounts=("large",))


def test_the_maker_gives_the_tape_that_stands_here():
    assert TAPES.keys() <= {folder.name for folder in FOLDERS}
    folder = HERE / "revisions_and_inserted_bars"
    made, kept_one = TAPES[folder.name](), load(folder)
    assert made.messages == kept_one.messages
    assert made.manifest.topics == kept_one.manifest.topics
