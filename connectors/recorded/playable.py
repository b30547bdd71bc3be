"""A recorded tape in playable form: its window minute by minute, everything before it as warm-up."""

from collections.abc import Iterator
from datetime import date, datetime

from tapedeck.connectors.recorded.format import RecordedTape
from tapedeck.connectors.recorded.window import SOURCES, slices
from tapedeck.connectors.tapes.made import QUOTES_MADE, chain_notes, made_quotes, market_over
from tapedeck.connectors.tapes.market import StockQuote
from tapedeck.connectors.tapes.tape import Body, Minute, Tape, universe_body, with_texts
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import Calendar, day_number, iso_date, micros
from tapedeck.topics.catalogue import WATERMARK_KEY


def playable(tape: RecordedTape, calendar: Calendar, session: date | None = None) -> Tape:
    """One session of ``tape``. Records that cannot be decoded are left out and counted in a note.

    Raises Fatal for a ``session`` outside its window; without one, for a window that covers several sessions
    or none.
    """
    day = _chosen(tape, calendar, session)
    start, end = _part_of(tape, calendar, day)
    gathered = _Gathered(tape, start, end, day, calendar)
    feed, origin = tape.config.bars.feed, ", ".join(tape.manifest.origins)
    arrivals = [(label, bar) for label, bars in gathered.bars.items() for bar in bars]
    stocks = _stock_quotes(quote for quotes in gathered.quotes.values() for quote in quotes)
    quote_origin = gathered.quote_origin if stocks else QUOTES_MADE
    quotes = stocks or made_quotes(arrivals, feed)
    bars = gathered.history or [bar for _, bar in arrivals]
    notes = [f"recorded {tape.manifest.start} to {tape.manifest.end}: {tape.manifest.note or 'no note'}"]
    if gathered.unreadable:
        notes.append(f"{gathered.unreadable} records that cannot be decoded are left out")
    return Tape(
        name=f"{tape.manifest.name}, session of {iso_date(day)}",
        origin=origin,
        session=day,
        feed=feed,
        universe=gathered.universe
        or universe_body(tape.manifest.symbols, source="MANUAL", created_at=start - MINUTE_US, origin=origin),
        history=tuple(gathered.history),
        minutes=with_texts(
            tuple(
                Minute(label, tuple(gathered.bars.get(label, ())), tuple(gathered.quotes.get(label, ())))
                for label in range(start, end, MINUTE_US)
            ),
            (text for text in gathered.texts if text[0] >= start),
        ),
        market=market_over(quotes, bars, day, calendar, quote_origin),
        notes=(*notes, *chain_notes(bars), *(f"made of {each}" for each in tape.manifest.origins)),
    )


class _Gathered:
    """The records of a tape by the minute in which they arrived; older ones are history."""

    def __init__(self, tape: RecordedTape, start: int, end: int, day: int, calendar: Calendar) -> None:
        self.bars: dict[int, list[Body]] = {}
        self.quotes: dict[int, list[Body]] = {}
        self.texts: list[tuple[int, str, Body]] = []
        self.history: list[Body] = []
        self.universe: Body | None = None
        self.quote_origin = ""
        self.unreadable = 0
        for each in slices(tape.source(), ("news", "posts", *SOURCES), 0, end):
            for message, body in self._decoded(each.messages):
                if message.topic == "universe":
                    self.universe = body if each.label <= start or self.universe is None else self.universe
                elif message.topic in ("news", "posts"):
                    self.texts.append((each.label, message.topic, body))
                elif message.topic == "quotes":
                    self.quotes.setdefault(each.label, []).append(body)
                    self.quote_origin = body["origin"]
                elif each.label < start or calendar.session_date(body["t"]) < day:
                    self.history.append(body)
                else:
                    self.bars.setdefault(each.label, []).append(body)

    def _decoded(self, messages: tuple[Message, ...]) -> Iterator[tuple[Message, Body]]:
        for message in messages:
            if message.key == WATERMARK_KEY:
                continue
            try:
                yield message, decode(message.topic, message.value)
            except DeadLetter:
                self.unreadable += 1


def sessions_of(start: int, end: int, calendar: Calendar) -> list[int]:
    """The dates of the sessions within [start, end)."""
    first, last = calendar.session_date(start), calendar.session_date(end - MINUTE_US)
    return [session.date for session in calendar.between(first, last)]


def sessions_in(tape: RecordedTape, calendar: Calendar) -> list[int]:
    """The dates of the sessions in the window of ``tape``."""
    return sessions_of(*_window(tape), calendar)


def _window(tape: RecordedTape) -> tuple[int, int]:
    start, end = (micros(datetime.fromisoformat(text)) for text in (tape.manifest.start, tape.manifest.end))
    return start, end


def _chosen(tape: RecordedTape, calendar: Calendar, session: date | None) -> int:
    days = sessions_in(tape, calendar)
    listed = ", ".join(str(iso_date(day)) for day in days) or "none"
    if session is not None:
        if day_number(session) not in days:
            remedy = f"sessions on the tape: {listed}"
            raise Fatal("the recorded tape has no such session", value=str(session), remedy=remedy)
        return day_number(session)
    if len(days) != 1:
        remedy = "name one with --session, or several with --sessions"
        raise Fatal("a paper exchange serves the market of one session", value=listed, remedy=remedy)
    return days[0]


def _part_of(tape: RecordedTape, calendar: Calendar, day: int) -> tuple[int, int]:
    """The minutes of the window on this date, [start, end): all of it if it has no other date."""
    start, end = _window(tape)
    dates = calendar.session_date(start), calendar.session_date(end - MINUTE_US)
    if dates == (day, day):
        return start, end
    found = slices(tape.source(), SOURCES, start, end)
    labels = [each.label for each in found if calendar.session_date(each.label) == day]
    if not labels:
        remedy = "choose another session"
        raise Fatal(
            "the recorded tape has no minute of this session", value=str(iso_date(day)), remedy=remedy
        )
    return labels[0], labels[-1] + MINUTE_US


def _stock_quotes(bodies: Iterator[Body]) -> dict[str, list[StockQuote]]:
    found: dict[str, list[StockQuote]] = {}
    for body in bodies:
        if body["instrument"] == body["underlying"]:
            quote = StockQuote(
                symbol=body["instrument"], time=body["quote_time"], bid=body["bid"], ask=body["ask"],
                bid_size=body["bid_size"], ask_size=body["ask_size"],
            )  # fmt: skip
            found.setdefault(quote.symbol, []).append(quote)
    return found
