"""Rows of a sweep as the report reads them, written by hand."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

from PIL import Image

from unlatent.platform import tables
from unlatent.platform.schemas import EVALUATIONS, RUNS, STEPS, SWEEPS
from unlatent.platform.store import Store

BEGAN = datetime(2026, 3, 1, 9, tzinfo=UTC)


def add_sweep(store: Store, **columns: Any) -> None:
    row = dict.fromkeys(SWEEPS) | {"sweep": "digits", "status": "succeeded", "scheduler": "grid, fixed"}
    row |= {"metric": "fid", "direction": "min", "total_images": 2000, "question": "Which patch size?"}
    tables.replace(store, "sweeps", row | columns)


def add_run(store: Store, run_id: str, **columns: Any) -> None:
    row = dict.fromkeys(RUNS) | {"run_id": run_id, "status": "succeeded", "config_hash": f"config-{run_id}", "seed": 0}
    row |= {
        "dataset": "digits",
        "dataset_hash": "d1",
        "patch_size": 4,
        "window": 4,
        "attention": True,
        "pixel_depth": 2,
    }
    row |= {
        "parameters": 100_000,
        "forward_gflops": 0.01,
        "activation_bytes": 300_000,
        "training_gflops": 60.0,
        "images_seen": 2000,
        "total_images": 2000,
    }
    row |= {
        "images_per_s": 512.5,
        "duration_s": 4.0,
        "checkpoint": f"checkpoints/{run_id}",
        "checkpoint_hash": f"hash-{run_id}",
    }
    row |= {
        "device": "cpu",
        "workers": 1,
        "host": "bench",
        "git_commit": "abc123",
        "git_dirty": True,
        "code_version": "v1",
    }
    row |= {"started_at": BEGAN, "ended_at": BEGAN + timedelta(minutes=1)}
    tables.replace(store, "runs", row | columns)


def add_evaluation(store: Store, run_id: str, settings: dict[str, Any] | None = None, **values: float) -> None:
    row = dict.fromkeys(EVALUATIONS) | {"evaluation_id": "e", "run_id": run_id, "checkpoint_hash": f"hash-{run_id}"}
    row |= {"weights": "ema", "images_seen": 2000, "samples": 1000, "sampler": "ab2", "steps": 20, "guidance": 2.0}
    row |= {"guidance_low": 0.1, "guidance_high": 0.9, "shift": 1.0, "precision": "fp32", "seed": 0}
    row |= {"feature_extractor": "classifier:d1", "device": "cpu"}
    row |= {"extractor_accuracy": 0.985, "reference": "r1", "dataset": "digits", "network_evaluations": 36.0}
    row |= {"evaluated_at": BEGAN} | (settings or {})
    tables.append(store, "evaluations", [row | {"metric": metric, "value": value} for metric, value in values.items()])


def add_steps(store: Store, run_id: str, factor: float = 1.0) -> None:
    logged = [(images, factor / images) for images in range(100, 2001, 100)]
    rows = [dict.fromkeys(STEPS) | {"run_id": run_id, "images_seen": images, "loss": loss} for images, loss in logged]
    tables.append(store, "steps", rows)


def add_grid(store: Store, run_id: str, shade: int = 128, images_seen: int = 2000) -> bytes:
    store.write_bytes(f"artifacts/{run_id}/samples/{images_seen:012d}.png", picture := png(shade))
    return picture


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), shade).save(buffer, "PNG")
    return buffer.getvalue()
