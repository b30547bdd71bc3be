"""The tables of articles and posts, and of what is made of them, as in ``models``."""

from datetime import datetime

from sqlalchemy.orm import Mapped

from tapedeck.connectors.postgres.base import Audit, Base, enum_column


class News(Audit, Base):
    __tablename__ = "t_news"
    source: Mapped[str]
    native_id: Mapped[str]
    updated_at: Mapped[datetime]
    title: Mapped[str]
    url: Mapped[str | None]
    origin: Mapped[str]


class Posts(Audit, Base):
    __tablename__ = "t_posts"
    source: Mapped[str]
    native_id: Mapped[str]
    kind: Mapped[str] = enum_column("posts", "kind")
    subreddit: Mapped[str]
    thread_id: Mapped[str]
    updated_at: Mapped[datetime]
    engagement: Mapped[float]
    removed: Mapped[bool]
    origin: Mapped[str]


class _Links(Audit):
    source: Mapped[str]
    native_id: Mapped[str]
    updated_at: Mapped[datetime]
    list_post: Mapped[bool]
    story: Mapped[str | None]
    folded: Mapped[bool]


class Links(_Links, Base):
    __tablename__ = "t_links"


class PostLinks(_Links, Base):
    __tablename__ = "t_post_links"


class Stories(Audit, Base):
    __tablename__ = "t_stories"
    source: Mapped[str]
    native_id: Mapped[str]
    updated_at: Mapped[datetime]
    event_uid: Mapped[str]
    story: Mapped[str]
    folded: Mapped[bool]


class Sentiment(Audit, Base):
    __tablename__ = "t_sentiment"
    symbol: Mapped[str]
    source: Mapped[str]
    native_id: Mapped[str]
    updated_at: Mapped[datetime]
    scope: Mapped[str] = enum_column("sentiment", "scope")
    folded: Mapped[bool]
    reason: Mapped[str] = enum_column("sentiment", "reason")
    score: Mapped[float | None]
    confidence: Mapped[float | None]
    label: Mapped[str | None] = enum_column("sentiment", "label")
    engine: Mapped[str | None]
    model_digest: Mapped[str]


class SentimentWindows(Audit, Base):
    __tablename__ = "t_sentiment_windows"
    symbol: Mapped[str]
    t: Mapped[datetime]
    n_30: Mapped[int]
    avg_30: Mapped[float]
    n_60: Mapped[int]
    avg_60: Mapped[float]


class Mentions(Audit, Base):
    __tablename__ = "t_mentions"
    symbol: Mapped[str]
    hour: Mapped[datetime]
    scope: Mapped[str] = enum_column("mentions", "scope")
    as_of: Mapped[datetime]
    mentions: Mapped[int]
    authors: Mapped[int]


class Surges(Audit, Base):
    __tablename__ = "t_surges"
    symbol: Mapped[str]
    hour: Mapped[datetime]
    mentions: Mapped[int]
    level: Mapped[str] = enum_column("surges", "level")
    score: Mapped[float | None]
