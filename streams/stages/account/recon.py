"""The comparison with the broker, whose quantities are the truth (docs/domain.md#reconciliation).

A difference blocks openings of its symbol at once. It is adjusted only if it still stands after
``recon.grace_s``, in a second comparison that finds the very same quantities, and while no order of ours
works in it. The adjustment is an execution without a price: its P&L is unknown until a person looks at it.

An order whose executions the broker reported and never listed under it does not wait for them without end:
an opening is done with them after ``recon.grace_s`` if quantities agree, any other after ``recon.period_s``.
"""

from decimal import Decimal
from hashlib import sha256
from typing import Any

from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.account import fills, orders
from tapedeck.streams.stages.account.order_state import Order
from tapedeck.streams.stages.account.rules.money import ZERO
from tapedeck.streams.stages.account.rules.orders import OrderReason, Purpose, Side
from tapedeck.streams.stages.account.rules.positions import Execution, ExecutionReason, Owner, describe
from tapedeck.streams.stages.account.rules.requests import FetchBroker
from tapedeck.streams.stages.account.state import AccountDrop, Mismatch, Review
from tapedeck.streams.stages.account.turn import Turn

READS = 2
FOLLOW_S = 10
"""The least time between two comparisons that see what became of a difference, or of a halt, seconds."""
ACTIVITY_DAYS = 3
"""How long the broker's report of an expired contract may take, days."""


def compare(turn: Turn, payload: dict[str, Any]) -> set[str]:
    """Compare quantities; returns the underlyings that differ. Adjusts what has differed for long enough."""
    ours = fills.quantities(turn)
    theirs = {each["instrument"]: each["qty"] for each in payload["positions"] if each["qty"]}
    known, found, differing = turn.state.mismatches, {}, set()
    for instrument in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(instrument, ZERO), theirs.get(instrument, ZERO)
        if mine == other:
            continue
        differing.add(describe(instrument).underlying)
        before = known.get(instrument)
        if before is not None and (before.ours, before.theirs) == (mine, other):
            before.reads, before.read_at, found[instrument] = before.reads + 1, turn.now, before
        else:
            found[instrument] = Mismatch(ours=mine, theirs=other, since=turn.now, read_at=turn.now)
    turn.state.mismatches = found
    _give_up(turn)
    for instrument, each in sorted(found.items()):
        if _stands(turn, each) and not _explained(turn, instrument):
            del turn.state.mismatches[instrument]
            _adjust(turn, instrument, each, payload.get("last_activity") or "")
    return differing


def advance(turn: Turn) -> None:
    """Ask again about a difference, or about executions that are missed, once ``recon.grace_s`` are over."""
    grace = turn.config.recon.grace_s * SECOND_US
    mismatches = turn.state.mismatches
    if any(turn.now - each.read_at >= grace for each in mismatches.values()) or any(
        each.instrument not in mismatches for each in _due(turn)
    ):
        follow(turn)


def follow(turn: Turn, natural: str = "") -> str | None:
    """The id of a comparison that is asked for; None where the last one was less than FOLLOW_S ago.

    A broker that refuses answers at once, and so would the next question and the one after it.
    """
    known, last = turn.outstanding(FetchBroker), turn.state.followed_at
    if known is not None:
        return known
    if last is not None and turn.now - last < FOLLOW_S * SECOND_US:
        return None
    turn.state.followed_at = turn.now
    return turn.ask(FetchBroker(request_id=turn.new_id("FETCH_BROKER", natural)))


def resolve(turn: Turn, identity: str, price: Decimal | None) -> None:
    """A person has looked at an adjustment: its price, if it is known, and openings in its symbol again."""
    review = turn.state.reviews.pop(identity, None)
    if review is None:
        turn.refuse(
            AccountDrop.NO_SUCH_TARGET,
            f"no adjustment {identity!r} waits for a review",
            "see `tape reconcile`: it may be resolved already",
        )
        return
    book = turn.state.books.get(review.instrument)
    at = (
        next((n for n, each in enumerate(book.executions) if each.execution_id == identity), None)
        if book
        else None
    )
    if book is None or at is None or price is None:
        return
    before = fills.folded(turn, review.instrument)
    turn.folds.forget(review.instrument)
    fields = vars(book.executions[at]) | {"price": price}
    book.executions[at] = Execution(**fields)
    fills.publish_changes(turn, review.instrument, before, fills.folded(turn, review.instrument), turn.event)


def under_review(turn: Turn) -> set[str]:
    """The underlyings with an adjustment that no person has looked at."""
    return {describe(each.instrument).underlying for each in turn.state.reviews.values()}


def _stands(turn: Turn, each: Mismatch) -> bool:
    return each.reads >= READS and turn.now - each.since >= turn.config.recon.grace_s * SECOND_US


def _explained(turn: Turn, instrument: str) -> bool:
    """True where an order of ours works in it, or what was executed or became of a contract is still due."""
    if any(each.instrument == instrument and each.reserved for each in turn.state.orders.values()):
        return True
    due = {
        describe(held).underlying: expiry
        for held, _ in fills.open_positions(turn)
        if (expiry := describe(held).expiry) is not None and expiry <= turn.session
    }
    expiry = due.get(describe(instrument).underlying)
    return expiry is not None and turn.session - expiry <= ACTIVITY_DAYS


def _give_up(turn: Turn) -> None:
    """End the wait for executions that the broker reported and never listed under their order.

    Where quantities agree they are in ours already, as somebody else's; else ours is adjusted now. So nothing
    is traded twice.
    """
    for order in _due(turn):
        differs = turn.state.mismatches.get(order.instrument)
        if differs is not None and not _stands(turn, differs):
            continue
        due = order.remaining
        turn.count_executed(order, due)
        detail = f"{due.normalize():f} of {order.qty.normalize():f} filled, and no execution of it is listed"
        orders.note(turn, order, OrderReason.EXECUTIONS_NOT_LISTED, detail)


def _due(turn: Turn) -> list[Order]:
    """Orders of ours that have missed executions for long enough, and beside which none works.

    A close waits for a full period: if its fill and the broker's quantity are both late, the next close would
    sell what is not there. So does an order whose quantity differs: its execution may be listed late.
    """
    rules, found = turn.config.recon, []
    for _, parent in sorted(turn.state.parents.items()):
        child = turn.state.orders.get(parent.child or "")
        if child is None or child.due_since is None or child.remaining == 0:
            continue
        soon = child.purpose is Purpose.OPEN and child.instrument not in turn.state.mismatches
        least_s = rules.grace_s if soon else rules.period_s
        if turn.now - child.due_since >= least_s * SECOND_US and not _works(turn, child.instrument):
            found.append(child)
    return found


def _works(turn: Turn, instrument: str) -> bool:
    return any(each.instrument == instrument and not each.terminal for each in turn.state.orders.values())


def _adjust(turn: Turn, instrument: str, found: Mismatch, last_activity: str) -> None:
    """Bring our quantity to the broker's.

    The same difference after the same activity is the same execution.
    """
    account_id = turn.account.account_id
    natural = (
        f"{account_id}|{instrument}|{found.ours.normalize():f}|{found.theirs.normalize():f}|{last_activity}"
    )
    identity = f"adj-{sha256(natural.encode()).hexdigest()[:24]}"
    if identity in turn.state.executions:
        return
    turn.state.executions[identity] = turn.session
    change = found.theirs - found.ours
    execution = Execution(
        execution_id=identity,
        executed_at=turn.now,
        side=Side.BUY if change > 0 else Side.SELL,
        qty=abs(change),
        price=None,
        fee=ZERO,
        client_order_id="",
        owner=Owner.EXTERNAL,
        strategy=None,
        reason=ExecutionReason.RECON_ADJUST,
    )
    turn.state.reviews[identity] = Review(instrument=instrument, at=turn.now)
    fills.fold_in(turn, instrument, execution, "RECON")
