"""Where the endpoint listens, what it accepts and what a replica may use."""

import hashlib
import ipaddress
from dataclasses import dataclass


@dataclass(kw_only=True)
class ServeConfig:
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None  # asked of every request to /v1 as "Authorization: Bearer …"; None asks for none
    checkpoint: str | None = None  # path in the store; None picks the best by `metric`
    metric: str = "fid"
    max_rows: int = 16  # of a network call: an image is one, two while it is guided, four for each noise of an edit
    max_queued_rows: int = 64  # that wait for room; more are answered 429
    deadline_s: float = 120.0  # of a request, its wait included
    start_s: float = 600.0  # in which all replicas have to answer with a checkpoint; to compile many sizes takes longer
    max_steps: int = 1000
    max_upload_bytes: int = 16 << 20  # of a request with an image to edit
    compile: bool = False  # the network, before it answers; calls are then padded to a few sizes
    replicas: int = 1
    max_replicas: int | None = None  # so many when there is much to do; None: always `replicas`
    cpus: float = 1.0
    gpus: float = 0.0  # 0 serves from the CPU

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and not self.token:
            raise ValueError(f"serve.host={self.host!r} listens beyond this machine without a token; set token as well")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"serve.port={self.port} is not in 1..65535")
        if self.token is not None and (not self.token.isascii() or not self.token.isprintable() or " " in self.token):
            raise ValueError("serve.token holds characters that an HTTP header cannot carry; use printable ASCII")
        for name, least in (("max_queued_rows", 0), ("max_rows", 1), ("max_steps", 1), ("max_upload_bytes", 1 << 10)):
            self.require_at_least(name, least)
        self.require_at_least("replicas", 1)
        if self.max_replicas is not None:
            self.require_at_least("max_replicas", self.replicas)
        self.require_at_least("gpus", 0)
        for name in ("cpus", "deadline_s", "start_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"serve.{name}={getattr(self, name)} must be above 0")

    @property
    def token_digest(self) -> str | None:
        """What the endpoint needs to know of the token, and may be seen by whoever sees how it is deployed."""
        return self.token and hashlib.sha256(self.token.encode()).hexdigest()

    @property
    def buckets(self) -> tuple[int, ...]:
        """Sizes that calls are padded to: powers of two, up to the most rows."""
        if not self.compile:
            return ()
        return (*(2**power for power in range(1, 16) if 2**power < self.max_rows), self.max_rows)

    def require_at_least(self, field: str, least: int) -> None:
        if getattr(self, field) < least:
            raise ValueError(f"serve.{field}={getattr(self, field)} is below {least}")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
