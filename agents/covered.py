"""Writing for an account only while its lease runs: its inbox, and what the account stage makes of it."""

import asyncio
import logging

from tapedeck.agents.waiting import Waiting
from tapedeck.connectors.dispatch.lease import Lease

LOOK_S = 0.005
log = logging.getLogger("tapedeck.lease")


async def covered(lease: Lease, account_id: str, records: int) -> None:
    """Until the lease runs: a process that was frozen must not write for the account of its successor.

    Records that must wait are counted. If another process has the account by now, this one is ended
    meanwhile, and they are never written.
    """
    if not lease.may_write(records):
        waiting = Waiting(log, account_id)
        while lease.left_s <= 0:
            waiting.say("its lease has run out, so it writes nothing")
            await asyncio.sleep(LOOK_S)
        waiting.over()
