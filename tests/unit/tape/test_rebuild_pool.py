"""The pool of worker processes: every answer once, errors as they are, and nobody left behind."""

import os
import signal
from collections.abc import Callable
from io import StringIO
from multiprocessing import active_children

import pytest
from rich.console import Console

from tapedeck.schemas.codec import PREFIX, decode, encode, load_schema, take_foreign, use_ids
from tapedeck.schemas.errors import DeadLetter, Fatal, Retry
from tapedeck.schemas.golden import samples_of
from tapedeck.schemas.ids import IdMap, current_id
from tapedeck.streams.columnar.job import Progress
from tapedeck.tape.rebuild.pool import run_all
from tapedeck.tape.rebuild.progress import Told

FOREIGN = 999_999


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


def stamped(task: str, progress: Progress) -> tuple[bytes, bytes]:
    """Which ids this process stamps, and the reason why a record of the id log cannot be read here."""
    body = samples_of(load_schema(task))[0]
    with pytest.raises(DeadLetter):
        decode(task, PREFIX.pack(0, FOREIGN) + encode(task, body)[PREFIX.size :])
    return encode(task, body)[: PREFIX.size], encode(task, decode(task, encode(task, body)))


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


@pytest.mark.parametrize("workers", [1, 2])
def test_a_registrys_ids_and_what_is_foreign_travel_with_the_work(workers: int) -> None:
    tasks = ["bars", "quotes", "signals"]
    wire = {name: 7000 + place for place, name in enumerate(tasks)}
    use_ids(IdMap(to_wire=wire, to_log={wire[name]: current_id(name) for name in tasks}))
    take_foreign()
    try:
        answers = dict(run_all(stamped, tasks, workers, lambda n: None))
        assert {name: int.from_bytes(prefix[1:]) for name, (prefix, _) in answers.items()} == wire
        assert take_foreign() == {(name, FOREIGN): 1 for name in tasks}
    finally:
        use_ids(None)


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
