"""Checks of what the pipeline stands on: broker, certificates, clocks, disk, topics, database, exchange."""

from collections.abc import Iterator

from tapedeck.connectors.kafka.admin import Kind, compare
from tapedeck.streams.config.accounts import EMBEDDED
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.tape.doctor.check import Check, amber, clock, green, idle, lasting, red, some, unknown
from tapedeck.tape.doctor.findings import Finding
from tapedeck.tape.doctor.snapshot import BESIDE, Beat, Section, Snapshot

SKEW_US = 2 * SECOND_US
"""Clocks that differ by more spoil ages and leases: amber, and red from five times as much on."""
_RED_SKEW = 5
_UNDERWAY_US = 3 * SECOND_US
"""How long a heartbeat may be on its way."""
RENEW_US = 14 * 24 * 60 * MINUTE_US
"""A certificate that expires sooner is amber."""
_MIB = 1 << 20


def _broker(snap: Snapshot) -> Iterator[Finding]:
    if (fault := snap.unread.get(Section.BROKER)) is not None:
        yield red(fault.what, remedy=fault.remedy or "check KAFKA_BOOTSTRAP_SERVERS")
    elif snap.broker is None:
        yield unknown("nobody asked the broker")
    else:
        yield green(f"{snap.broker.address} answers")


def _identity(snap: Snapshot) -> Iterator[Finding]:
    seen = snap.broker
    if seen is None:
        yield unknown("the cluster's id is not known", follows=True)
    elif seen.expected_id and seen.cluster_id != seen.expected_id:
        yield red(
            f"another cluster answers at {seen.address}: its id is {seen.cluster_id}, expected is "
            f"{seen.expected_id}",
            remedy="stop the other broker, or correct KAFKA_BOOTSTRAP_SERVERS or KAFKA_CLUSTER_ID",
        )
    else:
        yield green(f"the cluster's id is {seen.cluster_id}")


def _certificates(snap: Snapshot) -> Iterator[Finding]:
    if not snap.certificates:
        yield idle("no certificate file is named")
    for each in snap.certificates:
        if each.expires is None:
            yield red(f"{each.path}, named by {each.setting}, cannot be read", remedy="name a PEM file")
        elif each.expires <= snap.now:
            ago = lasting(snap.now - each.expires)
            yield red(
                f"the certificate {each.path} of {each.setting} expired {ago} ago",
                since=each.expires,
                remedy=f"renew {each.path}, then restart what uses it",
            )
        elif each.expires - snap.now < RENEW_US:
            left = lasting(each.expires - snap.now)
            yield amber(
                f"the certificate {each.path} of {each.setting} expires in {left}",
                remedy=f"renew {each.path}",
            )
        else:
            yield green(f"{each.path} is valid until {clock(each.expires)}")


def _clocks(snap: Snapshot) -> Iterator[Finding]:
    clocks: dict[str, int] = {}
    for each in snap.beats:
        skew = _ahead(snap, each)
        clocks[each.stage] = max(skew, clocks.get(each.stage, 0), key=abs)
    if snap.store is not None and snap.store.clock is not None:
        clocks["Postgres"] = snap.store.clock
    wrong = {name: skew for name, skew in clocks.items() if abs(skew) > SKEW_US}
    for name, skew in sorted(wrong.items(), key=lambda pair: -abs(pair[1])):
        way = "ahead of" if skew > 0 else "behind"
        told = red if abs(skew) > _RED_SKEW * SKEW_US else amber
        yield told(
            f"the clock of {name} is {abs(skew) / SECOND_US:.1f} s {way} this machine's",
            stage=name,
            remedy="chronyc tracking, on both machines: one of them is not synchronized",
        )
    if not wrong:
        yield green(f"no clock is seen to differ by more than {SKEW_US // SECOND_US} s")


def _ahead(snap: Snapshot, beat: Beat) -> int:
    """How far a process's clock is ahead for certain, negative behind: only a beat that came while the doctor
    looked tells that it is behind, since one that is old may be of a silent process."""
    if beat.moved and beat.looked is not None:
        first, second = beat.looked
        return max(0, beat.at - second) + min(0, beat.at - first + _UNDERWAY_US)
    return max(0, beat.at - snap.now)


def _disk(snap: Snapshot) -> Iterator[Finding]:
    seen = snap.disk
    if seen is None:
        yield idle("the servers' disks are not this machine's to look at")
        return
    left = f"{seen.free // _MIB} MiB are free on the disk of {seen.place}"
    remedy = "tape status shows what uses it; free some space, or move the folder after `tape down`"
    if seen.free < seen.least:
        yield red(f"the disk is full: {left}", remedy=remedy)
    elif seen.free < seen.low:
        yield amber(f"the disk is nearly full: {left}", remedy=remedy)
    else:
        yield green(left)


def _data(snap: Snapshot) -> Iterator[Finding]:
    seen = snap.data
    if seen is None:
        yield idle("no data folder of a local broker is known")
    elif not seen.wrote:
        yield green(f"{seen.place} is from before versions were recorded")
    elif seen.wrote != seen.runs:
        yield red(
            f"{seen.place} was written by Kafka {seen.wrote}, and this release runs Kafka {seen.runs}: the "
            "next start is refused",
            stage="kafka",
            remedy="run the release that wrote it, or `tape record` what you need there and start another "
            "stack with --name",
        )
    else:
        yield green(f"{seen.place} was written by Kafka {seen.wrote}, as this release runs")


def _topics(snap: Snapshot) -> Iterator[Finding]:
    differences = compare(snap.topics, snap.layout)
    for each in differences:
        told = amber if each.kind in (Kind.CONFIG, Kind.UNEXPECTED) else red
        yield told(
            f"topic {each.topic}: {each.what} is {each.found}, expected {each.expected}", remedy=each.remedy
        )
    if not differences:
        yield green(f"{len(snap.topics)} topics are as the catalogue says")


def _store(snap: Snapshot) -> Iterator[Finding]:
    if not snap.store_named:
        yield idle("DATABASE_URL is not set, so the audit store is not looked at")
        return
    if (fault := snap.unread.get(Section.STORE)) is not None:
        yield red(fault.what, stage="sink", remedy=fault.remedy or "check DATABASE_URL and the server")
        return
    seen = snap.store
    if seen is None:
        yield unknown("nobody asked Postgres")
        return
    if seen.revision != seen.head:
        newer = seen.revision is not None and seen.head is not None and seen.revision > seen.head
        yield red(
            f"the audit store is at revision {seen.revision}, this release needs {seen.head}",
            stage="sink",
            remedy="upgrade this release" if newer else "tape migrate",
        )
    for name in seen.other_logs:
        yield red(
            f"topic {name} was made anew: Postgres has read the one before",
            stage="sink",
            remedy=f"tape sink --adopt {name}, once, then the sink",
        )
    if seen.revision == seen.head and not seen.other_logs:
        yield green(f"Postgres answers, its tables are at revision {seen.revision}")


def _exchange(snap: Snapshot) -> Iterator[Finding]:
    accounts = snap.config.accounts if snap.config else ()
    ours = [each.account_id for each in accounts if each.base_url == EMBEDDED]
    if not ours:
        yield idle("no account trades at the paper exchange")
    elif snap.exchange is None:
        yield red(
            f"no address of the paper exchange is known, and {some(ours)} trade there",
            stage="exchange",
            remedy="set TAPE_EXCHANGE_URL",
        )
    elif snap.exchange.address == BESIDE:
        yield idle("each dispatcher has a paper exchange beside it, and is not ready without")
    elif snap.exchange.fault:
        yield red(
            f"the paper exchange at {snap.exchange.address} does not answer: {snap.exchange.fault}",
            stage="exchange",
            remedy="tape logs exchange, then `tape exchange`",
        )
    else:
        yield green(f"the paper exchange at {snap.exchange.address} answers")


BROKER = Check(
    name="broker",
    rule="a broker answers and lets this login in; otherwise red, and everything read from it is unknown",
    steps=(
        "`tape doctor` names the step that failed: address, TLS, login or silence",
        "look at the broker's process and log, or at the credentials that the message names",
        "start the broker or correct the setting; the processes reconnect by themselves",
    ),
    look=_broker,
)
CERTIFICATES = Check(
    name="certificates",
    rule="every certificate file that a setting names is valid for 14 days or more; amber below, red expired",
    steps=(
        "`openssl x509 -enddate -noout -in FILE` for the file in the message",
        "have it renewed, and replace the file under the same name",
        "restart the processes that use it, one after the other",
    ),
    look=_certificates,
)
IDENTITY = Check(
    name="cluster",
    rule="the cluster that answers has the id that is expected; another is red",
    steps=(
        "`tape config where` shows which broker is named, and by what",
        "stop the other broker, or correct the address",
        "correct KAFKA_CLUSTER_ID only if the cluster was replaced on purpose",
    ),
    look=_identity,
    needs=(Section.BROKER,),
)
CLOCKS = Check(
    name="clocks",
    rule="clocks of processes and of Postgres within 2 s of this machine's; amber up to 10 s, red above",
    steps=(
        "`chronyc tracking` or `timedatectl` on the machine in the message, and on this one",
        "start the time service where it is not synchronized",
        "run `tape doctor --check clocks` again; ages of heartbeats are right only then",
    ),
    look=_clocks,
    needs=(Section.BEATS,),
)
DISK = Check(
    name="disk",
    rule="2 GiB or more free on a local stack's disk; amber below, red under 256 MiB",
    steps=(
        "`tape status` shows what Kafka, Postgres, state and logs take",
        "free some space on that disk",
        "or `tape down`, move the folder to a larger disk, and `tape up` there",
    ),
    look=_disk,
)
DATA = Check(
    name="data",
    rule="a local stack's data folder was written by the Kafka version of this release; another is red",
    steps=(
        "`tape --version`, and see which release the stack was started with",
        "run that release, or upgrade as docs/upgrade.md describes",
        "or `tape record` what you need with it, and start another stack with --name",
    ),
    look=_data,
)
TOPICS = Check(
    name="topics",
    rule="every topic of the catalogue exists with its partitions; missing or other partitions are red, "
    "other settings amber",
    steps=(
        "`tape topics` lists each difference and what mends it",
        "`tape topics --create` creates missing ones",
        "a number of partitions is never changed in place: use another prefix, or `tape topics --recreate`",
    ),
    look=_topics,
    needs=(Section.BROKER, Section.TOPICS),
)
STORE = Check(
    name="store",
    rule="Postgres answers, its tables are at this release's revision, and its offsets are of today's "
    "topics; otherwise red",
    steps=(
        "`psql \"$DATABASE_URL\" -c 'select 1'` from the machine of the sink",
        "`tape migrate` for an old revision, `tape sink --adopt TOPIC` for a topic that was made anew",
        "start the server if it is down: the sink waits and continues by itself",
    ),
    look=_store,
)
EXCHANGE = Check(
    name="exchange",
    rule="the paper exchange answers where an account trades at it; otherwise red",
    steps=(
        "`tape logs exchange` on a local stack, otherwise the log of its process",
        "check TAPE_EXCHANGE_URL with `tape config where`",
        "start `tape exchange`; it continues from its saved accounts and orders",
    ),
    look=_exchange,
)
