"""Where a number came from: the code, its surroundings, the process."""

import functools
import hashlib
import os
import socket
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

import psutil

PACKAGE = Path(__file__).absolute().parent.parent  # without resolving links: the folder that holds all four parts
PARTS = ("models", "platform", "pipelines", "sweeps")


def sources() -> list[Path]:
    """The package's own files: code, definitions and pages."""
    below = [path for part in PARTS for path in sorted((PACKAGE / part).rglob("*"))]
    kinds = {".py", ".yaml", ".html", ".css", ".js", ".svg"}
    return [PACKAGE / "__init__.py", *(path for path in below if path.suffix in kinds)]


@functools.cache
def code_version() -> str:
    """Hash of the package's own sources and definitions: what, besides config and data, decides a result."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def git_state() -> tuple[str | None, bool | None]:
    """The commit that the package runs from and whether its files differ from it; (None, None) outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PACKAGE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if not git("ls-files", "--", str(Path(__file__).resolve())):  # installed below some other project's checkout
            return None, None
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def release(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def provenance() -> dict[str, Any]:
    """The columns of `schemas.PROVENANCE`."""
    commit, dirty = git_state()
    return {
        "git_commit": commit,
        "git_dirty": dirty,
        "code_version": code_version(),
        "unlatent_version": release("unlatent"),
        "python_version": python_version(),
        "torch_version": release("torch"),
        "ray_version": release("ray"),
        "host": socket.gethostname(),
    }


def process() -> dict[str, Any]:
    """This process, told apart from a later one of the same number."""
    started = datetime.fromtimestamp(psutil.Process().create_time(), UTC)
    return {"pid": os.getpid(), "process_started_at": started}


def is_gone(row: dict[str, Any]) -> bool:
    """Whether the process that wrote a row has ended. A process on another host is taken to be alive."""
    if row["host"] != socket.gethostname():
        return False
    try:
        started = psutil.Process(row["pid"]).create_time()
    except psutil.NoSuchProcess:
        return True
    return abs(started - row["process_started_at"].timestamp()) > 1


def now() -> datetime:
    return datetime.now(UTC)
