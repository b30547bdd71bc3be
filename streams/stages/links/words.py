"""The word lists of ticker linking."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


CASHTAG_ONLY = _set(
    "A AI AM AN ARE AT ATH BE BTFD BTW BY CEO CFO CPI DD DO EOD EPS ETF EU FDA FED FOMO FOR FYI GDP GO "
    "HODL I IMO IPO IRS ITM IV LOL ME MY NO OF OK ON OPEN OR OTM PE PM SEC SO TLDR TO UK UP US USA WE "
    "WTF YOLO YOU"
)
"""Words that people write in capitals anyway: only a cashtag makes a symbol of them."""

AMBIGUOUS = _set(
    "ALL ANY BIG CAN CAR CAT COST EAT FAST FUN HAS IT KEY LOVE LOW NEW NOW ONE OUT PLAY REAL SEE TELL TWO"
)
"""Words that are a symbol only where a strong cue stands near."""

STRONG_CUES = _set(
    "calls puts shares stock stocks earnings eps guidance upgrade upgraded downgrade downgraded dividend "
    "revenue ticker"
)
"""Words that stand near a symbol or a company. A strike and a percentage count as well."""

CUES = STRONG_CUES | _set(
    "call put share bullish bearish long short buy buying bought sell selling sold strike expiry rally "
    "position"
)
"""With the words that are too common to help an ambiguous one."""

SHOUT_LETTERS = 20
"""A text with fewer letters is not shouting."""
SHOUT_TENTHS = 7
"""Tenths of the letters that are capitals in a text that shouts."""

_CARDS = [f"{series}{tier}" for series in (20, 30, 40, 50) for tier in (50, 60, 70, 80, 90)]

NEGATIVE: dict[str, tuple[str, ...]] = {
    "AAPL": ("apple pie", "apple juice", "apple cider", "apple growers", "apple orchard", "big apple"),
    "AMZN": ("amazon rainforest", "amazon river", "amazon basin"),
    "ARM": ("arm loan", "arm mortgage"),
    "CAT": ("pet food", "my cat", "cat food"),
    "CRM": ("crm system", "crm software", "crm tool", "our crm"),
    "F": ("harrison ford", "gerald ford", "tom ford", "betty ford", "doug ford", "rob ford"),
    "GAP": ("gap up", "gap down", "gap fill", "gap between", "pay gap", "wealth gap"),
    "GE": ("ge vernova", "ge healthcare"),
    "HD": ("hd video", "full hd", "in hd"),
    "META": ("meta analysis",),
    "MRK": ("merck kgaa",),
    "MS": ("multiple sclerosis", "ms office"),
    "ORCL": ("oracle of omaha", "oracle of delphi"),
    "PG": ("pg rated", "rated pg"),
    "RTX": ("geforce", "rtx gpu", "rtx card", "rtx pro", *(f"rtx {card}" for card in _CARDS)),
    "SNAP": ("snap benefits", "snap program", "food stamps"),
    "TGT": (
        *("price target", "price targets", "target price", "target date", "target to"),
        *("raises target", "lifts target", "cuts target", "target raised", "target cut"),
    ),
    "V": ("visa application", "visa rules", "visa holders", "work visa", "student visa"),
}
"""Phrases, in lower case, beside which a symbol's word or name means something else."""
