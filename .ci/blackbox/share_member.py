"""A member of a share group as a process: says on its output, a JSON object a line, when it has joined, what it got, what it asks the broker to
take as accepted, and what the broker said it took. Runs until SIGTERM, or until it is killed.
"""

import argparse
import json
import signal
import sys
import time

from confluent_kafka import AcknowledgeType, ShareConsumer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("group")
    parser.add_argument("topic")
    parser.add_argument("--most", type=int, default=100, help="records at a time")
    parser.add_argument("--pause", type=float, default=0, help="seconds of work between getting and accepting")
    parser.add_argument("--after", type=float, default=0, help="seconds to wait before joining")
    parser.add_argument("--hold", action="store_true", help="accept nothing")
    parser.add_argument("--release", type=int, default=0, help="release multiples of this")
    parser.add_argument("--reject", type=int, default=0, help="reject multiples of this")
    chosen = parser.parse_args()
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    time.sleep(chosen.after)
    config = {
        "bootstrap.servers": chosen.bootstrap,
        "group.id": chosen.group,
        "share.acknowledgement.mode": "explicit",
        "max.poll.records": chosen.most,
        "reconnect.backoff.max.ms": 500,
        "log_level": 2,
    }
    consumer = ShareConsumer(config)
    consumer.subscribe([chosen.topic])
    say("joined", [1])
    while not stopping:
        messages = [message for message in consumer.poll(0.5) if message.error() is None]
        if not messages:
            continue
        say("got", [int(message.value()) for message in messages])
        time.sleep(chosen.pause)
        while chosen.hold and not stopping:
            time.sleep(0.05)
        wanted = judge(consumer, messages, chosen)
        settle(consumer, wanted)
    consumer.close()
    return 0


def judge(consumer: ShareConsumer, messages: list, chosen: argparse.Namespace) -> dict[tuple[str, int], list[int]]:
    """Says what becomes of the records; answers with those that are accepted, by partition."""
    wanted: dict[tuple[str, int], list[int]] = {}
    for message in messages:
        value = int(message.value())
        if chosen.reject and value % chosen.reject == 0:
            consumer.acknowledge(message, AcknowledgeType.REJECT)
        elif chosen.release and value % chosen.release == 0:
            consumer.acknowledge(message, AcknowledgeType.RELEASE)
        else:
            consumer.acknowledge(message, AcknowledgeType.ACCEPT)
            wanted.setdefault((message.topic(), message.partition()), []).append(value)
    return wanted


def settle(consumer: ShareConsumer, wanted: dict[tuple[str, int], list[int]]) -> None:
    for values in wanted.values():
        say("asked", values)
    try:
        results = consumer.commit_sync(20.0)
    except Exception as problem:
        print(json.dumps({"problem": str(problem)}), flush=True)
        return
    for place, error in results.items():
        if error is None:
            say("accepted", wanted.get((place.topic, place.partition), []))


def say(what: str, values: list[int]) -> None:
    if values:
        print(json.dumps({what: values}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
