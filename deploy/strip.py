"""Removes from this Python's site-packages what no process needs at run time: the image is built with it.

Test trees of libraries, type stubs, and sources of extensions. Licenses and metadata stay.
"""

import shutil
import sysconfig
from pathlib import Path

_SUFFIXES = {".pyi", ".c", ".cpp", ".cc", ".pyx", ".pxd", ".h", ".hpp", ".a", ".f90"}
_TESTS = {"tests", "test"}


def strip(folder: Path) -> int:
    """Strip ``folder``; returns how many bytes that freed."""
    freed = 0
    for tree in sorted(path for path in folder.rglob("*") if path.name in _TESTS and path.is_dir()):
        if tree.is_dir() and tree.parent != folder:
            freed += sum(file.stat().st_size for file in tree.rglob("*") if file.is_file())
            shutil.rmtree(tree)
    for file in sorted(folder.rglob("*")):
        if file.suffix in _SUFFIXES and file.is_file():
            freed += file.stat().st_size
            file.unlink()
    return freed


if __name__ == "__main__":
    print(f"{strip(Path(sysconfig.get_path('purelib'))) / 1e6:.0f} MB stripped")
