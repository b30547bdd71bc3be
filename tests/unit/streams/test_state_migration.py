"""State that an older release wrote is read, brought up step by step; a newer release's is refused."""

import pytest

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.frame import body_of, pack, unpack, without_logs
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.base import migrate_state, pack_state
from tapedeck.streams.stages.scores.stage import KEPT, STATE_VERSION, ScoresStage

FAKE = 3
"""A format after the shipped ones: version 1 had a price in cents, 2 in dollars, 3 named the currency."""
STEPS = {
    1: lambda fields: {"price": fields["cents"] / 100},
    2: lambda fields: {**fields, "currency": "USD"},
}


def test_a_value_of_each_older_format_is_brought_to_the_newest() -> None:
    newest = {"price": 1.25, "currency": "USD"}
    for version, fields in ((1, {"cents": 125}), (2, {"price": 1.25}), (3, newest)):
        assert migrate_state(FAKE, pack_state(version, fields), STEPS) == newest


@pytest.mark.parametrize("version", [0, 4])
def test_a_format_without_steps_and_a_newer_one_are_refused_by_number(version: int) -> None:
    with pytest.raises(Fatal, match=f"{version}.*reads version {FAKE}"):
        migrate_state(FAKE, pack_state(version, {"cents": 1}), STEPS)


def test_a_gap_in_the_steps_refuses_what_lies_before_it() -> None:
    with pytest.raises(Fatal, match="another format version"):
        migrate_state(FAKE, pack_state(1, {"cents": 1}), {1: STEPS[1]})


def test_the_real_step_from_1_to_2_holds_for_the_frame_and_for_the_scores_in_it() -> None:
    """The frame of format 1 has no ids of topics; the scores' state of format 1 has no window."""
    stage = ScoresStage(Config(), xnys())
    feature = {name: 1 for name in KEPT}
    cursors, ids = {(0, 1): 5}, {0: bytes(range(16))}
    old = without_logs(pack(3, cursors, pack_state(1, feature), ids))
    assert (old[2], unpack(old).logs) == (1, {})
    held = stage.open(body_of(old))
    assert held.feature == feature and held.window is None
    assert stage.close(held) == body_of(old), (
        "a rollback reads what the newer release had no reason to change"
    )
    new = pack(3, cursors, stage.close(held._replace(window={"n_60": 1})), ids)
    assert (new[2], body_of(new)[:2]) == (2, b"[%d" % STATE_VERSION)
    assert stage.open(body_of(new)).feature == feature
