"""The pool of worker processes: every answer once, errors as they are, and nobody left behind."""

import os
import signal
from collections.abc import Callable
from io import StringIO
from multiprocessing import active_children

import pytest
from rich.console import Console

from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.bulk.job import Progress
from tapedeck.tape.rebuild.pool import run_all
from tapedeck.tape.rebuild.progress import Told


def doubled(task: int, progress: Progress) -> int:
    progress(task)
    return 2 * task


def deadly(task: int, progress: Progress) -> int:
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return doubled(task, progress)


def failing(task: int, progress: Progress) -> int:
    raise Retry("the broker is silent", value="x", remedy="wait")


def broken(task: int, progress: Progress) -> int:
    raise ZeroDivisionError("oh")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_gives_its_answer_and_its_progress(workers: int) -> None:
    told: list[int] = []
    assert dict(run_all(doubled, [3, 2, 1], workers, told.append)) == {1: 2, 2: 4, 3: 6}
    assert sorted(told) == [1, 2, 3]
    assert active_children() == []


@pytest.mark.parametrize(
    "work, kind, message",
    [
        (deadly, Fatal, "a worker process died while it rebuilt 2; got 'signal 9'.*fewer --workers"),
        (failing, Retry, "the broker is silent"),
        (broken, Fatal, "ZeroDivisionError: oh"),
    ],
)
def test_an_error_ends_all_workers(
    work: Callable[[int, Progress], int], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message.replace("(", r"\(")):
        list(run_all(work, [2, 3], 2, lambda n: None))
    assert active_children() == []


def test_an_interruption_ends_all_workers() -> None:
    answers = run_all(doubled, [1, 2, 3, 4], 2, lambda n: None)
    next(answers)
    with pytest.raises(KeyboardInterrupt):
        answers.throw(KeyboardInterrupt())
    assert active_children() == []


def test_progress_says_records_rate_and_time_left_where_there_is_no_terminal() -> None:
    written = StringIO()
    with Told(1000, "rebuilding", Console(file=written, width=200)) as told:
        told._next = 0
        told.advance(250)
        told.advance(0)
    lines = written.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("tape: rebuilding: 250 of 1,000 records, ")
    assert lines[0].endswith(" s left")
