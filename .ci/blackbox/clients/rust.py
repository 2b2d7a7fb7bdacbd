"""The crates rdkafka and rskafka, through the two programs of `rust-clients`."""

import dataclasses
import os
import pathlib

from ..records import Record
from . import Client, Unable, output_of


class RustClient(Client):
    """A program that takes and prints one line of JSON a record."""

    def __init__(self) -> None:
        directory = pathlib.Path(os.environ.get("RUST_CLIENTS", pathlib.Path(__file__).parents[1] / "rust-clients/target/release"))
        self.program = str(directory / f"{self.name}-client")
        if not os.access(self.program, os.X_OK):
            raise Unable(f"{self.program} is not built")

    def version(self) -> str:
        return output_of([self.program, "version"]).decode().strip()

    def write(self, bootstrap: str, topic: str, codec: str, records: list[Record]) -> None:
        output_of([self.program, "write", bootstrap, topic, "0", codec], b"".join(record.to_json().encode() + b"\n" for record in records))

    def read(self, bootstrap: str, topic: str) -> list[object]:
        return [Record.from_json(line) for line in output_of([self.program, "read", bootstrap, topic, "0"]).splitlines()]


class Rdkafka(RustClient):
    name = "rdkafka"


class Rskafka(RustClient):
    name = "rskafka"

    def can_write(self, record: Record) -> bool:
        # It sends its headers sorted by name.
        names = [name for name, _ in record.headers]
        return names == sorted(set(names)) and all(value is not None for _, value in record.headers)

    def can_read(self, record: Record) -> str | None:
        return "rskafka refuses null header values" if any(value is None for _, value in record.headers) else None

    def view(self, record: object) -> object:
        # Its headers are a sorted map: the last of two equal names stays.
        assert isinstance(record, Record)
        return dataclasses.replace(record, headers=tuple(sorted(dict(record.headers).items())))
