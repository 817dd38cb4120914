"""Clusters of several Ray processes on this machine, started as on machines of their own: by `ray start`."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ANY_PORTS = [
    "--node-manager-port=0",
    "--object-manager-port=0",
    "--min-worker-port=0",
    "--max-worker-port=0",
    "--metrics-export-port=0",
    "--dashboard-agent-listen-port=0",
    "--dashboard-agent-grpc-port=0",
    "--runtime-env-agent-port=0",
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def ray_start(log: Path, *options: str, python: str = sys.executable, **environment: str) -> Iterator[None]:
    """A node for as long as the block lasts. Its files are its own, as on a machine of its own."""
    own = tempfile.mkdtemp(prefix="ray-")  # the paths of sockets may not be long
    start = ["start", "--block", "--disable-usage-stats", f"--temp-dir={own}", *ANY_PORTS, *options]
    command = [python, "-m", "ray.scripts.scripts", *start]
    surroundings = os.environ | {"RAY_AUTH_MODE": "disabled", **environment}
    with log.open("w") as out:
        node = subprocess.Popen(
            command, env=surroundings, stdout=out, stderr=out, cwd=log.parent, start_new_session=True
        )
    try:
        while "Ray runtime started" not in log.read_text():
            assert node.poll() is None, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        node.terminate()  # it ends what it started
        with contextlib.suppress(subprocess.TimeoutExpired):
            node.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        shutil.rmtree(own, ignore_errors=True)


@contextlib.contextmanager
def head(folder: Path, *options: str, **environment: str) -> Iterator[str]:
    """A head of one CPU. Gives its address."""
    port = free_port()
    own = [f"--port={port}", f"--ray-client-server-port={free_port()}", "--num-cpus=1"]
    with ray_start(folder / "head.log", "--head", *own, *options, **environment):
        yield f"127.0.0.1:{port}"
