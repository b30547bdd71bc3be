"""The account stage, for the topology."""

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.definition import NOWHERE, Definition, Reasons
from tapedeck.streams.protocol import Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.account import words
from tapedeck.streams.stages.account.again import AGAIN
from tapedeck.streams.stages.account.decide import Verdict
from tapedeck.streams.stages.account.funnel import FUNNEL
from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.exits import ExitRule
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.orders import OrderReason, OrderState
from tapedeck.streams.stages.account.rules.positions import ExecutionReason
from tapedeck.streams.stages.account.rules.sizing import SizeReason
from tapedeck.streams.stages.account.stage import AccountStage
from tapedeck.streams.stages.account.state import STATE_VERSION, AccountDrop
from tapedeck.streams.stages.account.told import TOLD
from tapedeck.streams.stages.account.trail import TRAIL, Unstated


def _make(config: Config, calendar: Calendar, account_id: str | None) -> Stage:
    if account_id is None:
        raise Fatal("the account stage needs an account", value="none", remedy="name the account")
    return AccountStage(config, config.account(account_id), calendar)


DEFINITION = Definition(
    make=_make,
    reads=("account_inbox",),
    state_version=STATE_VERSION,
    groups=(
        "contract",
        "gate",
        "regime",
        "sizing",
        "order",
        "exit",
        "eod",
        "kill",
        "recon",
        "gap_fade",
        "accounts",
    ),
    again=AGAIN,
    told=TOLD,
    funnel=FUNNEL,
    trail=TRAIL,
    reasons=(
        Reasons(Verdict, words.VERDICTS, "`proposals.verdict`", "verdict"),
        Reasons(GateReason, words.GATES, "`proposals.gates`, `proposals.primary_reason`", "gates"),
        Reasons(ContractReason, words.CONTRACTS, "the contract_quality gate", "contract"),
        Reasons(SizeReason, words.SIZES, "`proposals.sizing_reason`", "size"),
        Reasons(OrderReason, words.ORDERS, "`orders.reason`", "orders"),
        Reasons(OrderState, words.STATES, "`orders.state`", "orders"),
        Reasons(ExitRule, words.EXITS, "`exits.chosen`, `positions.exit_reason`", "exits"),
        Reasons(ExecutionReason, words.UNORDERED, "`executions.reason`", "executions"),
        Reasons(AccountDrop, words.DROPS, "heartbeats", "inbox"),
        Reasons(Unstated, words.UNSTATED, NOWHERE),
    ),
)
