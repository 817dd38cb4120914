"""The actions that steps name. Each reads what earlier stages left in the store, and leaves something there."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import httpx

from unlatent.models import cost
from unlatent.pipelines.records import Outputs, Rows
from unlatent.platform import autoencoder_training, checkpoints, classifier, datasets, runs, spaces
from unlatent.platform.config import Config, compose_config, load_sweep
from unlatent.platform.datasets import open_dataset
from unlatent.platform.devices import local_device
from unlatent.platform.display import as_lines, counting, say, show_table
from unlatent.platform.evaluation import evaluate_checkpoint, prepare_extractor
from unlatent.platform.generation import load_model
from unlatent.platform.placement import trial_need
from unlatent.platform.ray_training import train_on_ray
from unlatent.platform.rollout import Choice, start_endpoint
from unlatent.platform.runs import last_checkpoint
from unlatent.platform.scenes import read_pairs
from unlatent.platform.selection import best_checkpoint, measured_as
from unlatent.platform.store import Store
from unlatent.platform.tuning.running import run_sweep
from unlatent.platform.tuning.space import overrides_of


@dataclass(frozen=True)
class Context:
    """What a step is given."""

    pipeline: str
    about: str  # what the pipeline is for
    step: str
    config: Config  # of which a step sees what its action reads
    overrides: list[str]  # that make it, of which a sweep's own begin with `sweep.`
    sweep: str | None
    inputs: dict[str, dict[str, str]]  # of each step it needs: the values it handed on

    @property
    def store(self) -> Store:
        return Store(self.config.store)

    @property
    def folder(self) -> str:
        """Where a step may leave files of its own."""
        return f"artifacts/pipelines/{self.pipeline}/{self.step}"

    def given(self, name: str) -> str:
        """A value handed on by one of the steps that this one needs.

        Raises ValueError where none of them does.
        """
        for values in self.inputs.values():
            if name in values:
                return values[name]
        raise ValueError(f"step {self.step!r} needs a {name}; none of its needs ({', '.join(self.inputs)}) gives one")


def prepare_data(context: Context) -> Outputs:
    """Opens the dataset and trains its classifier, by whose features images are measured."""
    dataset = open_dataset(context.config.data, context.store)
    extractor = prepare_extractor(context.store, dataset, context.config.evaluation)
    accuracy = "" if extractor.accuracy is None else f", held-out accuracy {extractor.accuracy:.4f}"
    sizes = f"{len(dataset.train):,} images to train on, {len(dataset.held_out):,} held out"
    say(f"{dataset.name}: {sizes}; features of {extractor.name[:24]}{accuracy}")
    values = {"dataset_hash": dataset.hash, "extractor": extractor.name, "accuracy": str(extractor.accuracy)}
    folder = classifier.folder(dataset)
    return Outputs(values, files_of(context.store, folder) if extractor.name.startswith("classifier:") else ())


def sweep(context: Context) -> Outputs:
    """Runs a sweep; hands on its best trial, as the overrides that make it and those that all trials shared."""
    assert context.sweep, "the definition is checked when it is read"
    best = run_sweep(context.sweep, context.overrides)
    definition = load_sweep(context.sweep, context.overrides)
    winner = {"shared": definition.overrides, "knobs": overrides_of(definition, best.knobs)}
    values = {"sweep": definition.name, "best_trial": best.run_id, "winner": json.dumps(winner)}
    rows = (
        Rows("sweeps", "sweep", definition.name, ("status", "best_run_id")),
        Rows("runs", "sweep", definition.name, ("run_id", "status", "checkpoint_hash")),
    )
    return Outputs(values, rows=rows)


def train(context: Context) -> Outputs:
    """Trains one run; the winner of a sweep, where a sweep is among what the step needs."""
    run_id = train_on_ray(compose_config(context.overrides))
    checkpoint = last_checkpoint(context.store, run_id)
    rows = (Rows("runs", "run_id", run_id, ("status", "checkpoint_hash")),)
    gflops = runs.find(context.store, run_id)["training_gflops"]
    values = {"run_id": run_id, "checkpoint": checkpoint.path, "training_gflops": str(gflops)}
    return Outputs(values, files_of(context.store, checkpoint.path), rows)


def with_winner(settings: list[str], inputs: dict[str, dict[str, str]]) -> list[str]:
    """A step's settings, with those of the winner of a sweep among its inputs.

    What all trials shared gives way to the step's own; the knobs that won do not.
    """
    found = [values["winner"] for values in inputs.values() if "winner" in values]
    winner = json.loads(found[0]) if found else {"shared": [], "knobs": []}
    return [*winner["shared"], *settings, *winner["knobs"]]


def draw_scenes(context: Context) -> Outputs:
    """Draws the scenes that the config describes, where they are not there yet."""
    scenes = datasets.draw_scenes(context.config.data, context.store)
    folder = scenes.root.removeprefix(context.store.root).strip("/")
    files = tuple(f"{folder}/{file.path}" for file in scenes.walk())
    asked = context.config.data.scenes
    say(f"{asked.images:,} scenes and {asked.pairs:,} held-out pairs: {scenes.root}")
    return Outputs({"scenes": folder}, files)


def train_autoencoder(context: Context) -> Outputs:
    """Trains a small autoencoder on the data set's images."""
    config, store = context.config, context.store
    dataset = open_dataset(config.data, store)
    with counting("images") as on_images:
        path = autoencoder_training.train_autoencoder(config.autoencoder, dataset, store, local_device(), on_images)
    say(f"autoencoder of {dataset.name}: {store.uri(path)}")
    return Outputs({"autoencoder": store.uri(path)}, files_of(store, path))


def on_latents(settings: list[str], inputs: dict[str, dict[str, str]]) -> list[str]:
    """A step's settings, for latents of an autoencoder among its inputs, and for as much training as a run there had.

    What the autoencoder's own training took, and encoding images, is not counted.
    """
    given = {name: value for values in inputs.values() for name, value in values.items()}
    if not given:
        return settings
    modelled = [*settings, f"model.autoencoder={given['autoencoder']}"]
    config = compose_config(modelled)
    batch = config.train.batch_size
    network = spaces.fitted(config.model, spaces.LATENTS_OF, config.data.image_size)
    batches = round(float(given["training_gflops"]) / cost.training_gflops(network) / batch)
    return [*modelled, f"train.total_images={max(1, batches) * batch}"]


def evaluate(context: Context) -> Outputs:
    """Measures a run's last checkpoint."""
    checkpoint = last_checkpoint(context.store, context.given("run_id"))
    config = context.config
    model = load_model(context.store, checkpoint.path, config.evaluation.weights, local_device())
    dataset = open_dataset(config.data, context.store)
    rows = evaluate_checkpoint(context.store, model, dataset, config.evaluation, config.sampler)
    show_table([{"metric": row["metric"], "value": f"{row['value']:.4f}"} for row in rows], model.run_id)
    evaluation_id = rows[0]["evaluation_id"]
    written = Rows("evaluations", "evaluation_id", evaluation_id, ("metric", "value"))
    return Outputs({"run_id": model.run_id, "evaluation_id": evaluation_id}, rows=(written,))


def select(context: Context) -> Outputs:
    """Picks the best checkpoint among all that were measured alike."""
    metric, config = context.config.serve.metric, context.config
    dataset_hash = open_dataset(config.data, context.store).hash
    best = best_checkpoint(context.store, metric, {**measured_as(config), "dataset_hash": dataset_hash})
    say(f"best {metric}: {best['value']:.3f}, {best['checkpoint']}")
    values = {"checkpoint": best["checkpoint"], "run_id": best["run_id"], "metric": metric, "value": str(best["value"])}
    return Outputs(values, files_of(context.store, best["checkpoint"]))


def deploy(context: Context) -> Outputs:
    """Starts the endpoint on a checkpoint; it answers while the pipeline runs."""
    choice = Choice(context.given("checkpoint"), context.given("metric"), float(context.given("value")))
    url = start_endpoint(context.config, choice)
    return Outputs({"url": url, "checkpoint": context.given("checkpoint")})


def request_images(context: Context) -> Outputs:
    """Asks the endpoint for an image of each class, over HTTP."""
    store, url = context.store, context.given("url")
    classes = checkpoints.find(store, context.given("checkpoint")).classes
    token = context.config.serve.token
    files = []
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=url, headers=headers, timeout=context.config.serve.deadline_s) as client:
        for index, name in enumerate(classes):
            answer = client.post("/v1/images/generations", json={"prompt": name, "seed": index})
            if answer.status_code != 200:
                raise RuntimeError(f"{url} answered {answer.status_code} for class {name!r}: {answer.text[:200]}")
            files.append(f"{context.folder}/{index:04d}.png")
            store.write_bytes(files[-1], base64.b64decode(answer.json()["data"][0]["b64_json"]))
    say(f"{url} answered with {len(files)} images")
    return Outputs({"classes": json.dumps(list(classes)), "images": json.dumps(files)}, tuple(files))


def report(context: Context) -> Outputs:
    """Writes the HTML report of the sweep, the run and the endpoint's answers that the earlier steps hand on."""
    from unlatent.platform.report import write_report  # brings matplotlib, which the other steps can do without

    store, path = context.store, f"{context.folder}/report.html"
    given = {name: value for values in context.inputs.values() for name, value in values.items()}
    files = zip(json.loads(given.get("classes", "[]")), json.loads(given.get("images", "[]")), strict=True)
    requests = {name: store.read_bytes(file) for name, file in files}
    title = f"unlatent: {context.pipeline}"
    summary = write_report(store, path, title, given.get("sweep"), given.get("run_id"), requests, context.about)
    message = f"{as_lines(summary)}\nreport: {store.uri(path)}"
    return Outputs({"report": path}, (path,), message=message)


def compare_edits(context: Context) -> Outputs:
    """Edits held-out scenes by each of the networks that the step needs, in their order, and reports what was kept."""
    from unlatent.platform.edit_study.attempts import Subject
    from unlatent.platform.edit_study.page import write_report  # brings matplotlib
    from unlatent.platform.edit_study.study import run_study

    config, store = context.config, context.store
    trained = {step: values["checkpoint"] for step, values in context.inputs.items() if "checkpoint" in values}
    subjects = [
        Subject(step, load_model(store, checkpoint, config.evaluation.weights, local_device()))
        for step, checkpoint in trained.items()
    ]
    pairs = list(islice(read_pairs(Store(store.uri(context.given("scenes")))), config.edits.pairs))
    with counting("edits") as on_images:
        outcomes = run_study(store, subjects, pairs, config.edit, config.edits, config.sampler, on_images)
    out = Store(store.uri(context.folder))
    show_table(write_report(store, out, outcomes, context.about), f"{len(pairs):,} pairs")
    files = tuple(f"{context.folder}/{file.path}" for file in out.walk())
    return Outputs(files=files, message=f"report: {store.uri(context.folder)}/report.html")


def require_weights(config: Config) -> None:
    """Raises ValueError where the networks that edits would be measured by cannot be had."""
    from unlatent.platform.edit_study.perception import require_perceptions

    require_perceptions(config.edits)


def files_of(store: Store, checkpoint: str) -> tuple[str, ...]:
    return tuple(f"{checkpoint}/{name}" for name in store.list(checkpoint))


def sweep_resources(config: Config) -> str:
    need, workers = trial_need(config.cluster), config.cluster.workers
    return amount("a trial" if workers == 1 else f"each of a trial's {workers} workers", need.cpus, need.gpus)


def training_resources(config: Config) -> str:
    workers = f"each of {config.cluster.workers} worker{'s' if config.cluster.workers > 1 else ''}"
    return amount(workers, config.cluster.cpus_per_worker, config.cluster.gpus_per_worker)


def serving_resources(config: Config) -> str:
    return amount("a replica", config.serve.cpus, config.serve.gpus)


def amount(what: str, cpus: float | None, gpus: float) -> str:
    """An amount of the cluster, in words; None is an equal share of its CPUs."""
    shown = "its share of all CPUs" if cpus is None else f"{cpus:g} CPU"
    return f"{what}: {shown}" + (f", {gpus:g} GPU" if gpus else "")


def as_they_are(settings: list[str], inputs: dict[str, dict[str, str]]) -> list[str]:
    return settings


NETWORK = ("model", "data", "train")
MEASURING = ("data", "evaluation", "sampler")


@dataclass(frozen=True, kw_only=True)
class Action:
    """What a step can do."""

    call: Callable[[Context], Outputs]
    reads: tuple[str, ...] = ()  # what of the config decides its outputs: `model`, or `serve.metric`
    settings: Callable[[list[str], dict[str, dict[str, str]]], list[str]] = as_they_are  # its own, with its inputs'
    takes: tuple[str, ...] = ()  # values that a step it needs must hand on
    gives: tuple[str, ...] = ()  # values that it hands on
    resources: Callable[[Config], str] = lambda config: "this process"
    require: Callable[[Config], None] = lambda config: None  # raises ValueError for what it could not work with
    on_ray: bool = False  # its work is done by Ray's workers
    in_torch: bool = False  # its work is done by torch in this process, which has one generator and one set of threads
    passing: bool = False  # leaves nothing that outlives the pipeline, and runs only for a step that will


ACTIONS = {
    "prepare_data": Action(
        call=prepare_data,
        reads=("data", *(f"evaluation.{name}" for name in ("extractor", "inception_file", "minimum_accuracy"))),
        in_torch=True,
    ),
    "sweep": Action(
        call=sweep,
        reads=(*NETWORK, "evaluation", "sampler"),
        gives=("sweep", "winner"),
        resources=sweep_resources,
        on_ray=True,
    ),
    "train": Action(
        call=train,
        reads=NETWORK,
        settings=with_winner,
        gives=("run_id", "checkpoint", "training_gflops"),
        resources=training_resources,
        on_ray=True,
    ),
    "draw_scenes": Action(call=draw_scenes, reads=("data",), gives=("scenes",)),
    "train_autoencoder": Action(
        call=train_autoencoder, reads=("data", "autoencoder"), gives=("autoencoder",), in_torch=True
    ),
    "train_on_latents": Action(
        call=train,
        reads=NETWORK,
        settings=on_latents,
        takes=("autoencoder", "training_gflops"),
        gives=("run_id", "checkpoint", "training_gflops"),
        resources=training_resources,
        on_ray=True,
    ),
    "evaluate": Action(call=evaluate, reads=MEASURING, takes=("run_id",), gives=("run_id",), in_torch=True),
    "select": Action(
        call=select, reads=(*MEASURING, "serve.metric"), gives=("checkpoint", "run_id", "metric", "value")
    ),
    "deploy": Action(
        call=deploy,
        reads=("edit",),
        takes=("checkpoint", "metric", "value"),
        gives=("url", "checkpoint"),
        resources=serving_resources,
        on_ray=True,
        passing=True,
    ),
    "request_images": Action(call=request_images, takes=("url", "checkpoint"), gives=("classes", "images")),
    "compare_edits": Action(
        call=compare_edits,
        reads=("edit", "edits", "sampler", "evaluation.weights", "about"),
        require=require_weights,
        takes=("scenes", "checkpoint"),
        in_torch=True,
    ),
    "report": Action(call=report, reads=("about",)),
}
