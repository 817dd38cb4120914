"""Where the endpoint listens, what it accepts and what a replica may use."""

import ipaddress
from dataclasses import dataclass


@dataclass(kw_only=True)
class ServeConfig:
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None  # asked of every request to /v1 as "Authorization: Bearer …"; None asks for none
    checkpoint: str | None = None  # path in the store; None picks the best by `metric`
    metric: str = "fid"
    max_queued_requests: int = 32  # waiting for their turn; one more is answered 429
    deadline_s: float = 120.0  # of a request, its wait included
    max_steps: int = 1000
    cpus: float = 1.0
    gpus: float = 0.0  # 0 serves from the CPU

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and not self.token:
            raise ValueError(f"serve.host={self.host!r} listens beyond this machine without a token; set token as well")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"serve.port={self.port} is not in 1..65535")
        if self.token is not None and (not self.token.isascii() or not self.token.isprintable() or " " in self.token):
            raise ValueError("serve.token holds characters that an HTTP header cannot carry; use printable ASCII")
        self.require_at_least("max_queued_requests", 0)
        self.require_at_least("max_steps", 1)
        self.require_at_least("gpus", 0)
        if self.cpus <= 0 or self.deadline_s <= 0:
            raise ValueError(f"serve.cpus={self.cpus} and serve.deadline_s={self.deadline_s} must both be above 0")

    def require_at_least(self, field: str, least: int) -> None:
        if getattr(self, field) < least:
            raise ValueError(f"serve.{field}={getattr(self, field)} is below {least}")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
