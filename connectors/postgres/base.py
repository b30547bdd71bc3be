"""What the tables of the audit store share: their metadata, the columns of each, names and enums.

No table names a schema. The connection's search path does, so a prefixed pipeline has its own.
"""

import re
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, ClassVar

from sqlalchemy import BigInteger, Date, DateTime, Double, Integer, LargeBinary, MetaData, Numeric, Text
from sqlalchemy.dialects.postgresql import ENUM, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tapedeck.schemas.codec import load_schema

Long = Annotated[int, mapped_column(BigInteger)]
NAMING = {"pk": "%(table_name)s_pkey", "ix": "%(table_name)s_%(column_0_name)s_idx"}


def table_name(topic: str) -> str:
    """The table of one topic: ``t_bars_late`` for ``bars.late``."""
    return "t_" + topic.replace(".", "_")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: Integer,
        float: Double,
        Decimal: Numeric(28, 6),
        datetime: DateTime(timezone=True),
        date: Date,
        bytes: LargeBinary,
    }


class Audit:
    """The columns of every topic table. ``first_*`` is where the event was first seen.

    ``first_topic_id`` distinguishes a topic from one recreated under its name; null means that the row was
    stored before ids were recorded.
    """

    event_id: Mapped[str] = mapped_column(primary_key=True, sort_order=-9)
    first_topic: Mapped[str] = mapped_column(sort_order=-8)
    first_partition: Mapped[int] = mapped_column(sort_order=-7)
    first_offset: Mapped[int] = mapped_column(BigInteger, sort_order=-6)
    event_time: Mapped[datetime] = mapped_column(sort_order=-5)
    config_digest: Mapped[str | None] = mapped_column(sort_order=-4)
    code_version: Mapped[str | None] = mapped_column(sort_order=-3)
    body_sha: Mapped[str] = mapped_column(sort_order=-2)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB, sort_order=-1)
    first_topic_id: Mapped[bytes | None] = mapped_column(sort_order=1)


COMMON_COLUMNS = tuple(Audit.__annotations__)


@cache
def avro_enum(schema: str, field: str) -> ENUM:
    """The database enum of one record field: the field's Avro enum, ``OrderState`` as ``order_state``."""
    definition = next(f["type"] for f in load_schema(schema)["fields"] if f["name"] == field)
    branches = definition if isinstance(definition, list) else [definition]
    enum = next(b for b in branches if isinstance(b, dict) and b["type"] == "enum")
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", enum["name"]).lower()
    return ENUM(*enum["symbols"], name=name, create_type=False)


def enum_column(schema: str, field: str) -> Any:
    return mapped_column(avro_enum(schema, field))
