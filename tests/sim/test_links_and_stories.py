"""A day of articles and posts: sim with crashes and rebuild agree, and records explain themselves."""

import random
from functools import cache

import pytest

from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.config.document import from_dict
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.schedule import run_schedule
from tapedeck.streams.sim.task import SimTask, drain, market_tasks
from tapedeck.streams.stages.links import items
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import Topology
from tapedeck.streams.watermarks import label_of
from tapedeck.tape.explain.explanation import explain_from
from tapedeck.tape.explain.reevaluate import Verdict
from tapedeck.tape.funnel import funnel
from tapedeck.tape.rebuild.whole import rebuild_stage
from tapedeck.tape.recording import of_messages as recording_of
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.items import T0, article, post
from tests.support.whatifs import recorded

STAGES = Topology(*TOPOLOGY.only(("stories", "post_links")))
CONFIG = from_dict({})
OUTPUTS = ("links", "stories", "post_links")
MINUTES, EVERY_MIN = 26 * 60, 13
SEEDS = range(3)
TITLES = (
    "Nvidia beats on strong data center sales", "Nvidia beats on strong data-center sales - Wire",
    "NVIDIA beats on strong data center sales again", "Apple cuts guidance for the quarter",
    "Apple cuts its guidance for the quarter", "Markets close mixed before the holiday", "Nvidia beats",
    "AT&amp;T and <b>AMD</b> shares jump", "NOW is the time to sell",
)  # fmt: skip
MORE = ("", "", " in Europe", " as rates rise", " on a busy day of trading for chip makers")
MOVERS = ("AAPL", "AMD", "BAC", "CAT", "CRM", "GE", "HD", "NVDA", "PG")
TAGS = (None, (), ("NVDA",), ("AMD", "ZZZZ"), MOVERS)
TEXTS = ("$NVDA to the moon", "$AMD and $NVDA", "DD: why I am long PLTR", "my cat", "$GME calls")
POISON = "a text that cannot be linked"


def log_of() -> MemoryLog:
    """Articles and posts of a day and more, updated, edited and removed; the writer repeats and goes back."""
    rng, log = random.Random(11), MemoryLog(Layout())
    writer = log.writer()
    for name in ("news", "posts"):
        writer.watermark(name, T0 - MINUTE_US)
    news, posts = [], []
    for at in range(0, MINUTES, EVERY_MIN):
        t = T0 + at * MINUTE_US
        for n in range(rng.randint(0, 3)):
            late = rng.choice((0, 0, 0, 40, 300)) * MINUTE_US
            title = f"{rng.choice(TITLES)}{rng.choice(MORE)}"
            news.append(article(f"{at}-{n}", title, at=t - late, symbols=rng.choice(TAGS), source="abc"[n]))
            posts.append(post(f"t1_{at}_{n}", rng.choice(TEXTS), at=t - late, author=rng.choice("xyz")))
        for name, new in (("news", news[-3:]), ("posts", posts[-3:])):
            for body in new:
                writer.send(name, body)
        for old in rng.sample(news[-90:], min(2, len(news))):
            bodies = [
                article(
                    old["native_id"], rng.choice(TITLES), at=old["event_time"], symbols=rng.choice(TAGS),
                    source=old["source"], version=(t - old["event_time"]) // MINUTE_US + step,
                )
                for step in rng.sample(range(3), 2)
            ]  # fmt: skip
            for body in (*bodies, old):
                writer.send("news", body)
        for old in rng.sample(posts[-90:], min(2, len(posts))):
            version = (t - old["event_time"]) // MINUTE_US
            texts = (rng.choice(TEXTS), rng.choice(TEXTS))
            for step, text in zip(rng.sample(range(3), 2), texts, strict=True):
                writer.send("posts", post(
                    old["native_id"], text, at=old["event_time"], version=version + step,
                    removed=rng.random() < 0.4,
                ))  # fmt: skip
        for name in ("news", "posts"):
            writer.watermark(name, t)
    return log


def digests(log: MemoryLog, tasks: list[SimTask]) -> dict[str, str]:
    found = {name: of_messages(name, log.messages(name)).hexdigest() for name in OUTPUTS}
    for spec in STAGES.market:
        mine = [task for task in tasks if task.spec == spec]
        found[f"{spec.name} state"] = of_state({k: v for task in mine for k, v in task.disk.items()})
    return found


def run(log: MemoryLog) -> list[SimTask]:
    tasks = market_tasks(STAGES, log, CONFIG, xnys())
    drain(tasks)
    return tasks


@cache
def clean() -> tuple[MemoryLog, dict[str, str]]:
    log = log_of()
    tasks = run(log)
    return log, digests(log, tasks)


def bodies(log: MemoryLog, name: str) -> list[dict[str, object]]:
    schema = "links" if name == "post_links" else name
    return [decode(schema, message.value) for message in log.messages(name) if message.value is not None]


def source(log: MemoryLog) -> MemorySource:
    return MemorySource(log.layout, (m for each in CATALOGUE for m in log.messages(each.name)), size=97)


def test_the_day_has_what_the_stages_must_tell_apart() -> None:
    log, _ = clean()
    links, posts, stories = bodies(log, "links"), bodies(log, "post_links"), bodies(log, "stories")
    assert len(links) == len(stories) > 200
    assert {each["folded"] for each in links} == {True, False}
    assert {each["list_post"] for each in links} == {True, False}
    assert any(each["dropped"] for each in links) and any(each["dropped"] for each in posts)
    assert {each["event_id"] for each in links}.isdisjoint({each["event_id"] for each in stories})
    assert any(each["folded"] and each["likeness"] is None for each in stories), "a story too old to compare"
    ids = [each["event_id"] for each in (*links, *posts, *stories)]
    assert len(ids) == len(set(ids))


def test_every_output_has_the_watermarks_of_its_source() -> None:
    def labels(name: str) -> list[int | None]:
        found = (label_of(m.key, m.value, m.headers) for m in clean()[0].messages(name))
        return [label for label in found if label is not None]

    assert labels("links") == labels("stories") == labels("news") and len(labels("news")) > 100
    assert labels("post_links") == labels("posts")


def test_rebuild_gives_what_the_sim_left() -> None:
    log, expected = clean()
    found: dict[str, str] = {}
    for spec in STAGES.market:
        rebuilt = rebuild_stage(spec, source(log), CONFIG, xnys()).digests()
        found |= {name if name in spec.outputs else f"{spec.name} state": d for name, d in rebuilt.items()}
    assert found == expected


def test_crashes_and_redelivery_leave_the_same() -> None:
    crashes = redelivered = 0
    for seed in SEEDS:
        log = log_of()
        tasks = market_tasks(STAGES, log, CONFIG, xnys())
        faults = run_schedule(tasks, seed, crash_share=0.2)
        crashes, redelivered = crashes + faults.crashes, redelivered + faults.redelivered
        drain(tasks)
        assert digests(log, tasks) == clean()[1], seed
    assert crashes > len(SEEDS) and redelivered > 0


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_record_is_computed_again_from_what_it_names(name: str) -> None:
    log = clean()[0]
    found = bodies(log, name)
    chosen = found[:: len(found) // 25]
    if name != "post_links":
        kept = {each["event_uid"] for each in bodies(log, "stories") if each["folded"]} - {
            each["event_uid"] for each in bodies(log, "stories") if each["likeness"] is not None
        }
        chosen += [each for each in found if each["event_uid"] in kept][:2]
        chosen += [each for each in found if len(each["inputs"]) == 3][:6]  # type: ignore[arg-type]
    for body in chosen:
        explained = explain_from(STAGES, MemorySource(Layout(), recorded(log)), CONFIG, str(body["event_id"]))
        assert {check.verdict for check in explained.checks.values()} == {Verdict.SAME}, explained.text()


def test_explain_shows_the_articles_and_what_changed() -> None:
    log = clean()[0]
    folded = next(each for each in bodies(log, "links") if each["folded"] and each["dropped"])
    told = explain_from(STAGES, MemorySource(Layout(), recorded(log)), CONFIG, str(folded["event_id"])).text()
    assert "folded into an earlier story; no longer " in told
    assert f"url: https://example.com/{folded['native_id']}" in told


def test_the_funnel_adds_up() -> None:
    recording = recording_of(STAGES, Layout(), [recorded(clean()[0])])
    lines = {line.stage: line for line in funnel(STAGES, recording, CONFIG, xnys())}
    for line in lines.values():
        assert line.balanced, line
    assert lines["stories"].given > 50 and lines["post_links"].given > 50
    common = {"DUPLICATE", "SUPERSEDED", "NO_SYMBOL"}
    assert lines["stories"].reasons.keys() == {*common, "LIST_POST", "FOLDED"}
    assert lines["post_links"].reasons.keys() == {*common, "REMOVED"}


def test_an_item_that_cannot_be_linked_goes_to_dead_letters_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = items.link

    def failing(text: str, **options: object) -> object:
        if POISON in text:
            raise ValueError(POISON)
        return link(text, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(items, "link", failing)
    log = MemoryLog(Layout())
    writer = log.writer()
    for name, made in (("news", article), ("posts", post)):
        writer.watermark(name, T0 - MINUTE_US)
        for number, text in enumerate(("Nvidia rallies", POISON, "$AMD rallies")):
            writer.send(name, made(f"n{number}", text))
        writer.watermark(name, T0)
    run(log)
    letters = {m.key.decode(): m for m in log.messages("dead_letters") if m.key is not None}
    assert letters.keys() == {"news", "posts"}
    assert len(bodies(log, "links")) == len(bodies(log, "post_links")) == 2
    for spec in STAGES.market:
        dead = letters[spec.trigger]
        # the sim keeps the bytes alone; a worker's letter says whose it is and why
        error = DeadLetter(POISON, reason="STAGE_ERROR")
        log.append(dead_letter(log.layout, dead._replace(topic=spec.trigger), spec.name, error))
    recording = recording_of(STAGES, Layout(), [list(log.messages("dead_letters")), recorded(log)])
    for line in funnel(STAGES, recording, CONFIG, xnys()):
        assert line.balanced and line.reasons.get("STAGE_ERROR", 0) == (line.stage in STAGES.names), line
