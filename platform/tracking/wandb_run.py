"""A run on Weights & Biases, or in its offline folder; which of them, the WANDB_ variables say."""

import io
import os

import yaml
from PIL import Image

from unlatent.platform.config import to_yaml
from unlatent.platform.runs import Run
from unlatent.platform.store import Store
from unlatent.platform.tracking.interval import Interval

PATIENCE_S = 20.0  # training waits as long for a server that does not answer
FLUSHED_EVERY_S = 0.1  # to W&B's own file: 15 s by default, and a kill would take as much


class WandbRun:
    """Has the run's own id, so a command that goes on with a run goes on with this one too."""

    def __init__(self, store: Store, run: Run) -> None:
        import wandb

        folder = f"artifacts/{run.run_id}"
        if store.is_local:
            store.local(folder).mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            silent=True,
            console="off",
            init_timeout=PATIENCE_S,
            finish_timeout=PATIENCE_S,
            x_transaction_log_flush_interval=FLUSHED_EVERY_S,
        )
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "unlatent"),
            dir=os.environ.get("WANDB_DIR") or (str(store.local(folder)) if store.is_local else None),
            id=run.run_id,
            name=run.run_id,
            group=run.sweep,
            config=yaml.safe_load(to_yaml(run.config)),
            resume="allow",
            reinit="create_new",  # a process may train several runs, one after another
            settings=settings,
        )

    def resume(self, given: int, images_seen: int) -> int:
        """What it has been given it keeps. Offline it cannot know more than we do."""
        return max(given, self.run.starting_step - 1)

    def add(self, interval: Interval) -> None:
        import wandb

        for point in interval.points():
            self.run.log(point.values, step=point.images_seen)
        grid = {"samples": wandb.Image(Image.open(io.BytesIO(interval.grid)))} if interval.grid else {}
        self.run.log(grid, step=interval.end, commit=True)  # else the last point would wait for the next interval

    def close(self, ended_well: bool) -> None:
        self.run.finish(exit_code=0 if ended_well else 1)
