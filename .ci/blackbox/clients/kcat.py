"""kcat as Debian packages it, on an old librdkafka: fixed headers per run, no timestamps of its own, headers shown as text."""

import itertools
import shutil

from ..records import Headers, Record
from . import Client, Unable, output_of

RECORD_END = b"<\x1dend of record\x1d>"
KEY_END = b"<\x1dend of key\x1d>"


class Kcat(Client):
    name = "kcat"

    def __init__(self) -> None:
        if shutil.which("kcat") is None:
            raise Unable("kcat is not installed")

    def version(self) -> str:
        line = next(line for line in output_of(["kcat", "-V"]).decode().splitlines() if line.startswith("Version"))
        return line.split(" builtin")[0] + ")"

    def can_write(self, record: Record) -> bool:
        # An empty line is skipped on input unless it means null, and one run has either nulls or empty values.
        if record.value == b"" or (record.value is None and not record.key):
            return False
        return all(value is not None and b"\0" not in value for _, value in record.headers)

    def writes_timestamps(self) -> bool:
        return False

    def view(self, record: Record) -> object:
        return (record.offset, record.timestamp, record.key, record.value, shown_headers(record.headers))

    def write(self, bootstrap: str, topic: str, codec: str, records: list[Record]) -> None:
        for (headers, null_value), group in itertools.groupby(records, key=lambda record: (record.headers, record.value is None)):
            command = ["kcat", "-P", "-b", bootstrap, "-t", topic, "-p", "0", "-z", codec, "-X", "linger.ms=20"]
            command += ["-D", escaped(RECORD_END), "-K", escaped(KEY_END)] + (["-Z"] if null_value else [])
            for name, value in headers:
                command += ["-H", name.encode() + b"=" + (value or b"")]
            output_of(command, b"".join(spelled(record) for record in group))

    def read(self, bootstrap: str, topic: str) -> list[object]:
        shape = "%o %T %K %S\\n%k%s%h" + escaped(RECORD_END)
        printed = output_of(["kcat", "-C", "-b", bootstrap, "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q", "-X", "fetch.wait.max.ms=50", "-f", shape])
        views: list[object] = []
        position = 0
        while position < len(printed):
            line_end = printed.index(b"\n", position)
            offset, timestamp, key_bytes, value_bytes = (int(word) for word in printed[position:line_end].split())
            value_at = line_end + 1 + max(key_bytes, 0)
            headers_at = value_at + max(value_bytes, 0)
            end = printed.index(RECORD_END, headers_at)
            key = None if key_bytes < 0 else printed[line_end + 1 : value_at]
            value = None if value_bytes < 0 else printed[value_at:headers_at]
            views.append((offset, timestamp, key, value, printed[headers_at:end]))
            position = end + len(RECORD_END)
        return views


def spelled(record: Record) -> bytes:
    key = b"" if record.key is None else record.key + KEY_END
    return key + (record.value or b"") + RECORD_END


def shown_headers(headers: Headers) -> bytes:
    """Header values are printed as C strings: up to the first zero byte."""
    return b",".join(name.encode() + b"=" + (b"NULL" if value is None else value.split(b"\0")[0]) for name, value in headers)


def escaped(delimiter: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in delimiter)
