"""What stands before the endpoint, and its ports: two Rays on one machine must not share any, or they mix answers."""

import os
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

from unlatent.platform.ingress import claim_ports

CLAIM = "from unlatent.platform.ingress import claim_ports; p = claim_ports(); print(p[0], p[-1], flush=True); input()"


def other_process() -> tuple[subprocess.Popen, range]:
    process = subprocess.Popen([sys.executable, "-c", CLAIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    first, last = map(int, process.stdout.readline().split())
    return process, range(first, last + 1)


def test_processes_that_live_at_once_share_no_port():
    own = claim_ports()
    process, others = other_process()
    process.communicate("done\n")

    assert len(own) == len(others) > 30 and not set(own) & set(others)


def test_ports_of_a_process_that_has_ended_are_given_again_unless_a_replica_of_its_has_stayed():
    process, first = other_process()
    process.kill()
    process.communicate()
    process, again = other_process()
    process.communicate("done\n")
    with socket.create_server(("127.0.0.1", first[5])):
        process, other = other_process()
        process.communicate("done\n")

    assert again == first and not set(other) & set(first)


def test_what_ray_starts_before_the_endpoint_is_haproxy_without_splicing():
    command = Path(sysconfig.get_path("scripts"), "unlatent-haproxy")
    environment = {**os.environ, "RAY_SERVE_HAPROXY_BINARY_PATH": str(command)}

    told = subprocess.run([command, "-vv"], env=environment, capture_output=True, text=True, timeout=10, check=True)
    refused = subprocess.run(
        [command, "-f", "/no/such.cfg"], env=environment, capture_output=True, text=True, timeout=10
    )

    assert told.stdout.startswith("HAProxy version")
    assert refused.returncode == 1 and "/no/such.cfg" in refused.stderr
