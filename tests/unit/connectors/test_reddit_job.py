"""The incremental job over a small Reddit: what it reads, keeps and survives."""

import json
import stat

import pytest

from tapedeck.connectors.dispatch.lease import Lease, LeaseHeld, LeaseShort, MemoryLeases
from tapedeck.connectors.news.items import IngestReason
from tapedeck.connectors.reddit import run, saved
from tapedeck.connectors.reddit.job import NAME
from tapedeck.connectors.reddit.lease import FileLease
from tapedeck.connectors.reddit.saved import load
from tapedeck.connectors.reddit.sink import LogSink
from tapedeck.connectors.reddit.states import RedditState
from tapedeck.streams.config.text_groups import Reddit
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.topics.catalogue import Layout
from tests.support.reddit import (
    NOW,
    TALK,
    Crash,
    Free,
    Hours,
    SmallReddit,
    Written,
    comment,
    job,
    listing,
    post,
    private,
    reddit_with,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "reddit.json"


@pytest.fixture
def hours():
    return Hours()


@pytest.fixture
def sink():
    return Written()


def test_a_run_writes_the_thread_its_comments_and_the_top_posts_and_nothing_else(path, hours, sink):
    report = job(reddit_with(), sink, path, hours).run()
    assert [body["native_id"] for body in sink.bodies] == [TALK, "t3_best", "t1_c0", "t1_c1", "t1_c2"]
    assert report.state is RedditState.OK and report.counts[IngestReason.ACCEPTED] == 5
    assert report.subreddits == {"wallstreetbets": (RedditState.OK, "")} and not report.caps
    assert report.next_due == NOW + 15 * MINUTE_US == job(reddit_with(), sink, path, hours).due_at()


@pytest.mark.parametrize("title", ["DAILY  discussion", "Weekend Discussion", "Your Moves Tomorrow?"])
def test_a_discussion_is_known_by_its_title_in_hot_and_in_top(title, path, hours, sink):
    reddit = SmallReddit()
    reddit.put(post("hot", title), hot=True)
    reddit.put(post("top", title), top=True)
    job(reddit, sink, path, hours).run()
    assert {"comments/hot", "comments/top"} <= set(reddit.paths())


def test_the_lists_are_as_long_as_the_parameters_say(path, hours, sink):
    reddit = SmallReddit()
    reddit.put(*(post(f"h{n}", "Daily discussion") for n in range(30)), hot=True)
    reddit.put(*(post(f"p{n}", "Daily discussion") for n in range(120)), top=True)
    job(reddit, sink, path, hours).run()
    assert {path: params.get("limit") for path, params in reddit.asked[:2]} == {
        "r/wallstreetbets/hot": 20,
        "r/wallstreetbets/top": 100,
    }
    assert reddit.asked[1][1]["t"] == "day"
    visited = [path for path in reddit.paths() if path.startswith("comments/")]
    assert len(visited) == len(set(visited)) == 40
    assert len({body["native_id"] for body in sink.bodies}) == 120


def test_an_unchanged_row_is_no_new_version_and_an_old_one_is_not_left_out(path, hours, sink):
    reddit = reddit_with()
    job(reddit, sink, path, hours).run()
    hours.pass_minutes(15)
    # Older than everything seen so far: it is new all the same, for its id is.
    reddit.put(comment("late", "talk", created_utc=NOW / SECOND_US - 40 * 3600))
    report = job(reddit, sink, path, hours).run()
    assert report.counts == {IngestReason.ACCEPTED: 1, IngestReason.UNCHANGED: 6}
    assert [body["native_id"] for body in sink.bodies[5:]] == ["t1_late"]


def test_other_votes_are_a_new_version_with_the_event_time_of_the_first(path, hours, sink):
    reddit = reddit_with()
    job(reddit, sink, path, hours).run()
    hours.pass_minutes(15)
    reddit.change("t1_c1", score=99, created_utc=None)
    job(reddit, sink, path, hours).run()
    first, second = sink.of("t1_c1")
    assert second["upvotes"] == 99 and second["updated_at"] > first["updated_at"]
    assert second["event_time"] == first["event_time"] and second["event_id"] != first["event_id"]
    assert not second["time_inferred"]


def test_versions_rise_when_the_clock_is_set_back(path, sink):
    reddit = reddit_with()
    job(reddit, sink, path, Hours()).run()
    reddit.change("t1_c1", score=99)
    job(reddit, sink, path, Hours(NOW - 3600 * SECOND_US)).run()
    first, second = sink.of("t1_c1")
    assert second["updated_at"] == first["updated_at"] + 1


@pytest.mark.parametrize("how", ["marked", "gone from the page", "gone from everywhere"])
def test_a_deletion_erases(how, path, hours, sink):
    reddit = reddit_with()
    job(reddit, sink, path, hours).run()
    hours.pass_minutes(15)
    if how == "marked":
        reddit.change("t1_c1", body="[deleted]", author=None)
    elif how == "gone from the page":
        reddit.change("t1_c1", body="[removed]", author="[deleted]")
        reddit.comments[TALK].remove("t1_c1")
    else:
        reddit.hide("t1_c1")
    job(reddit, sink, path, hours).run()
    first, second = sink.of("t1_c1")
    assert first["text"] == "comment 1" and not first["removed"]
    assert second["removed"] and second["text"] == "" and second["author_hash"] is None
    assert second["event_time"] == first["event_time"]
    assert "comment 1" not in path.read_text()
    hours.pass_minutes(15)
    job(reddit, sink, path, hours).run()
    assert len(sink.of("t1_c1")) == 2, "it is removed once"


def test_a_top_post_that_fell_out_of_the_list_is_asked_for_by_name_for_48_hours(path, hours, sink):
    reddit = reddit_with()
    job(reddit, sink, path, hours).run()
    reddit.top.remove("t3_best")
    reddit.change("t3_best", removed_by_category="moderator")
    hours.pass_minutes(15)
    job(reddit, sink, path, hours).run()
    assert [body["removed"] for body in sink.of("t3_best")] == [False, True]
    assert ("api/info", {"id": "t3_best"}) in reddit.asked


def test_an_answer_that_knows_none_of_many_names_deletes_nothing(path, hours, sink):
    reddit = reddit_with()
    job(reddit, sink, path, hours).run()
    hours.pass_minutes(15)
    reddit.comments[TALK].clear()
    reddit.always["api/info"] = (200, {}, b'{"kind": "Listing", "data": {"children": []}}')
    report = job(reddit, sink, path, hours).run()
    assert report.counts[IngestReason.FETCH_FAILED] == 1 and not any(b["removed"] for b in sink.bodies)


def test_a_thread_is_visited_for_48_hours_after_it_left_the_lists(path, hours, sink):
    reddit = reddit_with()
    job(reddit, sink, path, hours).run()
    reddit.hot.clear()
    for minutes, visits in ((47 * 60, 2), (2 * 60, 2)):
        hours.pass_minutes(minutes)
        job(reddit, sink, path, hours).run()
        assert reddit.paths().count("comments/talk") == visits
    assert not load(path).threads


def test_what_was_not_seen_for_long_is_forgotten(path, hours, sink):
    reddit = reddit_with()
    job(reddit, sink, path, hours).run()
    for name in (*reddit.hot, *reddit.top):
        reddit.rows.pop(name)
    reddit.hot.clear(), reddit.top.clear()
    hours.pass_minutes(97 * 60)
    job(reddit, sink, path, hours).run()
    assert not load(path).known


def test_collapsed_comments_are_asked_for_by_hundreds(path, hours, sink):
    reddit = reddit_with(250, shown=10)
    report = job(reddit, sink, path, hours).run()
    assert reddit.paths().count("api/morechildren") == 3 and not report.caps
    assert len([body for body in sink.bodies if body["kind"] == "COMMENT"]) == 250


def test_a_branch_without_ids_is_asked_for_by_its_parent(path, hours, sink):
    reddit = reddit_with(1)
    deep = {"kind": "more", "data": {"count": 0, "id": "_", "parent_id": "t1_c0", "children": []}}
    reddit.change("t1_c0", replies=listing([deep]))
    inner = comment("deep", "talk", parent_id="t1_c0")
    answer = [
        {"kind": "Listing", "data": {"children": []}},
        {"kind": "Listing", "data": {"children": [inner]}},
    ]
    reddit.faults.append(("comments/talk/_/c0", (200, {}, json.dumps(answer).encode())))
    job(reddit, sink, path, hours).run()
    assert len(sink.of("t1_deep")) == 1


def test_one_bad_row_is_one_dead_letter_and_the_others_are_written(path, hours, sink):
    reddit = reddit_with()
    reddit.change("t1_c1", body=17)
    for _ in range(3):
        report = job(reddit, sink, path, hours).run()
        assert report.counts[IngestReason.BAD_ITEM] == 1
        hours.pass_minutes(15)
    (letter,) = sink.letters
    assert letter.name == "t1_c1" and "body is no text" in letter.what
    assert json.loads(letter.raw)["data"]["body"] == 17 and "somebody" not in letter.raw
    assert {"t1_c0", "t1_c2"} <= {body["native_id"] for body in sink.bodies}


def test_rows_of_any_shape_stop_nothing(path, hours, sink):
    reddit = reddit_with()
    junk = [
        None,
        1,
        "x",
        [],
        {},
        {"kind": "t1"},
        {"kind": "t3", "data": 5},
        {"kind": "t9", "data": {"id": "z"}},
    ]
    for n, row in enumerate(junk):
        reddit.rows[f"junk{n}"] = row
        reddit.hot.append(f"junk{n}"), reddit.top.append(f"junk{n}")
        reddit.comments[TALK].append(f"junk{n}")
    job(reddit, sink, path, hours).run()
    assert len(sink.bodies) == 5 and {letter.raw for letter in sink.letters} == {
        json.dumps(row, sort_keys=True) for row in junk
    }


@pytest.mark.parametrize("crash_at", [1, 2])
def test_a_run_after_a_crash_repeats_the_same_records_and_adds_none(crash_at, path, hours):
    reddit = reddit_with()
    crashed = Written(crash_at=crash_at)
    with pytest.raises(Crash):
        job(reddit, crashed, path, hours).run()
    assert crashed.bodies and load(path).bodies
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    hours.pass_minutes(15)
    after = Written()
    job(reddit, after, path, hours).run()
    assert not load(path).bodies
    by_id = {}
    for body in (*crashed.bodies, *after.bodies):
        assert by_id.setdefault(body["event_id"], body) == body
    assert sorted(body["native_id"] for body in by_id.values()) == sorted(
        [TALK, "t3_best", "t1_c0", "t1_c1", "t1_c2"]
    )


def test_a_damaged_state_is_put_aside_and_said(path, hours, sink, caplog):
    path.parent.mkdir()
    for content in ("{", "[]", '{"version": 9}', '{"version": 1, "next_due": true}'):
        path.write_text(content)
        assert not load(path).known and "damaged" in caplog.text
        assert path.with_suffix(".json.damaged").read_text() == content
    assert job(reddit_with(), sink, path, hours).run().state is RedditState.OK


def test_a_second_run_at_the_same_time_is_refused_by_the_lock_on_the_file(path, hours, sink, tmp_path):
    one, two = (FileLease(tmp_path / "lock", NAME) for _ in range(2))
    one.acquire()
    reddit = reddit_with()
    with pytest.raises(LeaseHeld, match=r"reddit\.incremental is running"):
        job(reddit, sink, path, hours, lease=two).run()
    assert not reddit.asked
    one.release()
    assert job(reddit, sink, path, hours, lease=two).run().state is RedditState.OK
    one.acquire()


def test_a_lease_of_the_store_keeps_a_second_machine_out(path, hours, sink):
    store = MemoryLeases(hours.monotonic)
    one, two = (Lease(store, NAME, name, ttl_s=720, monotonic=hours.monotonic) for name in "ab")
    one.acquire()
    with pytest.raises(LeaseHeld):
        job(reddit_with(), sink, path, hours, lease=two).run()
    hours.pass_minutes(13)
    assert job(reddit_with(), sink, path, hours, lease=two).run().state is RedditState.OK


def test_a_lease_that_is_lost_in_the_middle_stops_the_requests(path, hours, sink):
    reddit = reddit_with()
    lease = Free()

    def check():
        if len(reddit.asked) == 2:
            raise LeaseShort("no time left", remedy="renew it")

    lease.check = check
    with pytest.raises(LeaseShort):
        job(reddit, sink, path, hours, lease=lease).run()
    assert len(reddit.asked) == 2 and len(sink.bodies) == 2 and not lease.held


def test_what_is_remembered_is_bounded(path, hours, sink, monkeypatch):
    monkeypatch.setattr(saved, "KNOWN_LIMIT", 10)
    monkeypatch.setattr(saved, "BAD_LIMIT", 3)
    monkeypatch.setattr(run, "THREADS_LIMIT", 2)
    reddit = reddit_with(20)
    reddit.put(*(post(f"d{n}", "Daily discussion") for n in range(5)), hot=True)
    reddit.put(*(comment(f"bad{n}", "talk", body=n) for n in range(9)))
    job(reddit, sink, path, hours).run()
    found = load(path)
    assert (len(found.known), len(found.bad), len(found.threads)) == (10, 3, 2)


def test_the_daily_status_says_what_came_per_subreddit(path, hours, sink):
    reddit = reddit_with(30, shown=20, always={"r/closed": private()})
    config = Reddit(subreddits=("wallstreetbets", "closed"), max_comments_per_thread=12)
    job(reddit, sink, path, hours, config).run()
    hours.pass_minutes(15)
    reddit.change("t1_c1", score=99)
    reddit.change("t1_c2", body="[removed]")
    reddit.change("t1_c3", body=17)
    job(reddit, sink, path, hours, config).run()
    lines = load(path).status.lines(hours.now())
    assert lines == [
        "closed: 0 threads; items: 0 new, 0 updated, 0 removed, 0 bad; left out: none;"
        " errors: SUBREDDIT_PRIVATE 2; no item",
        "wallstreetbets: 1 threads; items: 14 new, 1 updated, 1 removed, 1 bad;"
        " left out: max_comments_per_thread 36; errors: none; newest item 45 min old",
    ]
    assert load(path).status.document() == json.loads(path.read_text())["status"]


def test_the_status_keeps_a_week_of_new_yorks_days(path, hours, sink):
    for _ in range(9):
        job(reddit_with(), sink, path, hours).run()
        hours.pass_minutes(24 * 60)
    assert len(load(path).status.document()) == 7


def test_the_log_has_the_versions_and_the_dead_letters(path, hours):
    sent, wires = [], []

    class Log:
        def send(self, name, body, headers=None):
            sent.append((name, body["native_id"]))

        def write(self, these):
            wires.extend(these)

        def flush(self):
            sent.append("flush")

    reddit = reddit_with()
    reddit.change("t1_c1", body=17)
    job(reddit, LogSink(Log(), Layout(), hours), path, hours).run()
    names = (TALK, "t3_best", "t1_c0", "t1_c2")
    assert [each for each in sent if each != "flush"] == [("posts", name) for name in names]
    assert sent.count("flush") == 3, "two batches of versions, one of letters"
    (wire,) = wires
    headers = dict(wire.headers)
    assert (wire.topic, wire.key) == ("dead_letters", b"posts") and b"17" in wire.value
    assert headers["tape-error-reason"] == b"BAD_ITEM" and headers["tape-error-key"] == b"t1_c1"
    assert headers["__connect.errors.connector.name"] == b"ingest-posts"
