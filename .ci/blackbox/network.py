"""A network for three brokers: each in a namespace of its own behind a bridge, so that links can be cut, also in one direction only.

The bridge lies in a namespace of this process (`enter` moves the calling thread and all that it starts into it): nothing of the machine's
own network is touched, and nothing outside can reach the brokers. What a cut link carries is dropped, not refused: connections stay
open and say nothing, as behind a broken switch.
"""

import ctypes
import os
import shutil
import subprocess

CLONE_NEWNET = 0x40000000
SUBNET = "10.211.0"
TOOLS = ("ip", "iptables-legacy", "nsenter")


def why_not() -> str | None:
    """What this machine lacks for networks, or None."""
    if os.geteuid() != 0:
        return "not root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"without {', '.join(missing)}" if missing else None


def run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


class Network:
    """Namespaces for nodes 1 to `nodes`, for as long as the context lasts."""

    def __init__(self, nodes: int) -> None:
        self.nodes = range(1, nodes + 1)

    def address(self, node: int) -> str:
        return f"{SUBNET}.{node}"

    def name(self, node: int) -> str:
        return f"blackbox-{os.getpid()}-{node}"

    def wrap(self, node: int) -> list[str]:
        """The words in front of a command that make it run as this node."""
        return ["nsenter", f"--net=/run/netns/{self.name(node)}"]

    def __enter__(self) -> "Network":
        enter()
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "bridge0", "type", "bridge")
        run("ip", "address", "add", f"{SUBNET}.254/24", "dev", "bridge0")
        run("ip", "link", "set", "bridge0", "up")
        for node in self.nodes:
            self.connect(node)
        return self

    def connect(self, node: int) -> None:
        inside = ("ip", "-n", self.name(node))
        run("ip", "netns", "add", self.name(node))
        run("ip", "link", "add", f"port{node}", "type", "veth", "peer", "name", "eth0", "netns", self.name(node))
        run("ip", "link", "set", f"port{node}", "master", "bridge0", "up")
        run(*inside, "address", "add", f"{self.address(node)}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "link", "set", "lo", "up")

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            subprocess.run(["ip", "netns", "delete", self.name(node)], capture_output=True, check=False)

    def cut(self, source: int, target: int) -> None:
        """What `source` sends does not arrive at `target` any more; the other way stays as it is."""
        run(*self.wrap(target), "iptables-legacy", "-A", "INPUT", "-s", self.address(source), "-j", "DROP")

    def heal(self) -> None:
        for node in self.nodes:
            run(*self.wrap(node), "iptables-legacy", "-F", "INPUT")


def enter() -> None:
    """Moves the calling thread into a network namespace of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace")
