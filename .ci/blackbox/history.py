"""What happened to every record, and the rules that it must obey.

A history is written down while clients run: what was sent, acknowledged, refused and read. `violations` then judges it.
A send without an answer is neither acknowledged nor refused: it may be in the log once, or not at all.

Values are named by (producer, sequence); whether a value's bytes are right is the reader's business, which reports a
record that it cannot recognise as `None`.
"""

import collections
import dataclasses
import enum
import json
from collections.abc import Iterable

Value = tuple[str, int]
Place = tuple[int, int]


class Rule(enum.StrEnum):
    INCONSISTENT_OFFSET = "one offset held two values"
    LOST = "an acknowledged value is nowhere"
    VANISHED = "a value that was read is gone"
    MOVED = "an acknowledged value is at another offset"
    DUPLICATE = "one value is at two offsets"
    REFUSED_BUT_READ = "a refused value is in the log"
    UNKNOWN_VALUE = "a value nobody sent is in the log"
    SENDS_OUT_OF_ORDER = "a producer's later send is before an earlier one"
    POLL_WENT_BACK = "a reader's next record has a lower offset"
    POLL_SKIPPED = "a reader's next record is not at the next offset"
    END_WENT_BACK = "the end of a partition went back"
    ACKNOWLEDGED_LATE_IS_EARLIER = "a send that began after an acknowledgement has a lower offset"


@dataclasses.dataclass(frozen=True)
class Violation:
    rule: Rule
    partition: int
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: partition {self.partition}: {self.detail}"


@dataclasses.dataclass
class Send:
    partition: int
    began: int
    offset: int | None = None
    ended: int | None = None
    refused: bool = False


class History:
    """Grows while clients run; not thread-safe by itself, appended to under the interpreter's lock only by single calls."""

    def __init__(self) -> None:
        self.sends: dict[Value, Send] = {}
        self.reads: dict[str, list[tuple[int, int, Value | None]]] = collections.defaultdict(list)
        self.final: dict[Place, Value | None] | None = None
        self.ends: list[tuple[int, int]] = []
        self.clock = 0

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def sent(self, value: Value, partition: int) -> None:
        self.sends[value] = Send(partition, self.tick())

    def acknowledged(self, value: Value, offset: int | None) -> None:
        """`offset` is None when the client learned only that the record is there."""
        send = self.sends[value]
        send.ended, send.offset = self.tick(), offset

    def refused(self, value: Value) -> None:
        """The broker said that the value was not written; a timeout is not a refusal."""
        self.sends[value].refused = True

    def read(self, reader: str, partition: int, offset: int, value: Value | None) -> None:
        """One record seen by a reader that goes through a partition without seeking."""
        self.reads[reader].append((partition, offset, value))

    def end_seen(self, partition: int, offset: int) -> None:
        self.ends.append((partition, offset))

    def read_at_last(self, records: Iterable[tuple[int, int, Value | None]]) -> None:
        """The whole log, read from its start after everything is over."""
        self.final = {(partition, offset): value for partition, offset, value in records}

    def acknowledged_count(self) -> int:
        return sum(send.ended is not None for send in self.sends.values())

    def violations(self, contiguous: bool = True) -> list[Violation]:
        """All broken rules. `contiguous`: no transactions, no compaction, so that offsets have no gaps."""
        if self.final is None:
            raise ValueError("the log was not read at last")
        return [
            *self.places(),
            *self.fates(),
            *self.order_of_sends(),
            *self.order_of_polls(contiguous),
            *self.gaps(contiguous),
            *self.ends_going_back(),
        ]

    def sightings(self) -> Iterable[tuple[Place, Value | None, str]]:
        assert self.final is not None
        for place, value in self.final.items():
            yield place, value, "the last reading"
        for reader, records in self.reads.items():
            for partition, offset, value in records:
                yield (partition, offset), value, reader
        for value, send in self.sends.items():
            if send.offset is not None:
                yield (send.partition, send.offset), value, "the acknowledgement"

    def places(self) -> Iterable[Violation]:
        """One value an offset, and one offset a value, among all that anybody ever saw."""
        held: dict[Place, tuple[Value | None, str]] = {}
        for place, value, who in self.sightings():
            first, first_who = held.setdefault(place, (value, who))
            if first != value:
                yield Violation(Rule.INCONSISTENT_OFFSET, place[0], f"offset {place[1]}: {first} by {first_who}, {value} by {who}")
        places: dict[Value, list[Place]] = collections.defaultdict(list)
        assert self.final is not None
        for place, value in self.final.items():
            if value is not None:
                places[value].append(place)
        for value, found in places.items():
            if len(found) > 1:
                yield Violation(Rule.DUPLICATE, found[0][0], f"{value} at {sorted(found)}")

    def fates(self) -> Iterable[Violation]:
        """Acknowledged is there, refused is not, seen once stays, and nothing comes from nowhere."""
        assert self.final is not None
        where = {value: place for place, value in self.final.items() if value is not None}
        for value, send in self.sends.items():
            place = where.get(value)
            if send.ended is not None and place is None:
                yield Violation(Rule.LOST, send.partition, f"{value} acknowledged at {send.offset}")
            if send.refused and place is not None:
                yield Violation(Rule.REFUSED_BUT_READ, place[0], f"{value} at {place[1]}")
            if send.offset is not None and place is not None and place != (send.partition, send.offset):
                yield Violation(Rule.MOVED, send.partition, f"{value} acknowledged at {send.offset}, found at {place}")
        for place, value in self.final.items():
            if value is None or value not in self.sends:
                yield Violation(Rule.UNKNOWN_VALUE, place[0], f"{value} at {place[1]}")
        for reader, records in self.reads.items():
            for partition, offset, value in records:
                if (partition, offset) not in self.final:
                    yield Violation(Rule.VANISHED, partition, f"{value} at {offset}, read by {reader}")

    def order_of_sends(self) -> Iterable[Violation]:
        """Per producer and partition in the order of sending; and what began after an acknowledgement comes after it."""
        assert self.final is not None
        where = {value: place for place, value in self.final.items() if value is not None}
        last: dict[tuple[str, int], tuple[int, Value]] = {}
        for value in sorted(self.sends):
            if value in where:
                partition, offset = where[value]
                before = last.get((value[0], partition))
                if before is not None and before[0] > offset:
                    yield Violation(Rule.SENDS_OUT_OF_ORDER, partition, f"{value} at {offset} after {before[1]} at {before[0]}")
                last[value[0], partition] = (offset, value)
        yield from self.real_time(where)

    def real_time(self, where: dict[Value, Place]) -> Iterable[Violation]:
        events: list[tuple[int, bool, Value]] = []
        for value, send in self.sends.items():
            if value in where:
                events.append((send.began, False, value))
                if send.ended is not None:
                    events.append((send.ended, True, value))
        highest: dict[int, tuple[int, Value]] = {}
        floor: dict[Value, tuple[int, Value]] = {}
        for _, is_end, value in sorted(events):
            partition, offset = where[value]
            if is_end:
                if offset > highest.get(partition, (-1, value))[0]:
                    highest[partition] = (offset, value)
            elif partition in highest:
                floor[value] = highest[partition]
        for value, (least, earlier) in floor.items():
            if where[value][1] < least:
                yield Violation(Rule.ACKNOWLEDGED_LATE_IS_EARLIER, where[value][0], f"{value} at {where[value][1]}, but {earlier} was acknowledged at {least} before")

    def order_of_polls(self, contiguous: bool) -> Iterable[Violation]:
        for reader, records in self.reads.items():
            last: dict[int, int] = {}
            for partition, offset, _ in records:
                before = last.get(partition)
                if before is not None and offset <= before:
                    yield Violation(Rule.POLL_WENT_BACK, partition, f"{reader}: {offset} after {before}")
                elif contiguous and before is not None and offset != before + 1:
                    yield Violation(Rule.POLL_SKIPPED, partition, f"{reader}: {offset} after {before}")
                last[partition] = offset

    def gaps(self, contiguous: bool) -> Iterable[Violation]:
        assert self.final is not None
        if not contiguous:
            return
        offsets: dict[int, list[int]] = collections.defaultdict(list)
        for partition, offset in sorted(self.final):
            offsets[partition].append(offset)
        for partition, found in offsets.items():
            for before, offset in zip(found, found[1:], strict=False):
                if offset != before + 1:
                    yield Violation(Rule.POLL_SKIPPED, partition, f"the last reading: {offset} after {before}")

    def ends_going_back(self) -> Iterable[Violation]:
        highest: dict[int, int] = {}
        for partition, offset in self.ends:
            if offset < highest.get(partition, 0):
                yield Violation(Rule.END_WENT_BACK, partition, f"from {highest[partition]} to {offset}")
            highest[partition] = max(offset, highest.get(partition, 0))

    def write(self, path: str) -> None:
        """The history as lines of JSON, for a look at it afterwards."""
        with open(path, "w", encoding="utf-8") as out:
            for value, send in list(self.sends.items()):
                out.write(json.dumps({"send": value, **dataclasses.asdict(send)}) + "\n")
            for reader, records in list(self.reads.items()):
                for partition, offset, read in list(records):
                    out.write(json.dumps({"reader": reader, "partition": partition, "offset": offset, "value": read}) + "\n")
            for (partition, offset), last in (self.final or {}).items():
                out.write(json.dumps({"final": last, "partition": partition, "offset": offset}) + "\n")
