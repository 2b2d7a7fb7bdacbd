"""The logical records that every client writes, and what a record is when two clients are compared."""

import dataclasses
import json
import random

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
TIMESTAMP_BASE_MS = 1_700_000_000_000
#: The largest value: together with its key, headers and batch overhead it fits Kafka's default limit of a batch (1,048,588 bytes).
VALUE_BYTES_MAX = 900_000

Headers = tuple[tuple[str, bytes | None], ...]


@dataclasses.dataclass(frozen=True)
class Record:
    """One record; `timestamp` is None where the writer chooses it, `offset` where the broker has not."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp: int | None = None
    offset: int | None = None

    def to_json(self) -> str:
        spelled = {
            "offset": self.offset,
            "timestamp": self.timestamp,
            "key": hexadecimal(self.key),
            "value": hexadecimal(self.value),
            "headers": [[name, hexadecimal(value)] for name, value in self.headers],
        }
        return json.dumps(spelled)

    @staticmethod
    def from_json(line: str | bytes) -> "Record":
        spelled = json.loads(line)
        return Record(
            key=from_hexadecimal(spelled["key"]),
            value=from_hexadecimal(spelled["value"]),
            headers=tuple((name, from_hexadecimal(value)) for name, value in spelled["headers"]),
            timestamp=spelled.get("timestamp"),
            offset=spelled.get("offset"),
        )

    def __str__(self) -> str:
        headers = ", ".join(f"{name}={shortened(value)}" for name, value in self.headers)
        return f"offset {self.offset} timestamp {self.timestamp} key {shortened(self.key)} value {shortened(self.value)} headers [{headers}]"


def hexadecimal(data: bytes | None) -> str | None:
    return None if data is None else data.hex()


def from_hexadecimal(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def shortened(data: bytes | None) -> str:
    if data is None:
        return "null"
    return repr(data) if len(data) <= 40 else f"{data[:24]!r}... ({len(data)} bytes)"


def text(rng: random.Random, size: int) -> bytes:
    """Compressible words without control characters."""
    words = ("strand", "tide", "offset", "broker", "ärger", "высокая", "満潮", "log", "0123456789")
    pieces: list[str] = []
    length = 0
    while length < size:
        pieces.append(rng.choice(words))
        length += len(pieces[-1]) + 1
    data = " ".join(pieces).encode()[:size]
    return data.decode(errors="ignore").encode().ljust(size, b".")


def logical_records(codec: str, largest: int = VALUE_BYTES_MAX) -> list[Record]:
    """Everything a record can be, in a fixed order; the codec is part of the keys so that a mix-up between codecs is seen."""
    rng = random.Random(f"records {codec}")
    tag = codec.encode()
    records = [
        Record(tag + b"-key", b"value"),
        Record(None, b"a value without a key"),
        Record(tag + b"-tombstone", None),
        Record(tag + b"-empty-value", b""),
        Record(b"", tag + b" behind an empty key"),
        Record(None, tag + b" one header", (("name", b"content"),)),
        Record(tag + b"-headers", b"many headers", tuple((f"h{i:02}", f"v{i}".encode()) for i in range(20))),
        Record(tag + b"-headers", b"the same header twice", (("twice", b"first"), ("other", b"x"), ("twice", b"second"))),
        Record(tag + b"-headers", b"an empty header", (("empty", b""),)),
        Record(tag + b"-unicode", "straße Ω 満潮 🌊".encode(), (("größe", "größer".encode()),)),
        Record(bytes(range(256)), bytes(range(255, -1, -1)), (("binary", bytes(range(256))),)),
        Record(None, None),
    ]
    for size in (1, 2, 127, 128, 1_000, 16_384, 65_536, 300_000, largest):
        if size <= largest:
            records.append(Record(b"%s-text-%d" % (tag, size), text(rng, size)))
            records.append(Record(b"%s-random-%d" % (tag, size), rng.randbytes(size)))
    records += [Record(b"%s-run-%d" % (tag, i % 7), text(rng, 20 + i % 200)) for i in range(300)]
    # Timestamps go up, down and repeat: a batch keeps the largest, every record its own.
    return [dataclasses.replace(record, timestamp=TIMESTAMP_BASE_MS + (i * 37) % 1000 - 5 * (i % 3)) for i, record in enumerate(records)]


def null_header_records(codec: str) -> list[Record]:
    """Header values of null: kept in a topic of their own, since one client cannot even read them."""
    tag = codec.encode()
    return [
        Record(tag + b"-null-header", b"x", (("nothing", None),), TIMESTAMP_BASE_MS),
        Record(tag + b"-null-header", b"y", (("nothing", None), ("nothing", b"something"), ("nothing", None)), TIMESTAMP_BASE_MS + 1),
    ]
