"""The account stage with its state in memory: the live one packs and unpacks it for every batch."""

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Batch, Row, Stage, StageSpec, Step
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.account.stage import AccountStage
from tapedeck.streams.stages.account.state import AccountState, pack, unpack
from tapedeck.streams.stages.account.turn import Folds, Turn
from tapedeck.streams.topology import make

_HELD = b"held"
_PACKED_EVERY = 2_000


class HeldStage(AccountStage):
    """Folds like its base, on one ``AccountState`` that stays an object between batches.

    What ``step`` returns as the state is a mark. A record that raises leaves the state as it was before its
    batch: it is folded again from the last packed state and the records since.
    """

    _state, _folds = AccountState(), Folds()
    _packed: bytes | None = None

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        """Fold ``batch`` into the held state; ``state`` is what the last step returned. Raises like the
        account stage."""
        if state is None:
            self._state, self._folds = AccountState(), Folds()
            self._packed, self._since = None, list[Row]()
        try:
            turn = self._folded(batch)
        except Exception:
            self._state, self._folds = unpack(self._packed), Folds()
            self._folded(self._since)
            raise
        self._since += batch
        if len(self._since) >= _PACKED_EVERY:
            self._packed, self._since = pack(self._state), []
        return Step(_HELD, turn.outs, turn.drops)

    def packed(self) -> bytes:
        """The state's bytes, as the account stage would have returned them."""
        return pack(self._state)

    def _folded(self, batch: Batch) -> Turn:
        turn = Turn(self._rules, self._calendar, self._state, self._folds)
        for cause, row in enumerate(batch):
            turn.at(cause, row)
            self._fold(turn, row)
        return turn


def made(spec: StageSpec, config: Config, calendar: Calendar, account_id: str) -> Stage:
    """The stage of one account with its state in memory; one of a user's own is made as it is."""
    stage = make(spec, config, calendar, account_id)
    if type(stage) is AccountStage:
        return HeldStage(config, config.account(account_id), calendar)
    return stage
