"""Requests of Kafka's protocol encoded by hand: for asking whether a broker answers, and as the raw material of hostile input.

Nothing here decodes more than a response's length and correlation id.
"""

import socket
import struct

ANSWER_SECONDS = 1.0


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def compact(text: str) -> bytes:
    data = text.encode()
    return uvarint(len(data) + 1) + data


def uvarint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def varint(value: int) -> bytes:
    return uvarint((value << 1) ^ (value >> 63))


def array(items: list[bytes]) -> bytes:
    return struct.pack(">i", len(items)) + b"".join(items)


def frame(api_key: int, version: int, body: bytes, correlation: int = 7, flexible: bool = False) -> bytes:
    """A whole request: size, header version 1 or 2, body."""
    header = struct.pack(">hhi", api_key, version, correlation) + string("blackbox") + (b"\0" if flexible else b"")
    return struct.pack(">i", len(header) + len(body)) + header + body


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody there answers an ApiVersions request."""
    try:
        with socket.create_connection((host, port), ANSWER_SECONDS) as connection:
            return len(exchange(connection, api_versions())) > 6
    except OSError:
        return False


def exchange(connection: socket.socket, request: bytes) -> bytes:
    """Sends one request and returns the response without its size."""
    connection.settimeout(ANSWER_SECONDS)
    connection.sendall(request)
    (size,) = struct.unpack(">i", received(connection, 4))
    return received(connection, size)


def received(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError("closed before the whole response came")
        data += piece
    return bytes(data)


def api_versions() -> bytes:
    return frame(18, 0, b"")


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CASTAGNOLI[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def castagnoli_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CASTAGNOLI = castagnoli_table()


def batch(values: list[bytes], attributes: int = 0, payload: bytes | None = None, count: int | None = None) -> bytes:
    """A record batch, magic 2, without producer id; `payload` and `count` replace what is true of the records (the CRC still holds)."""
    timestamp, count = 1_700_000_000_000, len(values) if count is None else count
    records = b""
    for delta, value in enumerate(values):
        body = b"\0" + varint(0) + varint(delta) + varint(-1) + varint(len(value)) + value + varint(0)
        records += varint(len(body)) + body
    checked = struct.pack(">hiqqqhii", attributes, count - 1, timestamp, timestamp, -1, -1, -1, count) + (records if payload is None else payload)
    after_length = struct.pack(">iBI", 0, 2, crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(after_length)) + after_length


def produce(topic: str, record_batch: bytes, partition: int = 0, acks: int = -1) -> bytes:
    data = struct.pack(">i", partition) + struct.pack(">i", len(record_batch)) + record_batch
    return frame(0, 7, struct.pack(">hhi", -1, acks, 1000) + array([string(topic) + array([data])]))


def is_acknowledged(topic: str, response: bytes) -> bool:
    """Whether the answer to `produce` of one batch has no error."""
    (error,) = struct.unpack_from(">h", response, 4 + 4 + len(string(topic)) + 4 + 4)
    return error == 0


def fetch(topic: str, offset: int = 0, partition: int = 0, max_bytes: int = 1 << 20, max_wait_ms: int = 10) -> bytes:
    wanted = struct.pack(">iiqqi", partition, -1, offset, -1, max_bytes)
    body = struct.pack(">iiiibii", -1, max_wait_ms, 1, max_bytes, 0, 0, -1) + array([string(topic) + array([wanted])]) + array([]) + string("")
    return frame(1, 11, body)


def metadata(topics: list[str]) -> bytes:
    return frame(3, 5, array([string(topic) for topic in topics]) + b"\0")


def metadata_flexible(topics: list[str]) -> bytes:
    named = b"".join(b"\0" * 16 + compact(topic) + b"\0" for topic in topics)
    return frame(3, 12, uvarint(len(topics) + 1) + named + b"\0\0\0", flexible=True)


def create_topics(topic: str, partitions: int, validate_only: bool) -> bytes:
    wanted = string(topic) + struct.pack(">ih", partitions, 1) + array([]) + array([])
    return frame(19, 3, array([wanted]) + struct.pack(">ib", 1000, int(validate_only)))


def list_offsets(topic: str) -> bytes:
    return frame(2, 3, struct.pack(">ib", -1, 0) + array([string(topic) + array([struct.pack(">iq", 0, -1)])]))


def init_producer_id() -> bytes:
    return frame(22, 1, struct.pack(">hi", -1, 60_000))


def describe_configs(topic: str) -> bytes:
    return frame(32, 1, array([b"\x02" + string(topic) + struct.pack(">i", -1)]) + b"\0")


def valid_requests(topic: str) -> list[bytes]:
    """One well-formed request of each kind that a client sends first."""
    words = batch([b"alpha", b"beta" * 100])
    return [
        api_versions(),
        frame(18, 3, compact("blackbox") + compact("1") + b"\0", flexible=True),
        metadata([topic]),
        metadata_flexible([topic]),
        produce(topic, words),
        produce(topic, words, acks=1),
        produce(topic, batch([b"not really compressed"], attributes=1, payload=b"\x1f\x8b\x08\0\0\0\0\0")),
        fetch(topic),
        create_topics(f"{topic}-more", 1, validate_only=True),
        list_offsets(topic),
        init_producer_id(),
        describe_configs(topic),
    ]
