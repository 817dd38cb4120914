"""What the endpoint counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

ROWS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    """Of one replica, whose name every value carries: with several, a scrape reaches one of them."""

    def __init__(self, replica: str = "") -> None:
        self.registry = CollectorRegistry()
        of_this, registry = ("replica",), self.registry
        waiting = Gauge("unlatent_waiting_images", "Images that wait for room", of_this, registry=registry)
        under_way = Gauge("unlatent_images_under_way", "Images that are being made", of_this, registry=registry)
        rows = Histogram("unlatent_call_rows", "Rows of a network call", of_this, registry=registry, buckets=ROWS)
        step = Histogram("unlatent_step_seconds", "Of a step of all", of_this, registry=registry, buckets=SECONDS)
        images = Counter("unlatent_images", "Images made", of_this, registry=registry)
        cancelled = Counter("unlatent_cancelled_images", "Images given up on the way", of_this, registry=registry)
        failed = Counter("unlatent_failed_images", "Images that failed", of_this, registry=registry)
        rejected = Counter("unlatent_rejected_requests", "Requests answered 429", of_this, registry=registry)
        rollouts = Counter("unlatent_rollouts", "Models taken into service", of_this, registry=registry)
        self.waiting, self.under_way = waiting.labels(replica), under_way.labels(replica)
        self.rows, self.step_s = rows.labels(replica), step.labels(replica)
        self.images, self.cancelled, self.failed = (one.labels(replica) for one in (images, cancelled, failed))
        self.rejected, self.rollouts = rejected.labels(replica), rollouts.labels(replica)

    def text(self) -> bytes:
        """In Prometheus's own format."""
        return generate_latest(self.registry)
