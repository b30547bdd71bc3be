"""The tunables of news and posts: linking, stories, scoring, what is read of Reddit, surges of mentions."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tapedeck.streams.config.groups import Fraction, Group, Positive, PositiveFloat, refuse

Probability = Annotated[float, Field(gt=0, lt=1)]
UpTo100 = Annotated[int, Field(ge=1, le=100)]
Subreddit = Annotated[str, Field(pattern=r"^[a-z0-9_]{2,21}$")]


class Link(Group):
    min_confidence: Fraction = 0.50
    """Confidence from which a text is linked to a symbol."""
    cue_bonus: Fraction = 0.20
    """What a cue near a bare symbol or a company name adds to its confidence."""
    shout_penalty: Fraction = 0.30
    """What a text in capitals takes from the confidence of a bare symbol."""
    negative_penalty: Fraction = 0.40
    """What a phrase of another meaning takes from the confidence of a bare symbol or a company name."""
    window_tokens: Positive = 5
    """Tokens on either side in which a cue is near."""
    list_post: Positive = 8
    """Symbols; a text with more links is a list, and no sentiment comes of it."""


class Ingest(Group):
    fold_hours: Positive = 6
    """Hours that two items of one story may lie apart."""
    fold_jaccard: Fraction = 0.80
    """Share of common words in two titles from which they tell one story."""
    fold_min_tokens: Positive = 4
    """Words that a title needs; a shorter one folds only into an equal title."""


class Sentiment(Group):
    engine: Literal["light", "lexicon", "finbert", "onnx", "hybrid"] = "light"
    """What scores texts: `light` and `lexicon` need no extra; docs/sentiment.md tells of the others."""
    hybrid_cut: Fraction = 0.2
    """|score| of FinBERT, 0 to 1, above which `hybrid` takes it whatever `light` says."""
    label_threshold: Fraction = 0.05
    """|score|, 0 to 1, up to which a text is NEUTRAL."""


class Reddit(Group):
    subreddits: tuple[Subreddit, ...] = ("wallstreetbets",)
    """Subreddits that are read, in lower case."""
    period_min: Positive = 15
    """Minutes between two runs."""
    revisit_h: Positive = 48
    """Hours for which a thread is looked at again after it was first seen."""
    top_posts: UpTo100 = 100
    """Top posts of the day that are kept."""
    scan: UpTo100 = 20
    """Hot posts, and top posts of the day, that are searched for discussion threads."""
    max_comments_per_thread: Positive = 5000
    """Comments of a thread that one visit keeps."""
    max_expansions: Positive = 32
    """Requests for the collapsed comments of a thread, per visit."""
    requests_per_min: Annotated[int, Field(ge=1, le=100)] = 60
    """Requests a minute."""
    budget_min: Positive = 10
    """Minutes that a run may take."""

    @model_validator(mode="after")
    def _is_readable(self) -> "Reddit":
        refuse(len(set(self.subreddits)) != len(self.subreddits), "each subreddit once")
        refuse(self.budget_min > self.period_min, "budget_min <= period_min")
        return self


class Surge(Group):
    days: Positive = 28
    """Days before, whose same New York hour is the baseline."""
    min_days: Positive = 7
    """Days that a baseline needs; with fewer there is none."""
    lambda_floor: PositiveFloat = 0.5
    """Mentions an hour below which no baseline goes."""
    ratio: PositiveFloat = 2.0
    """Mentions over the baseline that MEDIUM and HIGH need."""
    high_mentions: Positive = 10
    """Mentions in the hour that HIGH needs."""
    high_authors: Positive = 5
    """Different authors in the hour that HIGH needs."""
    high_p: Probability = 1e-6
    """Probability of as many mentions below which the level is HIGH."""
    medium_mentions: Positive = 5
    """Mentions in the hour that MEDIUM needs."""
    medium_authors: Positive = 3
    """Different authors in the hour that MEDIUM needs."""
    medium_p: Probability = 1e-3
    """Probability of as many mentions below which the level is MEDIUM."""

    @model_validator(mode="after")
    def _in_order(self) -> "Surge":
        refuse(self.min_days > self.days, "min_days <= days")
        refuse(self.medium_p < self.high_p, "high_p <= medium_p")
        return self
