"""The progress of a rebuild on standard error: a bar on a terminal, else a line every few seconds."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn

_TELL_S = 5.0


class Told:
    """Counts records, or another ``unit``; ``total`` are expected. As a context manager it shows the bar."""

    def __init__(
        self, total: int, what: str, console: Console | None = None, *, unit: str = "records"
    ) -> None:
        self._console = console or Console(stderr=True)
        self._total, self._what, self._unit = total, what, unit
        self._done, self._began = 0, time.monotonic()
        self._next = self._began + _TELL_S
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            _Rate(),
            TimeRemainingColumn(),
        )
        hidden = not self._console.is_terminal
        self._bar = Progress(*columns, console=self._console, transient=True, disable=hidden)
        self._line = self._bar.add_task(what, total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, records: int) -> None:
        """Count finished records."""
        self._done += records
        self._bar.update(self._line, completed=min(self._done, self._total))
        now = time.monotonic()
        if not self._console.is_terminal and now >= self._next:
            self._next = now + _TELL_S
            self._console.print(f"tape: {self.told(now)}", highlight=False)

    def told(self, now: float) -> str:
        """Records, rate and time left, in words."""
        rate = self._done / max(now - self._began, 1e-9)
        left = (self._total - self._done) / rate if rate > 0 else 0.0
        done = f"{self._done:,} of {self._total:,} {self._unit}"
        return f"{self._what}: {done}, {rate:,.0f}/s, {max(left, 0):.0f} s left"


class _Rate(ProgressColumn):
    """Records a second."""

    def render(self, task: Task) -> str:
        return f"{task.speed:,.0f}/s" if task.speed else ""
