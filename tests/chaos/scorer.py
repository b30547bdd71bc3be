"""A scorer whose engine fails for a text with "fails" in it; with ``TAPE_TEST_KILL=commit`` it dies between
the acknowledgement of its first records and the commit, with ``TAPE_TEST_SCORE_S`` a text takes so long. It
says when scores are acknowledged."""

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence

from tapedeck.connectors.scoring.live import KafkaScoringLog
from tapedeck.connectors.scoring.order import Position
from tapedeck.connectors.sentiment.light import Light
from tapedeck.connectors.sentiment.scorer import Score, ScoreFailed
from tapedeck.streams.wire import Wire
from tapedeck.tape.cli.main import run
from tests.chaos.scorer_words import WROTE

write, commit, score = KafkaScoringLog.write, KafkaScoringLog.commit, Light.score
wrote = False


def noting_write(self: KafkaScoringLog, wires: Sequence[Wire]) -> None:
    global wrote  # noqa: PLW0603 - one process, one log
    has_scores = any(wire.topic == "sentiment" and wire.value is not None for wire in wires)
    write(self, wires)
    if has_scores:
        print(WROTE, flush=True)
    wrote |= has_scores


def deadly_commit(self: KafkaScoringLog, positions: Mapping[str, Position]) -> None:
    if wrote:
        os.kill(os.getpid(), signal.SIGKILL)
    commit(self, positions)


def failing_score(self: Light, texts: Sequence[str]) -> list[Score]:
    if any("fails" in text for text in texts):
        raise ScoreFailed("told to fail for this text")
    time.sleep(len(texts) * float(os.environ.get("TAPE_TEST_SCORE_S", "0")))
    return score(self, texts)


KafkaScoringLog.write = noting_write  # type: ignore[method-assign]
Light.score = failing_score  # type: ignore[method-assign]
if os.environ.get("TAPE_TEST_KILL") == "commit":
    KafkaScoringLog.commit = deadly_commit  # type: ignore[method-assign]
sys.argv[0] = "tape"
run()
