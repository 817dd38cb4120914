"""TensorBoard's event files in the store: one for each interval between checkpoints, whole or not there.

A file is named by where its interval starts, so one that is made again takes the place of the one before.
"""

import io
from typing import Any

from unlatent.platform.runs import Run
from unlatent.platform.store import Store
from unlatent.platform.tracking.interval import Interval


class TensorboardFiles:
    """`tensorboard --logdir STORE/artifacts` shows a run as `RUN/tensorboard`."""

    def __init__(self, store: Store, run: Run) -> None:
        self.store, self.folder = store, f"artifacts/{run.run_id}/tensorboard"

    def resume(self, given: int, images_seen: int) -> int:
        """Deletes what lies beyond both: it is given again."""
        start = min(given, images_seen)
        for name in self.store.list(self.folder):
            if int(name.rpartition(".")[2]) >= start:
                self.store.delete(f"{self.folder}/{name}")
        return start

    def add(self, interval: Interval) -> None:
        self.store.write_bytes(f"{self.folder}/events.out.tfevents.{interval.start:012d}", event_file(interval))

    def close(self, ended_well: bool) -> None:
        pass


def event_file(interval: Interval) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    points = interval.points()
    started = points[0].logged_at.timestamp() if points else 0.0
    events = [Event(wall_time=started, file_version="brain.Event:2")]
    for point in points:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in point.values.items()]
        wall_time = point.logged_at.timestamp()
        events.append(Event(wall_time=wall_time, step=point.images_seen, summary=Summary(value=values)))
    if interval.grid:
        image = Summary.Value(tag="samples", image=as_image(interval.grid))
        events.append(Event(wall_time=events[-1].wall_time, step=interval.end, summary=Summary(value=[image])))
    content = io.BytesIO()
    writer = RecordWriter(content)
    for event in events:
        writer.write(event.SerializeToString())
    return content.getvalue()


def as_image(png: bytes) -> Any:
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    width, height = Image.open(io.BytesIO(png)).size
    return Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
