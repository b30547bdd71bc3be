"""Zigzag varints in plain Python: Avro's longs and lengths, and the numbers of a record in Kafka's log.

For single numbers. Functions that numba compiles take those of ``schemas.columns.varint``, which write and
read the same bytes.
"""


def put(out: bytearray, number: int) -> None:
    """Append an int64 in its shortest form: 1 to 10 bytes."""
    left = (number << 1) ^ (number >> 63)
    while left & ~0x7F:
        out.append((left & 0x7F) | 0x80)
        left >>= 7
    out.append(left)


def get(data: bytes, at: int) -> tuple[int, int]:
    """(number, index of the next byte) of the number at ``at``, in any form.

    Raises IndexError where ``data`` ends before it.
    """
    shift = result = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (result >> 1) ^ -(result & 1), at
        shift += 7
