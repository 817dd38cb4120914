"""What a cluster has room for: workers, each of which must fit on one node."""

from collections import Counter
from dataclasses import dataclass

from unlatent.platform.cluster import ClusterConfig


@dataclass(frozen=True)
class Need:
    """What one worker holds."""

    cpus: float
    gpus: float = 0

    def __str__(self) -> str:
        return f"{self.cpus:g} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")

    def places_on(self, node: dict[str, float]) -> int:
        """How many such workers fit on a node; a part of a GPU is a part of one GPU."""
        fit = [int(node.get("CPU", 0) / self.cpus + 1e-9)]
        gpus = int(node.get("GPU", 0))
        if self.gpus >= 1:
            fit.append(int(gpus / self.gpus))
        elif self.gpus:
            fit.append(gpus * int(1 / self.gpus + 1e-9))
        return min(fit)


def nodes() -> list[dict[str, float]]:
    """The resources of each node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def places(need: Need) -> int:
    """How many such workers the cluster holds at once, if nothing else ran there."""
    return sum(need.places_on(node) for node in nodes())


def require(what: str, workers: int, need: Need, grows: bool = False) -> None:
    """Raises ValueError, with the arithmetic, for what this cluster could never place; nothing if it grows."""
    found = places(need)
    if found >= workers or grows:
        return
    kinds = Counter((node.get("CPU", 0), node.get("GPU", 0), need.places_on(node)) for node in nodes())
    rooms = [
        f"{number} node{'s' * (number > 1)} of {cpus:g} CPU and {gpus:g} GPU with room for {room}"
        for (cpus, gpus, room), number in kinds.items()
    ]
    raise ValueError(f"{what} needs {workers} × {need}, and the whole cluster is {', '.join(rooms)}")


def worker_need(config: ClusterConfig) -> Need:
    """What a worker of a training run holds: unless given, as many CPUs as each of them can have."""
    if config.cpus_per_worker is not None:
        return Need(config.cpus_per_worker, config.gpus_per_worker)
    most = int(max(node.get("CPU", 0) for node in nodes()))
    for cpus in range(most, 1, -1):
        if places(Need(cpus, config.gpus_per_worker)) >= config.workers:
            return Need(cpus, config.gpus_per_worker)
    return Need(1, config.gpus_per_worker)


def trial_need(config: ClusterConfig) -> Need:
    """What a worker of a sweep's trial holds."""
    if config.workers == 1:
        return Need(config.cpus_per_trial, config.gpus_per_trial)
    return Need(config.cpus_per_worker or 1, config.gpus_per_worker)


def concurrent_trials(config: ClusterConfig, most: int | None) -> int:
    """How many of a sweep's trials run at once: as many as the cluster holds, and no more than `most`.

    Raises ValueError for a cluster that grows, where nobody says how many that may be.
    """
    if config.grows:
        if most is None:
            raise ValueError("cluster.grows=true needs sweep.max_concurrent: for how many trials nodes are asked for")
        return most
    room = places(trial_need(config)) // config.workers
    return room if most is None else min(room, most)
