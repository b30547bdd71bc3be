"""The text of an item that is linked and scored."""

MAX_CHARS = 2000
"""Characters of a text that are linked and scored; the rest is not looked at."""


def text_of(title: str | None, summary: str | None) -> str:
    """Title, ". " and summary, cut at MAX_CHARS; a comment has a body alone."""
    parts = [part for part in ((title or "").strip(), (summary or "").strip()) if part]
    return ". ".join(parts)[:MAX_CHARS]
