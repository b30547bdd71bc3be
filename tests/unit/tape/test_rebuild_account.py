"""An account is verified and applied like a stage: its inbox is its input, one value its table."""

from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.columnar.job import TaskId, inputs_of
from tapedeck.streams.columnar.task import tasks_of
from tapedeck.streams.frame import pack, unpack
from tapedeck.streams.protocol import Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.rebuild.apply import plan_task
from tapedeck.tape.rebuild.live import applied_by, read_changelog
from tapedeck.tape.rebuild.verdict import Basis, Kind
from tapedeck.tape.rebuild.verify import verify_task
from tapedeck.topics.catalogue import CATALOGUE
from tests.support.paths import CONFIG, morning
from tests.support.rebuilds import LAYOUT, Recorded
from tests.unit.tape.test_rebuild_apply import MemoryTarget, applied


def recorded() -> Recorded:
    log = morning().log
    parts = [(each.name, part) for each in CATALOGUE for part in range(LAYOUT.partitions(each.name))]
    held = {part: tuple(log.read(*part, 0)) for part in parts if log.end(*part)}
    return Recorded(held, {})


TASKS = tasks_of([TOPOLOGY.stage("account")], LAYOUT, CONFIG)


def basis_of(recording: Recorded) -> Basis:
    held = (m for part in sorted(recording.messages) for m in recording.messages[part])
    return Basis(CONFIG, xnys(), MemorySource(LAYOUT, held), TOPOLOGY)


def damaged(task: TaskId, key: bytes) -> Recorded:
    part = ("account.changelog", task.home)
    messages = list(recorded().messages[part])
    place = max(k for k, m in enumerate(messages) if m.key == key)
    epoch, cursors, body, _ = unpack(messages[place].value or b"")
    other = body.replace(b'"executions"', b'"execution2"', 1)
    assert other != body
    messages[place] = messages[place]._replace(value=pack(epoch, cursors, other))
    return recorded().with_messages(part, messages)


def test_every_account_is_equal_to_its_inbox() -> None:
    basis = basis_of(recorded())
    rows = 0
    for task in TASKS:
        verdict = verify_task(task, basis, committed={})
        assert verdict.differences == []
        assert len(verdict.live) == 1
        rows += sum(len(live) for live, _ in verdict.outputs.values())
    assert rows > 50


def test_an_order_that_is_not_in_the_topic_is_missing() -> None:
    task = TASKS[0]
    part = ("proposals", task.home)
    messages: list[Message] = list(recorded().messages[part])
    own = (task.account_id or "").encode()
    messages.remove(next(m for m in messages if (m.key or b"").split(b"|")[0] == own))
    changed = recorded().with_messages(part, messages)
    (found,) = verify_task(task, basis_of(changed), committed={}).differences
    assert found.kind is Kind.MISSING and found.what == "proposals" and found.key


def test_an_account_is_repaired_by_one_record() -> None:
    task = TASKS[0]
    key = (task.account_id or "").encode()
    changed = damaged(task, key)
    plan = plan_task(task, basis_of(changed), committed={})
    assert [each.kind for each in plan.repairs] == [Kind.CHANGED]
    target = MemoryTarget(changed, {})
    ends = target.log.end("account.changelog", task.home)
    applied(target, [plan])
    assert target.log.end("account.changelog", task.home) == ends + 1
    assert verify_task(task, Basis(CONFIG, xnys(), target.source, TOPOLOGY), committed={}).differences == []
    assert target.offsets == dict(plan.offsets)


def test_a_lost_account_is_built_up_to_its_outputs() -> None:
    """The table is gone; the newest proposal was never written: the table may not know its signal."""
    task = TASKS[0]
    own = (task.account_id or "").encode()
    emptied = {part: held for part, held in recorded().messages.items() if part[0] != "account.changelog"}
    part = ("proposals", task.home)
    last = max((m for m in emptied[part] if (m.key or b"").split(b"|")[0] == own), key=lambda m: m.offset)
    kept = tuple(m for m in emptied[part] if m != last)
    cause = int(dict(last.headers)["tape-cause"].split(b"@")[1])
    basis = basis_of(Recorded(emptied | {part: kept}, {}))
    plan = plan_task(task, basis, committed={})
    assert dict(plan.offsets) == {each: cause for each in inputs_of(task, LAYOUT)}
    assert read_changelog(basis.source, task).values() == {}
    assert max(unpack(v).cursors[0, task.home] for v in plan.values.values()) < cause
    assert applied_by(basis.source, task, plan.values).cut != {}
