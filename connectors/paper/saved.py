"""What the paper exchange keeps on disk: its market's name, its time, and the books of its accounts.

Everything is in one folder. A file is replaced atomically before its content is reported to anyone, so an
exchange that was killed resumes where it was. Credentials are not saved.
"""

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from tapedeck.connectors.paper.book import Book, PaperAccount
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.ledger import Ledger
from tapedeck.connectors.paper.orders import Order
from tapedeck.schemas.errors import Fatal

Json = Any
_VERSION = 1
_BOOKS, _TIME = "books.json", "time.json"
_NOT_SAVED = ("account", "by_client_id")
"""Fields of a book: the account has credentials, the other repeats the orders."""


class Saved:
    """The files of one exchange in ``folder``. ``market`` names what it serves, for whatever starts it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changes: int | None = None
        self.market: Json = self._read(_TIME).get("market")

    def restore(self, exchange: PaperExchange) -> bool:
        """Load saved state into ``exchange``; False if there is none. Raises Fatal for unreadable files."""
        books, time = self._read(_BOOKS), self._read(_TIME)
        if not books and not time:
            return False
        known, found = exchange.books, books.get("books", {})
        opened = {number: known[number].account for number in found if number in known}
        exchange.restore(
            {number: _book(found[number], account) for number, account in opened.items()},
            max(each["now"] for each in (books, time) if each),
        )
        return True

    def keep(self, exchange: PaperExchange) -> None:
        """Write the books if they may have changed."""
        if exchange.changes != self._changes:
            books = {number: plain_book(book) for number, book in sorted(exchange.books.items())}
            self._write(_BOOKS, {"now": exchange.now, "books": books})
            self._changes = exchange.changes

    def keep_time(self, exchange: PaperExchange, market: Json = None) -> None:
        """Write the time, and ``market`` if it has changed."""
        self.market = market or self.market
        self._write(_TIME, {"now": exchange.now, "market": self.market})

    def _read(self, name: str) -> dict[str, Json]:
        path = self._folder / name
        try:
            found = json.loads(path.read_text())
            if found["version"] != _VERSION:
                raise ValueError(f"version {found['version']}, and {_VERSION} is known")
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise _unreadable(path, error) from error
        return dict(found)

    def _write(self, name: str, what: dict[str, Json]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self._folder / f"{name}.new"
        new.write_text(json.dumps({"version": _VERSION, **what}, separators=(",", ":")))
        new.rename(self._folder / name)


def _unreadable(path: Path | str, error: Exception) -> Fatal:
    remedy = "use the version that wrote it; or move it away, and the accounts start with their starting cash"
    return Fatal(f"what the paper exchange saved cannot be read: {error}", value=str(path), remedy=remedy)


def plain_book(book: Book) -> Json:
    """A book in JSON, without the credentials of its account."""
    return {
        each.name: plain(getattr(book, each.name)) for each in fields(book) if each.name not in _NOT_SAVED
    }


def _book(saved: Mapping[str, Json], account: PaperAccount) -> Book:
    book = Book(account, Ledger(account.cash))
    hints = get_type_hints(Book)
    for name, value in saved.items():
        if name not in hints:
            raise _unreadable(_BOOKS, ValueError(f"a book has no {name}"))
        setattr(book, name, typed(hints[name], value))
    orders: dict[str, Order] = book.orders
    book.by_client_id = {order.client_order_id: order for order in orders.values()}
    return book


def plain(value: Any) -> Json:
    """``value`` in JSON: dataclasses and named tuples as objects, decimals and enums as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(each) for name, each in value._asdict().items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def typed(hint: Any, value: Json) -> Any:
    """Reverse ``plain`` for a value of this type. Raises Fatal for a field that the type does not have."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        real = next(each for each in inner if each is not type(None))
        return None if value is None else typed(real, value)
    if origin is dict:
        return {key: typed(inner[1], each) for key, each in value.items()}
    if origin in (list, tuple):
        return origin(typed(inner[0], each) for each in value)
    if is_dataclass(hint) or hasattr(hint, "_fields"):
        return _typed_fields(hint, value)
    return hint(value) if isinstance(hint, type) and issubclass(hint, Decimal | Enum) else value


def _typed_fields(hint: Any, value: Mapping[str, Json]) -> Any:
    hints = get_type_hints(hint)
    if unknown := sorted(set(value) - set(hints)):
        raise _unreadable(_BOOKS, ValueError(f"a {hint.__name__} has no {unknown[0]}"))
    try:
        return hint(**{name: typed(hints[name], each) for name, each in value.items()})
    except TypeError as error:
        raise _unreadable(_BOOKS, error) from error
