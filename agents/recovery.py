"""Faust's recovery of tables, without its silent failure.

Faust gives each request of a recovery a time limit. When one expires, it treats the service as stopped and
leaves the loop without a word: the table is never there, and the stage waits forever. A broker that is
unavailable, or a transaction that withholds the end of a changelog, is no reason for that. Here they are
waited for.
"""

from typing import Any

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery


class PatientRecovery(Recovery):
    """A recovery without a time limit: it ends with the table, or if the process stops or partitions move."""

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
