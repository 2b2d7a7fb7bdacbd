"""Apache Kafka's own console producer and consumer: the Java client, told everything as text."""

from ..cluster import kafka_tool
from ..records import Record
from . import Client, Unable, output_of

RECORD_END = "<end of record>"
FIELD_END = "<end of field>"
HEADER_END = "<end of header>"
NAME_END = "<end of name>"
NULL = "<null>"


class Console(Client):
    name = "console"

    def __init__(self) -> None:
        if kafka_tool() is None:
            raise Unable("the peer Kafka is not beside the checkout")

    def version(self) -> str:
        printed = output_of([*self.tool("topics"), "--version"]).decode().strip()
        return f"Apache Kafka {printed.split()[0]} console tools"

    def tool(self, name: str) -> list[str]:
        tool = kafka_tool()
        assert tool is not None
        return [*tool, name]

    def can_write(self, record: Record) -> bool:
        """Lines of text are all it takes; its separators must not occur."""
        parts = [record.key, record.value, *(value for _, value in record.headers)]
        return all(part is None or is_line(part) for part in parts)

    def writes_timestamps(self) -> bool:
        return False

    def view(self, record: Record) -> object:
        return (record.offset, record.timestamp, shown(record.key), shown(record.value), shown_headers(record))

    def write(self, bootstrap: str, topic: str, codec: str, records: list[Record]) -> None:
        lines = "".join(f"{spelled(record)}\n" for record in records)
        command = [*self.tool("console-producer"), "--bootstrap-server", bootstrap, "--topic", topic, "--compression-codec", codec, "--max-memory-bytes", "67108864"]
        for setting in (
            "parse.key=true",
            "parse.headers=true",
            f"key.separator={FIELD_END}",
            f"headers.delimiter={FIELD_END}",
            f"headers.separator={HEADER_END}",
            f"headers.key.separator={NAME_END}",
            f"null.marker={NULL}",
        ):
            command += ["--reader-property", setting]
        output_of(command, lines.encode())

    def read(self, bootstrap: str, topic: str) -> list[object]:
        end = int(output_of([*self.tool("get-offsets"), "--bootstrap-server", bootstrap, "--topic-partitions", f"{topic}:0"]).split(b":")[-1])
        command = [*self.tool("console-consumer"), "--bootstrap-server", bootstrap, "--topic", topic, "--partition", "0", "--offset", "0", "--max-messages", str(end), "--timeout-ms", "15000"]
        command += ["--command-property", "fetch.max.wait.ms=50"]
        for setting in (
            "print.timestamp=true",
            "print.offset=true",
            "print.headers=true",
            "print.key=true",
            f"key.separator={FIELD_END}",
            f"headers.separator={HEADER_END}",
            f"line.separator={RECORD_END}",
            f"null.literal={NULL}",
        ):
            command += ["--formatter-property", setting]
        return [parsed(line) for line in output_of(command).split(RECORD_END.encode())[:-1]]


def is_line(part: bytes) -> bool:
    try:
        text = part.decode()
    except UnicodeDecodeError:
        return False
    return not any(character in text for character in "\n\r\0")


def spelled(record: Record) -> str:
    def field(data: bytes | None) -> str:
        return NULL if data is None else data.decode()

    headers = HEADER_END.join(f"{name}{NAME_END}{field(value)}" for name, value in record.headers) or NULL
    return FIELD_END.join((headers, field(record.key), field(record.value)))


def shown(data: bytes | None) -> bytes:
    return NULL.encode() if data is None else data


def shown_headers(record: Record) -> bytes:
    return HEADER_END.encode().join(name.encode() + b":" + shown(value) for name, value in record.headers) or b"NO_HEADERS"


def parsed(line: bytes) -> object:
    timestamp, offset, headers, key, value = line.split(FIELD_END.encode(), 4)
    return (int(offset.removeprefix(b"Offset:")), int(timestamp.removeprefix(b"CreateTime:")), key, value, headers)
