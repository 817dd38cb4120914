"""The command line: one stage each. Every command takes config overrides, as `train.batch_size=64`."""

import contextlib
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from unlatent.platform import display

CHANGING = ("runs", "sweeps", "steps", "events")  # tables whose rows may be written again while a run or sweep goes on

Overrides = Annotated[list[str] | None, typer.Argument(help="Config overrides, such as train.batch_size=64")]


class StoppedError(Exception):
    """Ctrl-C, or SIGTERM, ended a command."""


class Commands(typer.core.TyperGroup):
    """Commands that Ctrl-C stops in our words, and not in those of the library below."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise StoppedError from None


app = typer.Typer(
    name="unlatent",
    cls=Commands,
    help="Diffusion transformers on raw pixels: train, sweep, measure, deploy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.command(epilog="unlatent train data=imagefolder data.root=pictures train.total_images=200000")
def train(overrides: Overrides = None) -> None:
    """Train a network; the same command goes on with a run that was cut off."""
    from unlatent.platform.config import compose_config
    from unlatent.platform.ray_training import train_on_ray
    from unlatent.platform.runs import last_checkpoint
    from unlatent.platform.store import Store

    config = compose_config(overrides or [])
    run_id = train_on_ray(config)
    display.say(f"checkpoint: {last_checkpoint(Store(config.store), run_id).path}")
    display.say(f"next: unlatent evaluate {run_id}")


@app.command(epilog="unlatent sweep digits sweep.samples=4 sweep.search=random")
def sweep(
    definition: Annotated[str, typer.Argument(help="A definition in sweeps/, or a .yaml file")],
    overrides: Overrides = None,
) -> None:
    """Run a sweep; the same command goes on with one that was cut off, and repeats no trial that is done."""
    from unlatent.platform.tuning import run_sweep

    best = run_sweep(definition, overrides or [])
    display.say(f"best: {best.run_id}, {' '.join(f'{path}={value}' for path, value in best.knobs.items())}")


@app.command(epilog="unlatent evaluate train-1a2b3c4d5e evaluation.samples=2000")
def evaluate(
    run: Annotated[
        str, typer.Argument(help="A run's id, for its last checkpoint, or a checkpoint's path in the store")
    ],
    overrides: Overrides = None,
) -> None:
    """Measure a checkpoint: FID, KID and more, into the table `evaluations`.

    Sampler and evaluation are those of the run's own config, unless overrides set any of them.
    """
    from unlatent.platform import checkpoints
    from unlatent.platform.config import compose_config, from_yaml
    from unlatent.platform.datasets import open_dataset
    from unlatent.platform.devices import local_device
    from unlatent.platform.evaluation import evaluate_checkpoint
    from unlatent.platform.generation import load_model
    from unlatent.platform.rollout import choose_checkpoint
    from unlatent.platform.store import Store

    config = compose_config(overrides or [])
    store = Store(config.store)
    path = choose_checkpoint(store, run, config.serve.metric).path
    own = from_yaml(checkpoints.read(store, checkpoints.find(store, path), "config.yaml").decode())
    given = {text.split(".")[0].split("=")[0] for text in overrides or []}
    evaluation = config.evaluation if "evaluation" in given else own.evaluation
    sampler = config.sampler if "sampler" in given else own.sampler
    model = load_model(store, path, evaluation.weights, local_device())
    rows = evaluate_checkpoint(store, model, open_dataset(own.data, store), evaluation, sampler)
    display.say(f"{model.checkpoint}: {rows[0]['samples']:,} images, features of {rows[0]['feature_extractor']}")
    display.show_table([{"metric": row["metric"], "value": f"{row['value']:.4f}"} for row in rows])


@app.command(epilog="unlatent average train-1a2b3c4d5e --width 0.07")
def average(
    run: Annotated[str, typer.Argument(help="A run's id, trained with train.ema_power_widths")],
    width: Annotated[float, typer.Option(help="sigma_rel of the power mean (EDM2), such as 0.07")],
    images: Annotated[
        int | None, typer.Option(help="At this many images seen; the last snapshot's unless given")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Put together an average of a run's weights that was not kept, from the snapshots of those that were."""
    from unlatent.platform.averages import save_average
    from unlatent.platform.config import compose_config
    from unlatent.platform.store import Store

    checkpoint, error = save_average(Store(compose_config(overrides or []).store), run, width, images)
    display.say(f"checkpoint: {checkpoint.path} (error of the fit: {error:.3f})")
    display.say(f"next: unlatent evaluate {checkpoint.path}")


@app.command(epilog="unlatent generate --class 3 --class 7 --seed 5 --out pictures sampler.steps=50")
def generate(
    overrides: Overrides = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Name or index; every class unless given")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Images of each class")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the first image; each next one has the next")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the PNG files")] = Path("images"),
    checkpoint: Annotated[
        str | None, typer.Option(help="Path in the store, or a run's id; the best unless given")
    ] = None,
) -> None:
    """Make images from a checkpoint, without a server."""
    from unlatent.platform.config import compose_config
    from unlatent.platform.devices import local_device
    from unlatent.platform.generation import class_index, load_model
    from unlatent.platform.rollout import choose_checkpoint
    from unlatent.platform.store import Store

    config = compose_config(overrides or [])
    store = Store(config.store)
    path = choose_checkpoint(store, checkpoint or config.serve.checkpoint, config.serve.metric).path
    model = load_model(store, path, config.evaluation.weights, local_device())
    wanted = [name for name in classes or model.classes for _ in range(count)]
    seeds = range(seed, seed + len(wanted))
    size = config.evaluation.batch_size
    batches = (slice(start, start + size) for start in range(0, len(wanted), size))
    images = [image for part in batches for image in model.generate(wanted[part], seeds[part], config.sampler)]
    out.mkdir(parents=True, exist_ok=True)
    for name, number, image in zip(wanted, seeds, images, strict=True):
        image.save(out / f"{model.classes[class_index(model.classes, name)]}-{number}.png".replace("/", "_"))
    display.say(f"{len(images)} images of {path} in {out}/")


@app.command("import", epilog="unlatent import pixeldit-xl.ckpt --config xl --out store/checkpoints/pixeldit-xl/256")
def import_(
    file: Annotated[Path, typer.Argument(help="A torch file or safetensors, as published")],
    config: Annotated[
        str, typer.Option(help="JSON of the published constructor's arguments, or a preset: b, l, xl, text")
    ],
    out: Annotated[str, typer.Option(help="The checkpoint's folder, or an object store's address; new or empty")],
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Pixels on a side; 256 for classes, 512 for texts")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="Names of the classes, one a line; their numbers unless given")
    ] = None,
) -> None:
    """Turn published PixelDiT weights into a checkpoint of ours."""
    from unlatent.platform.importing import import_checkpoint

    checkpoint, said = import_checkpoint(file, config, out, image_size, classes)
    for line in said:
        display.say(line)
    display.say(f"checkpoint: {out}, {checkpoint.hash}")


@app.command(epilog="unlatent serve serve.port=8001")
def serve(overrides: Overrides = None) -> None:
    """Open the endpoint and its page on the best checkpoint, until Ctrl-C."""
    from unlatent.platform.config import compose_config
    from unlatent.platform.rollout import choose_checkpoint, roll_out
    from unlatent.platform.store import Store

    config = compose_config(overrides or [])
    choice = choose_checkpoint(Store(config.store), config.serve.checkpoint, config.serve.metric)
    by = f", {choice.metric} {choice.value:.3f}" if choice.metric else ""
    display.say(f"starting the endpoint on {choice.path}{by}")
    url = roll_out(config, choice)
    display.say(f"{url} is open: the page at {url}/, the API at {url}/v1/images/generations. Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    display.say("\nthe endpoint is closed")


@app.command(
    epilog="unlatent results runs --where \"status == 'succeeded'\" --sort forward_gflops --columns run_id,loss"
)
def results(
    table: Annotated[
        str, typer.Argument(help="runs, steps, events, evaluations, sweeps, pipeline_steps, deployments or rates")
    ],
    overrides: Overrides = None,
    where: Annotated[str | None, typer.Option(help="A condition, as pandas' DataFrame.query takes it")] = None,
    sort: Annotated[str | None, typer.Option(help="A column; -column sorts downwards")] = None,
    columns: Annotated[str | None, typer.Option(help="Column names, with commas")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to print; exports take all")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON, a row a line")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print as CSV")] = False,
    parquet: Annotated[Path | None, typer.Option(help="Write as one Parquet file")] = None,
) -> None:
    """Print, filter, sort and export a results table."""
    from unlatent.platform import listing, lost_runs, tables
    from unlatent.platform.config import compose_config
    from unlatent.platform.store import Store

    store = Store(compose_config(overrides or []).store)
    tables.require_table(table)
    tables.require_results(store)
    lost_runs.mark_lost(store)
    rows = listing.narrow(tables.read(store, table), where, sort, columns.split(",") if columns else None)
    if parquet:
        rows.to_parquet(parquet, index=False)
        display.say(f"{len(rows)} rows in {parquet}")
    elif json:
        sys.stdout.write(rows.to_json(orient="records", lines=True, date_format="iso"))
    elif csv:
        rows.to_csv(sys.stdout, index=False)
    else:
        shown = listing.for_terminal(rows.head(limit), table, chosen=columns is not None)
        display.show_table(shown, f"{table}: {min(limit, len(rows))} of {len(rows)} rows")


@app.command("runs", epilog="unlatent runs store=s3://bucket/store --limit 5")
def runs_(
    overrides: Overrides = None,
    limit: Annotated[int, typer.Option(min=1, help="Runs to print")] = 20,
) -> None:
    """List the runs, those that run and those that have ended, the newest first."""
    from unlatent.platform import listing, lost_runs, progress, tables
    from unlatent.platform.config import compose_config
    from unlatent.platform.store import Store

    store = Store(compose_config(overrides or []).store)
    tables.require_results(store)
    lost_runs.mark_lost(store)
    rows = tables.read(store, "runs")
    running = rows["run_id"][rows["status"] == "running"]
    states = {name: state for name in running if (state := progress.latest(store, name))}
    display.show_table(listing.run_texts(rows, states)[:limit], f"{min(limit, len(rows))} of {len(rows)} runs")


@app.command(epilog="unlatent compact steps")
def compact(
    table: Annotated[
        str, typer.Argument(help="runs, steps, events, evaluations, sweeps, pipeline_steps, deployments or rates")
    ],
    overrides: Overrides = None,
) -> None:
    """Merge a table's many small files into one; readers see every row once, all the while."""
    from unlatent.platform import runs, tables
    from unlatent.platform.config import compose_config
    from unlatent.platform.store import Store

    store = Store(compose_config(overrides or []).store)
    tables.require_table(table)
    merged = tables.compact(store, table, runs.finished_files(store, table) if table in CHANGING else None)
    display.say(f"{table}: {merged} files merged")


@app.command(epilog="unlatent report digits --run train-1a2b3c4d5e --out report.html --png pictures")
def report(
    sweep: Annotated[str, typer.Argument(help="A sweep's name, as in the table of sweeps")],
    overrides: Overrides = None,
    run: Annotated[str | None, typer.Option(help="A run to show in full; the sweep's best unless given")] = None,
    out: Annotated[Path | None, typer.Option(help="Copy the report here")] = None,
    png: Annotated[Path | None, typer.Option(help="Write each picture into this folder too, on white")] = None,
) -> None:
    """Write the HTML report of a sweep and a run: one file that needs no other."""
    from unlatent.platform.config import compose_config
    from unlatent.platform.report import chosen_run, pictures_of, write_report
    from unlatent.platform.store import Store

    store = Store(compose_config(overrides or []).store)
    run, path = chosen_run(store, sweep, run), f"artifacts/reports/{sweep}.html"
    display.show_table(write_report(store, path, f"unlatent: {sweep}", sweep, run), sweep)
    if out:
        out.write_bytes(store.read_bytes(path))
    if png:
        png.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures_of(store, sweep, run).items():
            (png / f"{name}.png").write_bytes(picture)
    display.say(f"report: {out or store.uri(path)}" + (f"; pictures: {png}" if png else ""))
