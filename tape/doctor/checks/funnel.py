"""The funnel of the newest minutes: what a stage took is what it gave and what it has reasons for."""

from collections.abc import Iterator

from tapedeck.tape.doctor.check import Check, clock, green, idle, red
from tapedeck.tape.doctor.checks.flow import closed
from tapedeck.tape.doctor.findings import Finding
from tapedeck.tape.doctor.snapshot import Feed, Section, Snapshot


def _funnel(snap: Snapshot) -> Iterator[Finding]:
    taken = 0
    for seen in snap.funnel:
        for line in seen.lines:
            taken += line.taken
            if line.balanced:
                continue
            minutes = f"of the minutes to {clock(seen.last)}"
            what = (
                f"{line.unexplained} of {line.taken} {line.unit}s {minutes} gave nothing and have no reason"
                if line.unexplained > 0
                else f"{-line.unexplained} more came out than {line.taken} {line.unit}s {minutes} explain"
            )
            yield red(
                f"{line.name} does not add up: {what}",
                since=seen.first,
                stage=seen.stage,
                remedy=f"tape digest --rebuild; the log of {seen.stage}",
            )
    if taken:
        yield green(f"the newest {taken} records that stages took have a result or a reason")
    else:
        yield idle("no tape was played lately" if snap.feed is Feed.TAPE else closed(snap))


FUNNEL = Check(
    name="funnel",
    rule="over the last five minutes that a stage has ended, in = out + reasons; otherwise red",
    steps=(
        "`tape digest --rebuild` recomputes the stage and says what differs",
        "`tape explain` of a record that the stage took and that has no result",
        "keep the topics as evidence, then restart the stage: records vanished, or came from nowhere",
    ),
    look=_funnel,
    needs=(Section.BROKER, Section.FUNNEL),
)
