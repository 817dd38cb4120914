"""What every results table holds: names, Arrow types, units, meaning. The one place that says so.

Changes only add. A column's unit is in its name where it has one (`_s` seconds, `_bytes`, `_gflops` 10⁹ floating-point
operations).
"""

from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 1

TEXT, WHOLE, REAL, YES_NO = pa.string(), pa.int64(), pa.float64(), pa.bool_()
TIME = pa.timestamp("us", tz="UTC")

Columns = dict[str, tuple[pa.DataType, str]]

PROVENANCE: Columns = {
    "git_commit": (TEXT, "commit of the code, where it runs from a checkout"),
    "git_dirty": (YES_NO, "whether that checkout had changes of its own"),
    "code_version": (TEXT, "hash of the package's own sources"),
    "unlatent_version": (TEXT, "release of this package"),
    "python_version": (TEXT, ""),
    "torch_version": (TEXT, ""),
    "ray_version": (TEXT, ""),
    "host": (TEXT, "name of the machine that wrote the row"),
}

KNOBS: Columns = {
    "image_size": (WHOLE, "of what is modelled, on a side: pixels, or latents"),
    "channels": (WHOLE, "1 grey, 3 colour, or those of the latents"),
    "autoencoder": (TEXT, "where the one lies whose latents are modelled; null for pixels"),
    "condition": (TEXT, "class or text"),
    "classes": (WHOLE, "number of classes"),
    "text_width": (WHOLE, "E, width of a text encoder's tokens; null for classes"),
    "text_tokens": (WHOLE, "of a text, at most; null for classes"),
    "time_scale": (REAL, "of the time, before it is embedded"),
    "patch_size": (WHOLE, "p, pixels on a side of a patch"),
    "window": (WHOLE, "w, pixels on a side merged into one attention token of the pixel level"),
    "attention": (YES_NO, "whether the pixel level attends between patches"),
    "attention_width": (WHOLE, "A, width of that attention"),
    "attention_heads": (WHOLE, "its heads"),
    "width": (WHOLE, "D, width of the patch level"),
    "heads": (WHOLE, "heads of the patch level"),
    "patch_depth": (WHOLE, "N, patch blocks"),
    "pixel_width": (WHOLE, "D_pix, width of a pixel token"),
    "pixel_depth": (WHOLE, "M, pixel blocks; 0 is a plain DiT on patches"),
    "norm": (TEXT, "rms or layer"),
    "position": (TEXT, "rope or sincos"),
    "adaln": (TEXT, "what modulates the pixel level: pixel, patch or global"),
    "modulation": (TEXT, "pre or post"),
    "prediction": (TEXT, "velocity or data"),
    "batch_size": (WHOLE, "images a step, over all workers"),
    "learning_rate": (REAL, "peak of the schedule"),
    "total_images": (WHOLE, "images the run is to see"),
    "training_precision": (TEXT, "of the matrix products: fp32 or bf16"),
}

TRAINING: Columns = {  # further knobs, of runs alone
    "schedule": (TEXT, "of the learning rate: constant or cosine"),
    "warmup_images": (WHOLE, "over which the rate rises to its peak"),
    "beta2": (REAL, "AdamW's, of the second moment"),
    "weight_decay": (REAL, ""),
    "clip_norm": (REAL, "that gradients are clipped to"),
    "label_drop": (REAL, "share of labels replaced by the null class, for guidance"),
    "flip": (YES_NO, "whether every other image is mirrored, by chance"),
    "time_mean": (REAL, "of the normal under the logit-normal times"),
    "time_std": (REAL, "its standard deviation"),
    "training_shift": (REAL, "of the times, towards noise"),
}

RUNS: Columns = {
    "run_id": (TEXT, "key"),
    "sweep": (TEXT, "the sweep that this run is a trial of, else null"),
    "variant": (TEXT, "what the sweep calls the settings that this trial has together, else null"),
    "forked_from": (
        TEXT,
        "another run's checkpoint from which this one goes on, relative to the store, else null",
    ),
    "status": (TEXT, "running, paused, succeeded, failed, stopped_early or lost"),
    "error": (TEXT, "why it failed"),
    "stopped_because": (TEXT, "why a scheduler stopped it early: the value, and what it was compared with"),
    "config": (TEXT, "the resolved config, YAML"),
    "config_hash": (TEXT, "identity: model, data and training settings"),
    "point": (TEXT, "hash of the same without the seed: runs of one point differ in their seed alone"),
    "seed": (WHOLE, ""),
    "dataset": (TEXT, ""),
    "dataset_hash": (TEXT, ""),
    **KNOBS,
    **TRAINING,
    "parameters": (WHOLE, "of the network"),
    "forward_gflops": (REAL, "one image, forward; 2 per multiply-add"),
    "training_gflops": (REAL, "forward and backward, of all images seen; of a fork also those before it"),
    "activation_bytes": (WHOLE, "one image in training, float32, estimated"),
    "images_seen": (WHOLE, "up to the last checkpoint; of a fork from its first parent's beginning on"),
    "loss": (REAL, "mean over the last logged interval"),
    "images_per_s": (REAL, "mean over the run's own steps"),
    "duration_s": (REAL, "in training steps, over all attempts"),
    "peak_memory_bytes": (WHOLE, "of one worker: device memory, or resident memory on a CPU"),
    "checkpoint": (TEXT, "the last one, relative to the store"),
    "checkpoint_hash": (TEXT, ""),
    "device": (TEXT, "name of the device of one worker"),
    "workers": (WHOLE, "data-parallel workers, as of the last start"),
    **PROVENANCE,
    "pid": (WHOLE, "process of the first worker"),
    "process_started_at": (TIME, "tells that process from a later one of the same number"),
    "started_at": (TIME, "first start"),
    "updated_at": (TIME, ""),
    "ended_at": (TIME, "null while running"),
}

STEPS: Columns = {
    "run_id": (TEXT, ""),
    "images_seen": (WHOLE, "at the end of the logged interval"),
    "step": (WHOLE, "optimizer steps so far"),
    "loss": (REAL, "of the flow, mean over the interval"),
    "alignment_loss": (REAL, "1 - cosine with a teacher's features, mean over the interval; null without a teacher"),
    "grad_norm": (REAL, "global, before clipping, mean over the interval"),
    "learning_rate": (REAL, "at the interval's end"),
    "skipped": (WHOLE, "steps of the interval that were not taken; see `events`"),
    "images_per_s": (REAL, "over all workers"),
    "data_wait_share": (REAL, "share of the interval spent waiting for data, by the worker that waited longest"),
    "memory_bytes": (WHOLE, "peak so far of the first worker"),
    "mfu": (
        REAL,
        "model FLOPs (nothing that is recomputed) over what the devices could do: published for the GPUs that "
        "`peak_flops` knows, else measured on square matrices as the run starts",
    ),
    "logged_at": (TIME, ""),
}

EVENTS: Columns = {
    "run_id": (TEXT, ""),
    "images_seen": (WHOLE, "after the step that it is about"),
    "step": (WHOLE, ""),
    "event": (
        TEXT,
        "step_skipped; rolled_back to the last checkpoint at a lower rate; a scheduler's stopped or went_on",
    ),
    "reason": (TEXT, "non_finite or spike, of a gradient: not finite, or far above the typical one; what was compared"),
    "grad_norm": (REAL, "of that step, global, before clipping"),
    "logged_at": (TIME, ""),
}

EVALUATIONS: Columns = {
    "evaluation_id": (TEXT, "hash of everything the values depend on"),
    "run_id": (TEXT, ""),
    "checkpoint": (TEXT, "relative to the store"),
    "checkpoint_hash": (TEXT, ""),
    "weights": (TEXT, "ema, another average as ema-0.999 or power-0.05, or raw"),
    "images_seen": (WHOLE, "by the checkpoint"),
    "metric": (
        TEXT,
        "fid, kid, precision, recall, class_agreement, …; geneval, dpg, and geneval_counting of a category",
    ),
    "value": (REAL, ""),
    "samples": (WHOLE, "n, generated images; of a suite, those that its scorer judged"),
    "image_size": (WHOLE, "pixels on a side of these"),
    "sampler": (TEXT, ""),
    "steps": (WHOLE, "sampling steps"),
    "guidance": (REAL, "scale; 1 is none"),
    "guidance_low": (REAL, "guided for low < t < high"),
    "guidance_high": (REAL, ""),
    "negative_prompt": (TEXT, "what guidance leads away from; null: from nothing in particular"),
    "shift": (REAL, "time shift"),
    "precision": (TEXT, "of the network while drawing: fp32 or bf16"),
    "seed": (WHOLE, ""),
    "feature_extractor": (TEXT, "inception, or classifier:<dataset hash>; or who judged the images of a suite"),
    "extractor_accuracy": (REAL, "held-out accuracy of a classifier"),
    "reference": (
        TEXT,
        "hash of the reference features; or of a suite's prompts, with the images' size and what its scorer left out",
    ),
    "dataset": (TEXT, ""),
    "dataset_hash": (TEXT, ""),
    "network_evaluations": (REAL, "network rows per image"),
    "duration_s": (REAL, "of the whole evaluation"),
    "device": (TEXT, ""),
    "evaluated_at": (TIME, ""),
}

EDITS: Columns = {
    "edit_id": (TEXT, "hash of everything the values depend on"),
    "run_id": (TEXT, ""),
    "checkpoint": (TEXT, "relative to the store"),
    "checkpoint_hash": (TEXT, ""),
    "weights": (TEXT, "ema, another average as ema-0.999 or power-0.05, or raw"),
    "images_seen": (WHOLE, "by the checkpoint"),
    "space": (TEXT, "what the network models: pixels or latents"),
    "autoencoder": (TEXT, "whose latents these are; null for pixels"),
    "autoencoder_hash": (TEXT, "of its weights, scale and shift"),
    "way": (
        TEXT,
        "free; masked, where all but the place of the objects is told to stay; derived, where all stays that the free "
        "edit hardly changed; reconstructed, by encode and decode of the autoencoder alone, with no edit",
    ),
    "steps": (WHOLE, "of the grid that an edit goes by; null, as the settings that follow, where nothing is edited"),
    "n_max": (WHOLE, "steps that an edit takes, the last ones"),
    "n_min": (WHOLE, "of these, last steps that draw from noise under the target's caption alone"),
    "n_avg": (WHOLE, "noises that a step averages over"),
    "source_guidance": (REAL, "scale; 1 is none"),
    "target_guidance": (REAL, "scale; 1 is none"),
    "sampler": (TEXT, "of the last n_min steps"),
    "guidance_low": (REAL, "guided for low < t < high"),
    "guidance_high": (REAL, ""),
    "shift": (REAL, "time shift"),
    "precision": (TEXT, "of the network: fp32 or bf16"),
    "pairs": (WHOLE, "n, scenes with a known right answer that were edited"),
    "pairs_hash": (TEXT, "of all that edits and measures take from them"),
    "image_size": (WHOLE, "pixels on a side"),
    "seed": (WHOLE, "of the edits' noise and of the intervals"),
    **{
        name + end: (REAL, f"end of the 95 % interval of {name}, by resampling pairs" if end else meaning)
        for name, meaning in {
            "success": "share of edits whose object looks most like the one asked for, of all 30 classes in its place",
            "untouched": "share of edits whose object still looks most like what it was",
            "object_mse": "mean squared error of values in 0 … 1 to the true target, in the place of both objects",
            "background_mse": "mean squared error of values in 0 … 1 to the source, over the true background alone",
            "background_psnr": "dB, mean over pairs whose background differs at all; null where none does",
            "background_ssim": "mean of the map of SSIM to the source over the true background",
            "legibility": "share of the signs' letters read right, by templates of the known font in the known place",
            "background_lpips": "mean of the map of LPIPS 0.1 (AlexNet) to the source over the true background; null "
            "where no weights were named",
            "structure_distance": "DINO structure distance of whole images to their sources; null where no encoder was "
            "named",
        }.items()
        for end in ("", "_low", "_high")
    },
    "background_lpips_by": (TEXT, "hash of the files of AlexNet and the linear heads"),
    "structure_distance_by": (TEXT, "hash of the encoder's files"),
    "source_legibility": (REAL, "the same share in the sources themselves: the upper bound"),
    "seconds_per_image": (REAL, "of an edit, in the study's batches"),
    "device": (TEXT, ""),
    **PROVENANCE,
    "measured_at": (TIME, ""),
}

SWEEPS: Columns = {
    "sweep": (TEXT, "key"),
    "status": (TEXT, "running, succeeded, failed or lost"),
    "error": (TEXT, ""),
    "question": (TEXT, "what the sweep is to decide"),
    "definition": (TEXT, "the resolved definition, YAML"),
    "definition_hash": (TEXT, "a changed definition under the same name is refused"),
    "scheduler": (TEXT, "search and scheduler: grid, fixed"),
    "metric": (TEXT, "the objective"),
    "direction": (TEXT, "min or max"),
    "against": (TEXT, "a second objective, of which less is better, or null"),
    "budget": (TEXT, "what every trial has as much of: images or training_gflops"),
    "total_images": (WHOLE, "budget of a trial; null where it is training_gflops"),
    "total_gflops": (REAL, "budget of a trial in training GFLOPs; null where it is images"),
    "seeds": (WHOLE, "trials of each point"),
    "trials": (WHOLE, "planned; once it has ended, those there were"),
    "pruned": (WHOLE, "combinations that cannot work, left out beforehand"),
    "succeeded": (WHOLE, ""),
    "stopped_early": (WHOLE, ""),
    "failed": (WHOLE, ""),
    "best_run_id": (TEXT, "the best run of the best point"),
    "best_point": (TEXT, "the point with the best mean over its seeds"),
    "best_value": (REAL, "that mean"),
    "best_deviation": (REAL, "sample standard deviation over the seeds; null for one seed"),
    "duration_s": (REAL, "of the last execution"),
    **PROVENANCE,
    "pid": (WHOLE, ""),
    "process_started_at": (TIME, ""),
    "started_at": (TIME, "of the last execution"),
    "ended_at": (TIME, ""),
}

PIPELINE_STEPS: Columns = {
    "execution_id": (TEXT, ""),
    "pipeline": (TEXT, ""),
    "step": (TEXT, ""),
    "action": (TEXT, "ran, skipped, failed, stopped (Ctrl-C, SIGTERM), lost (its process was killed) or not_run"),
    "reason": (TEXT, "why it ran, was skipped or was not run"),
    "key": (TEXT, "hash of its config, its inputs and the code; null where what it needs was not done"),
    "attempt": (WHOLE, "1 is the first try"),
    "error": (TEXT, ""),
    "duration_s": (REAL, ""),
    **PROVENANCE,
    "started_at": (TIME, ""),
    "ended_at": (TIME, ""),
}

DEPLOYMENTS: Columns = {
    "deployment_id": (TEXT, ""),
    "run_id": (TEXT, ""),
    "checkpoint": (TEXT, "relative to the store"),
    "checkpoint_hash": (TEXT, ""),
    "metric": (TEXT, "that chose the checkpoint; null when it was named"),
    "value": (REAL, ""),
    "status": (TEXT, "ready or failed; handed_over to a Ray Serve that is run from a config file, as KubeRay's"),
    "error": (TEXT, ""),
    "url": (TEXT, ""),
    "cluster": (TEXT, "address of the Ray that the endpoint runs on, host:port"),
    "ready_after_s": (REAL, ""),
    **PROVENANCE,
    "deployed_at": (TIME, ""),
}

RATES: Columns = {
    "work": (TEXT, "training steps, or the network's calls in drawing: training or drawing"),
    "device": (TEXT, "name of the one device"),
    **KNOBS,
    "precision": (TEXT, "of the matrix products in that work: fp32 or bf16"),
    "batch_size": (WHOLE, "images at once, on that device"),
    "forward_gflops": (REAL, "one image, forward; 2 per multiply-add"),
    "images_per_s": (REAL, "random images: reading data is not in it, nor is the exchange of gradients"),
    "gflops_per_s": (REAL, "model FLOPs (nothing that is recomputed)"),
    "memory_bytes": (WHOLE, "peak device memory so far, or resident memory on a CPU"),
    **PROVENANCE,
    "measured_at": (TIME, ""),
}


@dataclass(frozen=True)
class Table:
    """A table's schema, and the column whose value names the one file of a row that changes."""

    schema: pa.Schema
    key: str | None = None


def table(columns: Columns, key: str | None = None) -> Table:
    fields = [pa.field(name, kind, metadata={"meaning": meaning}) for name, (kind, meaning) in columns.items()]
    return Table(pa.schema([*fields, pa.field("schema_version", WHOLE)]), key)


TABLES = {
    "runs": table(RUNS, key="run_id"),
    "steps": table(STEPS),
    "events": table(EVENTS),
    "evaluations": table(EVALUATIONS),
    "edits": table(EDITS),
    "sweeps": table(SWEEPS, key="sweep"),
    "pipeline_steps": table(PIPELINE_STEPS),
    "deployments": table(DEPLOYMENTS),
    "rates": table(RATES),
}
