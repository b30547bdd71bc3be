"""Faust's recovery of tables, without its silent end.

Faust gives each question of a recovery a time limit. When one is over it takes the service for stopped and
leaves the loop without a word: the table is never there, and the stage waits for ever. A broker that is away
and a transaction that withholds the end of a changelog are no reason for that: here they are waited for.
"""

from typing import Any

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery


class PatientRecovery(Recovery):
    """A recovery that ends when the table stands, the process stops or partitions move; never by a clock."""

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        await super()._wait(coro)


class Tables(TableManager):
    """The tables of an app, recovered with patience."""

    @property
    def recovery(self) -> Recovery:
        """The one recovery of this manager."""
        if self._recovery is None:
            self._recovery = PatientRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
