"""A file system whose power can be cut: ext4 in a file behind a loop device.

The shutdown ioctl stops the file system at once and forgets what was not synced, as a power cut would for a disk without a
volatile cache. Processes that still write get an I/O error.
"""

import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
import time

EXT4_IOC_SHUTDOWN = 0x8004587D
#: Without flushing the journal: what was not synced is gone.
NOLOGFLUSH = struct.pack("I", 2)
IMAGE_BYTES = 3 << 30
UNMOUNT_ATTEMPTS = 50


def why_not() -> str | None:
    """What this machine lacks for power cuts, or None."""
    if os.geteuid() != 0:
        return "not root"
    missing = [tool for tool in ("mkfs.ext4", "mount", "umount", "losetup") if shutil.which(tool) is None]
    if missing:
        return f"without {', '.join(missing)}"
    found = subprocess.run(["losetup", "-f"], capture_output=True, check=False)
    return None if found.returncode == 0 else "no loop device"


class Disk:
    """A mounted image for as long as the context lasts."""

    def __init__(self, work: pathlib.Path, name: str = "disk", image_bytes: int = IMAGE_BYTES) -> None:
        self.image = work / f"{name}.img"
        self.image_bytes = image_bytes
        self.mount_point = work / name
        self.device = ""

    def __enter__(self) -> "Disk":
        self.mount_point.mkdir()
        with self.image.open("wb") as image:
            image.truncate(self.image_bytes)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], check=True)
        self.device = subprocess.run(["losetup", "-f", "--show", str(self.image)], check=True, capture_output=True, text=True).stdout.strip()
        self.mount()
        return self

    def __exit__(self, *_: object) -> None:
        self.unmount()
        subprocess.run(["losetup", "-d", self.device], check=True)
        self.image.unlink()

    def mount(self) -> None:
        subprocess.run(["mount", "-t", "ext4", self.device, str(self.mount_point)], check=True)

    def unmount(self) -> None:
        for _ in range(UNMOUNT_ATTEMPTS):
            if subprocess.run(["umount", str(self.mount_point)], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.mount_point} cannot be unmounted")

    def cut(self) -> None:
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, NOLOGFLUSH)
        finally:
            os.close(descriptor)

    def power_up(self) -> None:
        """Mounting replays the journal, as after any power cut."""
        self.unmount()
        self.mount()
