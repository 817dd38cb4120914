"""Ports for the endpoint: two Rays on one machine must not share any, or they mix their answers."""

import socket
import subprocess
import sys

from unlatent.platform.cluster import claim_ports

CLAIM = "from unlatent.platform.cluster import claim_ports; p = claim_ports(); print(p[0], p[-1], flush=True); input()"


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
