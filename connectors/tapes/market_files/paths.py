"""The files behind a path: one file, a folder with a file per symbol, or a pattern."""

from pathlib import Path
from typing import NamedTuple

from tapedeck.schemas.errors import Fatal

PARQUET = (".parquet",)
SEPARATED = (".csv", ".tsv")
_PACKED = ".gz"
_PATTERN = "*?["
_WRITE = (
    "name a .parquet or .csv file (.tsv and .csv.gz are read too), a folder of them, or a pattern such as"
    " 'DIR/*.csv'"
)


class Part(NamedTuple):
    """One file. ``symbol`` is its name without endings, for files of a folder or pattern; else None."""

    path: Path
    symbol: str | None

    @property
    def parquet(self) -> bool:
        return _ending(self.path) in PARQUET


def parts(path: Path) -> list[Part]:
    """The files of ``path``, sorted by name. Raises Fatal if none of them can be a tape."""
    if path.is_file():
        if not _readable(path):
            raise Fatal(f"{path} is not a tape", value="".join(path.suffixes[-2:]), remedy=_WRITE)
        return [Part(path, None)]
    if path.is_dir():
        inside = [each for each in sorted(path.iterdir()) if each.is_file() and _readable(each)]
        if not inside:
            raise Fatal(f"the folder {path} holds no tape file", value=_listed(path), remedy=_WRITE)
    elif any(sign in str(path) for sign in _PATTERN):
        inside = [each for each in sorted(_fitting(path)) if each.is_file() and _readable(each)]
        if not inside:
            raise Fatal("no tape file matches this pattern", value=str(path), remedy=_WRITE)
    elif path.suffix and not _readable(path):
        raise Fatal(f"{path} is not a tape", value="".join(path.suffixes[-2:]), remedy=_WRITE)
    else:
        raise Fatal("this tape file does not exist", value=str(path), remedy="check the path")
    return [Part(each, _stem(each)) for each in inside]


def _fitting(pattern: Path) -> list[Path]:
    """The matches of a pattern, searched from its last folder without a wildcard."""
    names = pattern.parts
    first = next(n for n, name in enumerate(names) if any(sign in name for sign in _PATTERN))
    return list(Path(*names[:first]).glob(str(Path(*names[first:]))))


def _readable(path: Path) -> bool:
    return not path.name.startswith(".") and _ending(path) in (*PARQUET, *SEPARATED)


def _ending(path: Path) -> str:
    """The lower-case ending that tells the format; for compressed text, the one before .gz."""
    name = path.name.lower()
    inner = Path(name.removesuffix(_PACKED)).suffix
    return inner if inner in SEPARATED else Path(name).suffix


def _stem(path: Path) -> str:
    name = path.name
    for ending in (_PACKED, *SEPARATED, *PARQUET):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def _listed(path: Path) -> str:
    names = sorted(each.name for each in path.iterdir())
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "nothing"
