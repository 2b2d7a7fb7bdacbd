"""Where readers from the beginning are told that partitions end: never below what was acknowledged, whatever happens to the brokers.

librdkafka takes the end of a partition from any answer to a Fetch, one that refuses too, and tells it where its reader stands; so it is asked by
readers that begin again and again, of uncommitted and of committed records, and with ListOffsets.

The readers are processes of their own (`python -m blackbox.ends`): now and then librdkafka 2.16's consumer waits for itself when a partition is led elsewhere
(its handler of OffsetForLeaderEpoch refreshes metadata under a lock that it holds), and whoever gives it an assignment then waits for ever, in Python with every other thread. Such
a reader is replaced.
"""

import json
import pathlib
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterable

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from .history import Place
from .load import passing

#: How long a reader stays before it begins again: what is told at the beginning is what counts.
READ_SECONDS = 0.3
#: Between readings, and between the messages of one: two readers must not take the cores that the brokers want.
PAUSE_SECONDS = 0.5
BREATH_SECONDS = 0.02
MESSAGES_MAX = 100
ASK_SECONDS = 2
#: A reader that says nothing for so long is stuck: it asks once of every partition after its reading.
STUCK_SECONDS = 60


class Ends:
    """A reader of each isolation, watched by a thread, until `finish`."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self.arguments = [bootstrap, topic, str(partitions)]
        self.over = threading.Event()
        self.problems: list[str] = []
        self.told = 0
        self.replaced = 0
        #: What is known to be there, by partition.
        self.least: dict[int, int] = {}
        self.threads = [threading.Thread(target=self.guarded, args=(isolation,), daemon=True) for isolation in ("read_uncommitted", "read_committed")]

    def start(self) -> "Ends":
        for thread in self.threads:
            thread.start()
        return self

    def finish(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def know(self, places: Iterable[Place]) -> None:
        """What was acknowledged up to now: no end may be told below."""
        least: dict[int, int] = {}
        for partition, offset in places:
            least[partition] = max(least.get(partition, 0), offset + 1)
        self.least = least

    def guarded(self, isolation: str) -> None:
        try:
            while not self.over.is_set():
                self.watch(isolation)
        except Exception as problem:  # A thread's end must not go unnoticed.
            self.problems.append(f"{isolation}: {type(problem).__name__}: {problem}")

    def watch(self, isolation: str) -> None:
        """Has one reader read again and again, until all is over or it is stuck."""
        command = [sys.executable, "-m", "blackbox.ends", *self.arguments, isolation]
        reader = subprocess.Popen(command, cwd=pathlib.Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            while not self.over.is_set():
                least = self.least
                reader.stdin.write("\n")
                reader.stdin.flush()
                if not select.select([reader.stdout], [], [], STUCK_SECONDS)[0]:
                    self.replaced += 1
                    return
                heard = json.loads(reader.stdout.readline())
                self.problems += [f"{isolation}: {problem}" for problem in heard["problems"]]
                for who, partition, offset in heard["ends"]:
                    self.judge(f"{who} of a {isolation} reader", least, partition, offset)
                self.over.wait(PAUSE_SECONDS)
        finally:
            reader.kill()
            reader.communicate()

    def judge(self, who: str, least: dict[int, int], partition: int, offset: int) -> None:
        self.told += 1
        if 0 <= offset < least.get(partition, 0):
            self.problems.append(f"{who} says that partition {partition} ends at {offset}; {least[partition]} was acknowledged before")


class Reader:
    """Reads from the beginning for a moment, and asks where the partitions end."""

    def __init__(self, bootstrap: str, topic: str, partitions: str, isolation: str) -> None:
        self.topic, self.partitions = topic, range(int(partitions))
        self.ends: list[tuple[str, int, int]] = []
        self.problems: list[str] = []
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "assigned-only",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "isolation.level": isolation,
                "fetch.wait.max.ms": 100,
                "fetch.message.max.bytes": 65_536,
                "queued.max.messages.kbytes": 512,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 200,
                "fetch.error.backoff.ms": 20,
                "log_level": 0,
            }
        )

    def read(self) -> dict[str, list]:
        self.ends, self.problems = [], []
        self.consumer.assign([TopicPartition(self.topic, partition, OFFSET_BEGINNING) for partition in self.partitions])
        until = time.monotonic() + READ_SECONDS
        while time.monotonic() < until:
            time.sleep(BREATH_SECONDS)
            for message in self.consumer.consume(MESSAGES_MAX, BREATH_SECONDS):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    self.ends.append(("a Fetch", message.partition(), message.offset()))
                elif error is not None and is_told(error) and not passing(error):
                    self.problems.append(f"partition {message.partition()}: {error}")
        for partition in self.partitions:
            self.ask(partition)
        return {"ends": self.ends, "problems": self.problems}

    def ask(self, partition: int) -> None:
        try:
            start, end = self.consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=ASK_SECONDS)
        except KafkaException as error:
            if is_told(error.args[0]) and not passing(error.args[0]):
                self.problems.append(f"ListOffsets of partition {partition}: {error}")
            return
        self.ends.append(("ListOffsets", partition, end))
        if start != 0:
            self.problems.append(f"ListOffsets says that partition {partition} begins at {start}")


def is_told(error: KafkaError) -> bool:
    """Whether a broker said so, or what the client made of it; what else befalls the client says nothing of a partition."""
    return error.code() >= 0 or error.code() == KafkaError._AUTO_OFFSET_RESET


def main() -> int:
    """Reads once for every line of its input, and says what it was told as a JSON object a line."""
    reader = Reader(*sys.argv[1:])
    for _ in sys.stdin:
        print(json.dumps(reader.read()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
