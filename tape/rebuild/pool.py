"""Tasks in worker processes, one per worker at a time; each answer is passed on as it comes.

A worker talks to its parent over one pipe, so it ends with its parent, however that ends.
"""

import gc
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, NamedTuple, TypeVar, cast

from tapedeck.schemas.codec import Foreign, add_foreign, ids_in_use, take_foreign, use_ids
from tapedeck.schemas.errors import Fatal, TapeError
from tapedeck.schemas.ids import IdMap
from tapedeck.streams.columnar.job import Progress

T = TypeVar("T")
A = TypeVar("A")
Work = Callable[[T, Progress], A]
"""What a worker does with one task; it travels to the worker, so it must be picklable."""

_END_S = 2.0
_SELDOM = 200_000
"""Objects created between two garbage collections."""


class _Advanced(NamedTuple):
    records: int


class _Done(NamedTuple):
    answer: Any
    foreign: Foreign


class _Failed(NamedTuple):
    error: TapeError | None
    told: str


class _Worker(NamedTuple, Generic[T]):
    process: BaseProcess
    pipe: "Connection[Any, Any]"
    task: T


def run_all(work: Work[T, A], tasks: Sequence[T], workers: int, advance: Progress) -> Iterator[tuple[T, A]]:
    """(task, answer) of every task, in the order in which they finish; they start in the order of ``tasks``.

    One worker is this process. Raises the first error of any task, and Fatal if a worker process dies;
    all others are stopped then, as they are on Ctrl-C.
    """
    if workers <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield task, work(task, advance)
        return
    waiting = list(tasks)
    running = [_begun(work, waiting.pop(0)) for _ in range(min(workers, len(tasks)))]
    started, through = list(running), False
    try:
        while running:
            wait([each.pipe for each in running])
            for worker in [each for each in running if each.pipe.poll()]:
                heard = _heard(worker)
                if isinstance(heard, _Advanced):
                    advance(heard.records)
                    continue
                running.remove(worker)
                add_foreign(heard.foreign)
                if waiting:
                    task = waiting.pop(0)
                    worker.pipe.send(task)
                    running.append(worker._replace(task=task))
                yield worker.task, heard.answer
        through = True
    finally:
        _stop(started, through)


def _begun(work: Work[T, A], task: T) -> _Worker[T]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, theirs, ids_in_use()), daemon=True)
    process.start()
    theirs.close()
    ours.send(task)
    return _Worker(process, ours, task)


def _heard(worker: _Worker[T]) -> _Advanced | _Done:
    try:
        heard = cast(_Advanced | _Done | _Failed, worker.pipe.recv())
    except EOFError:
        worker.process.join(_END_S)
        code = worker.process.exitcode
        why = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        raise Fatal(
            f"a worker process died while it rebuilt {worker.task}",
            value=why,
            remedy="signal 9 usually means out of memory: use fewer --workers; nothing was changed",
        ) from None
    if isinstance(heard, _Failed):
        raise heard.error or Fatal(f"rebuilding {worker.task} failed: {heard.told}")
    return heard


def _stop(started: Sequence[_Worker[T]], through: bool) -> None:
    """A worker ends when its pipe is closed; a busy one is terminated."""
    for worker in started:
        worker.pipe.close()
        if not through:
            worker.process.terminate()
    for worker in started:
        worker.process.join(_END_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join(_END_S)


def _serve(work: Work[Any, Any], pipe: "Connection[Any, Any]", ids: IdMap | None) -> None:
    """The body of a worker process, which reads and stamps the schema ids of its parent."""
    use_ids(ids)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches the whole group: end silently
    gc.freeze()  # imports stay and records form no cycles: collecting takes a tenth of the time
    gc.set_threshold(_SELDOM)
    try:
        while True:
            task = pipe.recv()
            try:
                answer = work(task, lambda records: pipe.send(_Advanced(records)))
                pipe.send(_Done(answer, take_foreign()))
            except TapeError as error:
                pipe.send(_Failed(error, str(error)))
            except (EOFError, BrokenPipeError):
                return
            except Exception:
                pipe.send(_Failed(None, traceback.format_exc()))
    except (EOFError, BrokenPipeError):
        return  # the parent has ended, or has no more tasks
