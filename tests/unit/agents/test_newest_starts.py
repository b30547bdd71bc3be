"""Where the reader of newest records begins: near the end where only the newest counts, else at the start."""

import pytest

from tapedeck.agents.newest import NewestView
from tapedeck.connectors.dispatch.freshness import FOLLOWED


@pytest.mark.parametrize(
    ("name", "start"), [("bars", 9_700), ("features", 9_700), ("regime", 7), ("earnings", 7)]
)
def test_what_may_count_long_after_it_was_written_is_read_whole(name: str, start: int) -> None:
    assert name in FOLLOWED
    assert NewestView._start(name, 7, 10_000) == start


def test_a_short_topic_is_read_from_its_first_record() -> None:
    assert NewestView._start("bars", 9_900, 10_000) == 9_900
