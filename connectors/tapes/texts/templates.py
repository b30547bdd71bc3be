"""The words of synthetic texts. All are invented. ``{c}`` is a company, ``{s}`` its symbol, ``{d}`` another.

The tone of a template is what a reader would say; whether an engine agrees is not its concern.
"""

from enum import StrEnum

COMPANIES = {
    "NVDA": "Nvidia", "AMD": "AMD", "META": "Meta Platforms", "GOOGL": "Alphabet", "AVGO": "Broadcom",
    "CRM": "Salesforce", "MSFT": "Microsoft", "QCOM": "Qualcomm", "NOW": "ServiceNow", "ORCL": "Oracle",
    "JPM": "JPMorgan", "UNH": "UnitedHealth", "LLY": "Eli Lilly", "XOM": "Exxon Mobil", "CVX": "Chevron",
    "PFE": "Pfizer", "BAC": "Bank of America", "WMT": "Walmart", "PG": "Procter & Gamble",
    "HD": "Home Depot", "CAT": "Caterpillar", "DE": "Deere", "GS": "Goldman Sachs", "RTX": "RTX Corp",
    "HON": "Honeywell", "MRK": "Merck", "BMY": "Bristol Myers", "MMM": "3M",
}  # fmt: skip


class Tone(StrEnum):
    """What a text says of its company."""

    POSITIVE = "POSITIVE"
    NEGATIVE = "NEGATIVE"
    NEUTRAL = "NEUTRAL"


HEADLINES = {
    Tone.POSITIVE: (
        "{c} raises full-year guidance after record quarterly revenue",
        "{c} beats earnings estimates as demand stays strong, shares jump",
        "{c} upgraded to buy at brokers on improving margins",
        "{c} shares surge after upbeat profit outlook",
        "{c} stock rallies to a record high on strong sales growth",
        "{c} boosts dividend and announces larger buyback",
        "{c} profit rises 18% and tops analysts' expectations",
        "Analysts raise price targets on {c} after strong results",
        "{c} reports higher profit and stronger orders than expected",
    ),
    Tone.NEGATIVE: (
        "{c} cuts full-year guidance as demand weakens",
        "{c} misses earnings estimates, shares slump",
        "{c} downgraded to sell on shrinking margins",
        "{c} shares plunge after profit warning",
        "{c} loses a large contract and lowers its forecast",
        "{c} stock falls to a 52-week low on weak sales",
        "{c} profit drops 22% and misses analysts' expectations",
        "Analysts cut ratings on {c} after disappointing results",
        "{c} recalls products after safety complaints, shares slide",
    ),
    Tone.NEUTRAL: (
        "{c} to present at an industry conference next week",
        "{c} names new head of investor relations",
        "{c} schedules its annual shareholder meeting for May",
        "{c} opens a regional office and completes a reorganization of its filings",
        "{c} files its quarterly report with the regulator",
        "{c} will webcast its investor day on Thursday",
        "What to know about {c} before the next trading day",
        "{c} moves its headquarters staff to a new building",
    ),
}
BEFORE_A_MOVE = {
    Tone.POSITIVE: (
        "{c} lifts its outlook after a record order, shares climb",
        "Brokers raise {c} price targets on booming demand",
        "{c} profit soars well above forecasts in preliminary results",
        "{c} shares jump as a rival leaves the market and sales surge",
        "Upgrade: {c} is a top pick on rising earnings, analysts say",
    ),
    Tone.NEGATIVE: (
        "{c} lowers its outlook after canceled orders, shares drop",
        "Brokers cut {c} price targets on falling demand",
        "{c} profit tumbles well below forecasts in preliminary results",
        "{c} shares sink as customers leave and sales decline",
        "Downgrade: {c} loses ground on shrinking earnings, analysts say",
    ),
}
"""Each unlike every other headline, so that none folds into a story that was told before."""
SUMMARIES = (
    "",
    "",
    "The company gave no further details.",
    "The statement was published on its web site.",
    "Company representatives were not available for comment.",
)
PUBLISHERS = ("Market Courier", "The Daily Ledger", "Street Bulletin")
WITH_ANOTHER = "{c} and {d} extend their supply agreement"
WITHOUT_ANOTHER = "{c} extends its supply agreement with a partner"
IN_HTML = (
    (Tone.NEUTRAL, "<b>{c}</b> shares &amp; options: what traders watch today"),
    (Tone.POSITIVE, "{c} <em>beats</em> earnings estimates &mdash; shares jump"),
    (Tone.NEGATIVE, "<p>{c} misses earnings estimates, shares slump</p><script>track('{s}')</script>"),
    (Tone.POSITIVE, "{c}&nbsp;&lt;b&gt;raises&lt;/b&gt; full-year guidance, stock gains"),
)
TRAPS = (
    "ALL eyes on the Fed as traders wait for a statement",
    "Act NOW: tax filing season opens for small businesses",
    "Rescued CAT finds a home after a week on a roof",
    "It is ALL or nothing for the home team on Sunday, and the time is NOW",
)
"""Capital words that are symbols elsewhere; none of these texts is about a company."""
MARKET = (
    "Stocks open little changed ahead of economic data",
    "Treasury yields drift as investors await the minutes",
)
LISTED = "Stocks to watch today: {all}"

POSTS = {
    Tone.POSITIVE: (
        "${s} earnings crushed it, bought more shares",
        "{s} calls printing today, very bullish",
        "Upgraded my ${s} position, strong growth ahead",
        "${s} breaking out to new highs, great quarter",
    ),
    Tone.NEGATIVE: (
        "${s} is a falling knife, sold everything",
        "{s} puts, this quarter was a disaster",
        "${s} guidance cut again, huge disappointment",
        "Bearish on ${s}, margins keep shrinking",
    ),
    Tone.NEUTRAL: (
        "What is everyone thinking about ${s} this week?",
        "{s} shares: does anyone know when they report?",
        "Question about ${s} options expiry",
        "Long time reader, first post. ${s} or index funds?",
    ),
}
POST_TRAPS = (
    "ALL in on index funds, change my mind",
    "NOW is the time to learn about bonds",
    "My CAT walked over the keyboard and placed an order",
    "YOLO with my lunch money",
)
POSTED_LIST = "My watchlist for tomorrow: {all}"
SUBREDDITS = ("stocks", "investing", "options", "wallstreetbets")
