"""The word list: what words of the trade say, by class. It is data, with a digest.

``pos`` and ``neg`` judge, ``up`` and ``down`` move, ``good`` and ``bad`` name what is good or bad to have
more of, ``not`` denies, ``undo`` takes back, ``than`` compares, ``plan`` announces. Written for this project.
"""

from functools import cache
from hashlib import sha256
from pathlib import Path

FILE = Path(__file__).with_name("words.tsv")


@cache
def classes() -> dict[str, str]:
    """Word, in lower case, to its class."""
    rows = (line.split("\t") for line in FILE.read_text(encoding="utf-8").splitlines())
    return {word: kind for kind, word in rows}


@cache
def openings() -> frozenset[str]:
    """The first words of the pairs of words in the list."""
    return frozenset(word.split()[0] for word in classes() if " " in word)


@cache
def digest() -> str:
    """First 16 hex of SHA-256 over the words and their classes, in order."""
    told = "\n".join(f"{kind}\t{word}" for word, kind in sorted(classes().items()))
    return sha256(told.encode()).hexdigest()[:16]
