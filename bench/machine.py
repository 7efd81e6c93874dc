"""Facts of the machine and of running processes, from /proc."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

REPOSITORY: Final = Path(__file__).resolve().parent.parent
_PRODUCT: Final = ("chronos_api", "chronos_common", "chronos_worker", "migrations", "bench")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_KB: Final = 1_024


def machine(directory: Path) -> dict[str, Any]:
    """Where the figures come from; `directory` is where the nodes keep their data."""
    memory_kb = int(_fields(Path("/proc/meminfo"))["MemTotal"].split()[0])
    return {
        "cpu": _fields(Path("/proc/cpuinfo")).get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": memory_kb // _KB,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "data_on": _filesystem(directory),
        "load_1m_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    """The commit that was measured; with `+` if the product differs from it."""
    revision = _git("rev-parse", "--short=12", "HEAD").strip()
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *_PRODUCT)
    return f"{revision}+" if changed else revision


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else "unknown"


def _fields(file: Path) -> dict[str, str]:
    """`name: value` lines; of repeated names the first."""
    fields: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields


def _filesystem(directory: Path) -> str:
    """The type of the file system; a sync on tmpfs costs nothing and would flatter."""
    best = ("", "unknown")
    path = str(directory.resolve())
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, kind, *_ = line.split()
        if (path + "/").startswith(mount.rstrip("/") + "/") and len(mount) > len(best[0]):
            best = (mount, kind)
    return best[1]


class Memory(NamedTuple):
    """Resident memory of a process in MB: all of it, and the part no file stands behind."""

    rss_mb: float
    anonymous_mb: float


def memory(pid: int) -> Memory:
    """What a process holds now."""
    fields = _fields(Path(f"/proc/{pid}/status"))
    return Memory(*(int(fields[name].split()[0]) / _KB for name in ("VmRSS", "RssAnon")))


def cpu_s(pid: int) -> float:
    """Processor seconds a process has used so far, its threads included, its children not."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS_PER_S


def children(pid: int) -> list[int]:
    """The processes a process started."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, file.read_text(encoding="utf-8").split())
    return sorted(found)
