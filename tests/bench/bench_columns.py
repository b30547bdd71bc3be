"""Nanoseconds per record of the batch Avro reader and writer, beside the codec with fastavro per record.

    python -m tests.bench.bench_columns

Both read the same wire bytes of bars and of features and write them again; the batch side is checked to give
the same bytes before it is measured. A figure is the median of several rounds, each of which runs all in
turn; it is CPU time.
"""

import numpy as np

from tapedeck.schemas import codec
from tapedeck.schemas.columns import Columns, decode_columns, encode_columns
from tapedeck.schemas.columns.layout import layout_of
from tests.bench.bench_kernel import Work, median_ns
from tests.bench.report import Row, Table

NAMES = ("bars", "features")
RECORDS = 20_000
BY_CODEC = 2_000
ROUNDS = 7
_T = 1_381_498_260_000_000


def bodies(name: str, count: int) -> list[codec.Body]:
    """Records of plausible sizes, no two alike: ids of 32 digits, times of now, 16 digits in a double."""
    rng = np.random.default_rng(1)
    numbers = rng.lognormal(4, 1, (count, 64)).tolist()
    made = Columns.empty(name, 1, np.empty(0, dtype=np.uint8))
    found = []
    for row in range(count):
        body: codec.Body = {}
        for at, field in enumerate(layout_of(name).fields):
            if field.name in made.floats:
                body[field.name] = numbers[row][at]
            elif field.symbols:
                body[field.name] = field.symbols[row % len(field.symbols)]
            elif field.name in made.ints:
                body[field.name] = row % 2
            else:
                body[field.name] = f"{row:032x}" if field.name.endswith("_id") else "NVDA"
        found.append(body | {"t": _T + row, "event_time": _T + row})
        if "inputs" in body:
            found[-1] |= {"as_of": _T, "inputs": [f"{row:032x}"] * 2, "config_digest": "0" * 64}
        for flag in ("ready", "crosses_session", "suspect_split", "volume_surge"):
            if flag in body:
                found[-1][flag] = bool(row % 2)
    return found


def works(name: str, count: int) -> dict[str, Work]:
    """The four ways of one record name; ``count`` records a call for the batch side."""
    given = bodies(name, count)
    wires = [codec.encode(name, body) for body in given]
    sizes = np.array([len(wire) for wire in wires])
    spans = np.column_stack((np.cumsum(sizes) - sizes, sizes))
    data = np.frombuffer(b"".join(wires), dtype=np.uint8)
    columns, rejected = decode_columns(name, data, spans)
    written, _ = encode_columns(name, columns)
    if len(rejected) or written.tobytes() != data.tobytes():
        raise AssertionError(f"the batch side does not read or write {name} as the codec does")
    few = min(count, BY_CODEC)

    def read_batch() -> int:
        decode_columns(name, data, spans)
        return count

    def read_each() -> int:
        for wire in wires[:few]:
            codec.decode(name, wire)
        return few

    def write_batch() -> int:
        encode_columns(name, columns)
        return count

    def write_each() -> int:
        for body in given[:few]:
            codec.encode(name, body)
        return few

    return {
        f"{name}, read, columns": read_batch,
        f"{name}, read, codec": read_each,
        f"{name}, write, columns": write_batch,
        f"{name}, write, codec": write_each,
    }


def measure(short: bool = False) -> Table:
    """Median ns per record by way. ``short`` takes fewer records."""
    count = 1_000 if short else RECORDS
    found = median_ns({k: v for name in NAMES for k, v in works(name, count).items()}, ROUNDS)
    rows = []
    for way, ns in found.items():
        base = found[way.replace("codec", "columns")]
        rows.append(Row(way, ns, "ns", note=f"{ns / base:.1f}x of columns" if ns != base else ""))
    return Table(
        "records as columns, CPU nanoseconds per record",
        tuple(rows),
        ("the codec makes or takes one dict per record; the columns are arrays, text stays where it lies",),
    )


def main() -> None:
    """Measure and print."""
    print(measure())


if __name__ == "__main__":
    main()
