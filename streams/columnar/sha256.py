"""SHA-256 of many short messages at once (FIPS 180-4).

A rebuild hashes each event's identity and each row's bytes. Messages are hashed side by side, so that the
compiler can use the machine's vector registers: several times faster than one call each.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import njit, uint32
from numpy.typing import NDArray

# ruff: noqa: PLR0917  (numba does not support keyword-only arguments)

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

_LANES = 16


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _root_bits(prime: int, root: int) -> int:
    """The first 32 bits of the fractional part of the ``root``-th root of ``prime``, in exact integers."""
    scaled = prime << (32 * root)
    low, high = 0, 1 << 40
    while low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**root <= scaled else (low, middle)
    return low & 0xFFFFFFFF


@cache
def _constants() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The initial state and the round constants."""
    primes = _primes(64)
    start = np.array([_root_bits(prime, 2) for prime in primes[:8]], dtype=np.uint32)
    return start, np.array([_root_bits(prime, 3) for prime in primes], dtype=np.uint32)


@njit(inline="always")
def _turned(x: Any, n: int) -> Any:
    return uint32((x >> uint32(n)) | (x << uint32(32 - n)))


@njit
def _load(data: Any, at: int, words: Any, lane: int) -> None:
    """The 16 words of the 64 bytes at ``at``."""
    for k in range(16):
        # unsigned indices need no check for negative ones: the four loads become one
        p = np.uint64(at + 4 * k)
        words[np.uint64(k * _LANES + lane)] = uint32(
            (uint32(data[p]) << uint32(24))
            | (uint32(data[p + np.uint64(1)]) << uint32(16))
            | (uint32(data[p + np.uint64(2)]) << uint32(8))
            | uint32(data[p + np.uint64(3)])
        )


@njit
def _pad(data: Any, start: int, length: int, at: int, tail: Any) -> None:
    """The block at ``at`` of a message that ends in it or before it: a one bit, zeros, the length in bits."""
    rest = max(0, length - at)
    for k in range(rest):
        tail[k] = data[start + at + k]
    for k in range(rest, 64):
        tail[k] = 0
    if length >= at:
        tail[rest] = 0x80
    if rest < 56:
        for k in range(8):
            tail[63 - k] = ((length * 8) >> (8 * k)) & 0xFF


@njit(inline="always")
def _round(
    work: Any, words: Any, constant: Any, k: int,
    a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int,
) -> None:  # fmt: skip
    """One round of every lane. The indices are literals, so the compiler can see that no two overlap."""
    for lane in range(_LANES):
        va, vb, vc, ve = work[a + lane], work[b + lane], work[c + lane], work[e + lane]
        s1 = _turned(ve, 6) ^ _turned(ve, 11) ^ _turned(ve, 25)
        choice = (ve & work[f + lane]) ^ (~ve & work[g + lane])
        t1 = uint32(work[h + lane] + s1 + choice + constant + words[k * _LANES + lane])
        s0 = _turned(va, 2) ^ _turned(va, 13) ^ _turned(va, 22)
        work[d + lane] = uint32(work[d + lane] + t1)
        work[h + lane] = uint32(t1 + s0 + ((va & vb) ^ (va & vc) ^ (vb & vc)))


@njit
def _rounds(state: Any, words: Any, constants: Any, work: Any) -> None:
    """One block of every lane into the state; ``work`` is scratch, uint32 (8 * lanes)."""
    for at in range(16 * _LANES, 64 * _LANES):
        x, y = words[np.uint64(at - 15 * _LANES)], words[np.uint64(at - 2 * _LANES)]
        s0 = _turned(x, 7) ^ _turned(x, 18) ^ (x >> uint32(3))
        s1 = _turned(y, 17) ^ _turned(y, 19) ^ (y >> uint32(10))
        words[at] = uint32(words[np.uint64(at - 16 * _LANES)] + s0 + words[np.uint64(at - 7 * _LANES)] + s1)
    for lane in range(8 * _LANES):
        work[lane] = state[lane]
    for k in range(0, 64, 8):
        _round(work, words, constants[k], k, 0, 16, 32, 48, 64, 80, 96, 112)
        _round(work, words, constants[k + 1], k + 1, 112, 0, 16, 32, 48, 64, 80, 96)
        _round(work, words, constants[k + 2], k + 2, 96, 112, 0, 16, 32, 48, 64, 80)
        _round(work, words, constants[k + 3], k + 3, 80, 96, 112, 0, 16, 32, 48, 64)
        _round(work, words, constants[k + 4], k + 4, 64, 80, 96, 112, 0, 16, 32, 48)
        _round(work, words, constants[k + 5], k + 5, 48, 64, 80, 96, 112, 0, 16, 32)
        _round(work, words, constants[k + 6], k + 6, 32, 48, 64, 80, 96, 112, 0, 16)
        _round(work, words, constants[k + 7], k + 7, 16, 32, 48, 64, 80, 96, 112, 0)
    for lane in range(8 * _LANES):
        state[lane] = uint32(state[lane] + work[lane])


@njit(cache=True, nogil=True)
def _digests(data: Any, spans: Any, order: Any, start: Any, constants: Any, out: Any) -> None:
    tail = np.empty(64, dtype=np.uint8)
    words = np.zeros(64 * _LANES, dtype=np.uint32)
    state = np.empty(8 * _LANES, dtype=np.uint32)
    work = np.empty(8 * _LANES, dtype=np.uint32)
    for first in range(0, len(order), _LANES):
        n = min(_LANES, len(order) - first)
        for row in range(8):
            for lane in range(_LANES):
                state[row * _LANES + lane] = start[row]
        longest = 0
        for lane in range(n):
            longest = max(longest, (spans[order[first + lane], 1] + 8) // 64 + 1)
        for block in range(longest):
            for lane in range(n):
                at = order[first + lane]
                begin, length = spans[at, 0], spans[at, 1]
                if (block + 1) * 64 <= length:
                    _load(data, begin + block * 64, words, lane)
                elif block <= (length + 8) // 64:
                    _pad(data, begin, length, block * 64, tail)
                    _load(tail, 0, words, lane)
            _rounds(state, words, constants, work)
            for lane in range(n):
                at = order[first + lane]
                if block == (spans[at, 1] + 8) // 64:
                    for k in range(32):
                        word = state[(k // 4) * _LANES + lane]
                        out[at, k] = (word >> uint32(24 - 8 * (k % 4))) & uint32(0xFF)


def sha256_of(data: Bytes, spans: Ints) -> Bytes:
    """SHA-256 of each span of ``data``: uint8 (n, 32). ``spans`` int64 (n, 2): start, length >= 0."""
    out = np.empty((len(spans), 32), dtype=np.uint8)
    start, constants = _constants()
    order = np.argsort((spans[:, 1] + 8) // 64, kind="stable")
    view = data.view()
    view.flags.writeable = False  # else numba compiles a second version for writable arrays
    _digests(view, spans, order, start, constants, out)
    return out
