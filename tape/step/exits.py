"""``tape step exits``: which rules want a position closed, one case a line."""

import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.account.rules.exits import ExitCase, RegimeName, pnl_needed, triggers
from tapedeck.streams.stages.account.rules.money import ZERO, money
from tapedeck.streams.stages.account.rules.strategies import StrategyName
from tapedeck.tape.step.common import Line, judged
from tapedeck.tape.step.shaped import shaped

HELP = """Judge one position a line; each line is judged alone.

A line is an object with these keys. One that is absent is harmless, one that is null is unknown.
  kind             "OPT" or "STK"
  strategy         "day_trade", "swing_trade", "gap_fade" or your own
  held_min         minutes since the entry
  pnl, peak        now and at its highest, as fractions of the average cost
  dte              calendar days to expiry
  min_to_close     minutes to the session's close
  min_from_open    minutes since its open
  session          number of the session, the entry's is 1
  eod_min_pnl      the P&L that the account wants of a swing option overnight
  theta_score      |theta per day| / mark
  notional_pct     what it is worth / equity
  regime           "COMPLACENT", "NORMAL", "ELEVATED", "HIGH" or "EXTREME"
  halted_flatten   whether a halt closes everything
  earnings         whether earnings come before the next open

Example:
  {"kind": "OPT", "strategy": "day_trade", "held_min": 30, "pnl": -0.40, "dte": 1, "min_to_close": 200}
gives
  {"triggers": ["STOP_LOSS"]}"""

_Number = Annotated[float, Field(strict=False)]
_FAR = 30


class _Case(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: Literal["OPT", "STK"]
    strategy: StrategyName = "day_trade"
    held_min: Annotated[float, Field(ge=0)] | None = 0.0
    pnl: Decimal | None = None
    peak: Decimal | None = ZERO
    dte: int | None = _FAR
    min_to_close: _Number | None = None
    min_from_open: _Number | None = None
    session: Annotated[int, Field(ge=1)] | None = 1
    eod_min_pnl: Decimal | None = Decimal("0.10")
    theta_score: Annotated[float, Field(ge=0)] | None = 0.0
    notional_pct: Annotated[Decimal, Field(ge=0)] | None = ZERO
    regime: RegimeName | None = RegimeName.NORMAL
    halted_flatten: bool | None = False
    earnings: bool | None = False


def run(lines: Iterable[Line], config: Config) -> Iterator[dict[str, Any]]:
    """One output line per input line."""
    return judged(lines, lambda line: [_judge(shaped(_Case, line), config)])


def _judge(case: _Case, config: Config) -> dict[str, Any]:
    judged_case = ExitCase(
        option=case.kind == "OPT",
        strategy=case.strategy,
        held_min=math.nan if case.held_min is None else case.held_min,
        pnl=None if case.pnl is None else money(case.pnl),
        peak=money(case.peak or ZERO),
        dte=case.dte if case.kind == "OPT" else None,
        min_to_close=case.min_to_close,
        min_from_open=case.min_from_open,
        session=case.session or 0,
        eod_min_pnl=case.eod_min_pnl,
        theta_score=case.theta_score,
        notional_pct=None if case.notional_pct is None else money(case.notional_pct),
        regime=case.regime or RegimeName.UNKNOWN,
        halted_flatten=bool(case.halted_flatten),
        earnings=case.earnings,
    )
    if "pnl" not in case.model_fields_set:
        judged_case = _harmless(judged_case, config)
    return {"triggers": [trigger.rule.value for trigger in triggers(judged_case, config)]}


def _harmless(case: ExitCase, config: Config) -> ExitCase:
    """The same without a P&L of its own: one that fires nothing."""
    needed = pnl_needed(case, config) if case.swing and case.option else None
    return case._replace(pnl=needed or ZERO, peak=ZERO)
