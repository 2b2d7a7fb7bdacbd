"""Foreign clients behind one shape: what each can say, how it writes, how it reads.

A client never joins a group: it assigns partition 0 and reads to the end that the broker names.
"""

import subprocess

from ..records import Record

#: How long any one reading or writing of a topic may take.
PATIENCE_SECONDS = 30


class Unable(Exception):
    """The client, not the broker, lacks something; the reason is printed in the table."""


class Client:
    """One foreign client. Subclasses say what they cannot do by overriding `can_write`, `view` and `can_read`."""

    name = ""

    def version(self) -> str:
        raise NotImplementedError

    def can_write(self, record: Record) -> bool:
        """Whether this client has words for the record."""
        return True

    def writes_timestamps(self) -> bool:
        return True

    def view(self, record: Record) -> object:
        """What of a record this client can show when it reads it; by default all."""
        return record

    def can_read(self, record: Record) -> str | None:
        """Why this client cannot read the record, or None."""
        return None

    def write(self, bootstrap: str, topic: str, codec: str, records: list[Record]) -> None:
        raise NotImplementedError

    def read(self, bootstrap: str, topic: str) -> list[object]:
        """Every record of partition 0, as this client's views, in the order it saw them."""
        raise NotImplementedError


def output_of(command: list[str], given: bytes = b"", environment: dict[str, str] | None = None) -> bytes:
    """Runs a client program; what it printed on standard error is the message if it fails."""
    done = subprocess.run(command, input=given, capture_output=True, timeout=PATIENCE_SECONDS, env=environment, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout
