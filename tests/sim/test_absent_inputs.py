"""An optional input that is present, late, silent for a while or for ever: any schedule leaves the same."""

from functools import cache

import pytest

from tapedeck.streams.merge import Merge
from tapedeck.streams.shell import Effects
from tapedeck.streams.sim.schedule import Faults
from tapedeck.streams.sim.task import Effect, SimTask
from tapedeck.streams.watermarks import OPENS_HEADER
from tapedeck.streams.wire import Wire
from tests.support.toy_inputs import MINUTES, Input, ToyRun

SEEDS = 60
_LOGS = 6
FOUND_WITHIN = 60


@cache
def toy(how: Input, seed: int) -> ToyRun:
    return ToyRun(how, seed % _LOGS)


@pytest.mark.parametrize("how", Input, ids=lambda how: how.name)
def test_every_schedule_leaves_what_a_clean_run_leaves(how: Input) -> None:
    total = Faults()
    for seed in range(SEEDS):
        differing, faults = toy(how, seed % _LOGS).run(seed)
        assert not differing, f"seed {seed} with an input that {how}:\n" + "\n".join(differing)
        total += faults
    assert min(total.crashes, total.duplicated, total.redelivered, total.zombie_writes, total.reordered) > 0


def test_each_way_of_being_absent_leaves_something_of_its_own() -> None:
    left = {how: toy(how, 1).clean for how in Input}
    assert len({str(sorted(found["quotes"])) for found in left.values()}) == len(Input)
    for how, found in left.items():
        assert not any(parts for name, parts in found.items() if name.endswith("unread")), how
        assert len(found["decisions/1 marks"]) == 2 * (MINUTES + 1)


class Forgotten(SimTask):
    """Does not go by what was declared before a restart."""

    def _new_merge(self) -> Merge:
        return Merge(self.spec, self.inputs, self._shell.resume()._replace(absent={}))


class NotForwarded(SimTask):
    """Keeps openings to itself."""

    def _in_order(self, effects: Effects) -> list[Effect]:
        return [each for each in super()._in_order(effects) if not _is_opening(each[1])]


class _WithoutOpenings(Merge):
    def _unopened(self) -> list[tuple[str, int]]:
        return []


class NotAsked(SimTask):
    """Waits for an optional join like for any other."""

    def _new_merge(self) -> Merge:
        return _WithoutOpenings(self.spec, self.inputs, self._shell.resume())


def _is_opening(effect: object) -> bool:
    return isinstance(effect, Wire) and any(name == OPENS_HEADER for name, _ in effect.headers)


@pytest.mark.parametrize("broken", [Forgotten, NotForwarded, NotAsked], ids=lambda each: each.__name__)
def test_a_shell_that_breaks_one_rule_of_openings_is_found(broken: type[SimTask]) -> None:
    runs = ((toy(Input.OVERRIDDEN, seed), seed) for seed in range(FOUND_WITHIN))
    assert any(run.run(seed, broken)[0] for run, seed in runs), broken.__doc__
