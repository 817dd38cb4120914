"""The command line, as a user types it."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import pytest

from unlatent.pipelines.__main__ import run_command
from unlatent.platform import lost_runs, tables
from unlatent.platform.provenance import now
from unlatent.platform.serving.requests import EditRequest
from unlatent.platform.store import Store
from unlatent.platform.training import Worker, train


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def unlatent(capsys, monkeypatch, tmp_path) -> Callable[..., Done]:
    """Runs a command as the console script does, in this process (a new one takes seconds to import PyTorch)."""

    def run(*arguments: str) -> Done:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["unlatent", *arguments])
        return Done(run_command(), *capsys.readouterr())

    return run


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "model.patch_size=3"], "patch_size=3 does not divide image_size=8; 1, 2, 4 or 8 would"),
        (["train", "train.batchsize=3"], "train.batchsize is not a key of the config; did you mean train.batch_size?"),
        (["train", "data=imagefolder", "data.root=nowhere"], "nowhere is not a folder"),
        (["sweep", "nothing"], "'nothing' is neither a definition in sweeps/"),
        (["run", "nothing"], "'nothing' is neither a definition in pipelines/"),
        (["run", "quickstart", "--force", "trian"], "--force trian: no step of quickstart is called so; did you mean "),
        (["run", "quickstart", "--at-once", "0"], "--at-once=0 is below 1"),
        (["plan", "quickstart", "sweep.metric=beauty"], "sweep.metric='beauty' is not one of"),
        (["evaluate", "nothing"], "'nothing' is neither a run nor a checkpoint's path in"),
        (["results", "nothing"], "table='nothing' is not one of runs, steps"),
        (["serve"], "no checkpoint in"),
        (["deploy", "model.autoencoder=vae"], "where encoder and autoencoder lie is told to `unlatent serve`"),
        (["train", "model.text.instruction=nowhere"], "model.text.instruction=nowhere cannot be read: "),
        (["generate", "--class", "3"], "no checkpoint in"),
        (["report"], "holds no results"),
        (["report", "digits"], "holds no results"),
    ],
)
def test_what_cannot_work_is_one_line_and_writes_nothing(unlatent, tmp_path, arguments, named):
    done = unlatent(*arguments)

    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ") and named in line
    assert list(tmp_path.iterdir()) == [], "nothing was written"


def test_every_command_has_help_with_an_example(unlatent):
    listed = unlatent("--help").stdout
    commands = ["train", "sweep", "evaluate", "generate", "serve", "results", "runs", "diff", "report"]
    for command in [*commands, "run", "plan", "config"]:
        assert command in listed
        assert f"unlatent {command} " in unlatent(command, "--help").stdout or command == "serve"


def test_help_promises_nothing_of_a_mask_that_latents_do_not_keep(unlatent):
    said = " ".join(unlatent("edit", "--help").stdout.replace("│", " ").split())

    described = [
        str(item.description) for name, item in EditRequest.model_fields.items() if name in ("mask", "keep_background")
    ]
    assert len(described) == 2 and said.count("of a model on latents, all of it goes through the autoencoder") == 2
    assert all("of a model on latents, all of it goes through the autoencoder" in each for each in described)


def test_config_prints_what_a_command_would_use(unlatent, tmp_path):
    done = unlatent("config", "train", "model.patch_size=2", f"store={tmp_path}")

    assert "patch_size: 2" in done.stdout and f"store: {tmp_path}" in done.stdout


def test_config_knows_every_command_by_the_name_that_one_types(unlatent):
    for command in ("train", "train-autoencoder", "results", "runs", "diff"):
        assert unlatent("config", command).returncode == 0

    done = unlatent("config", "dance")

    assert done.returncode == 2 and "'dance' is not one of the commands train, sweep," in done.stderr


def test_an_override_is_no_folder_for_scenes(unlatent, tmp_path):
    done = unlatent("data", "scenes", "train.seed=1")

    assert done.returncode == 2 and "train.seed=1 looks like an override, and scenes take options alone" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_results_filters_sorts_and_exports(unlatent, store, row_of, tmp_path):
    for name, loss in (("a", 0.5), ("b", 0.25), ("c", 0.75)):
        tables.replace(store, "runs", row_of("runs", run_id=name, loss=loss, status="succeeded", started_at=now()))

    asked = [
        "results",
        "runs",
        f"store={store.root}",
        "--where",
        "loss < 0.6",
        "--sort",
        "loss",
        "--columns",
        "run_id,loss",
    ]
    printed = unlatent(*asked)
    exported = unlatent(*asked, "--json")
    written = unlatent(*asked, "--parquet", str(tmp_path / "out.parquet"))

    assert printed.returncode == exported.returncode == written.returncode == 0
    assert "0.25" in printed.stdout and "0.75" not in printed.stdout
    assert [json.loads(line) for line in exported.stdout.splitlines()] == [
        {"run_id": "b", "loss": 0.25},
        {"run_id": "a", "loss": 0.5},
    ]
    assert list(pd.read_parquet(tmp_path / "out.parquet")["run_id"]) == ["b", "a"]


@pytest.fixture
def three_runs(store, row_of) -> str:
    """The override that names a store of three runs, one of them measured with fewer samples."""
    for name, fid, samples in (("a", 3.0, 500), ("b", 2.0, 500), ("c", 1.0, 100)):
        of_checkpoint = {"run_id": name, "checkpoint_hash": name}
        run = row_of("runs", **of_checkpoint, config=f"train: {{seed: 0, run: {name}}}", status="succeeded")
        tables.replace(store, "runs", run)
        row = row_of("evaluations", **of_checkpoint, metric="fid", value=fid, samples=samples)
        tables.append(store, "evaluations", [row])
    return f"store={store.root}"


def test_results_ranks_what_was_measured_alike_and_says_how(unlatent, three_runs, tmp_path):
    asked = ["results", "runs", three_runs, "--best", "fid"]
    alike = [*asked, "--where", "samples == 500"]

    refused, printed, best = unlatent(*asked), unlatent(*alike), unlatent(*alike, "--limit", "1", "--json")
    written = unlatent(*alike, "--limit", "1", "--columns", "run_id,fid", "--parquet", str(tmp_path / "best.parquet"))

    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1
    assert 'samples: 100, 500; --where "samples == 500" leaves one, of 2 rows' in refused.stderr
    assert "runs by fid, the best first: 2 of 2 rows" in printed.stdout and "samples 500" in printed.stdout
    assert printed.stdout.index(" b ") < printed.stdout.index(" a ")
    [line] = best.stdout.splitlines()
    assert (json.loads(line)["run_id"], json.loads(line)["fid"]) == ("b", 2.0)
    assert written.returncode == 0
    assert pd.read_parquet(tmp_path / "best.parquet").to_dict("records") == [{"run_id": "b", "fid": 2.0}]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--best", "fid", "--sort", "loss"], "--best fid puts rows into an order, and so does --sort loss"),
        (["--by", "point"], "--by point needs --best METRIC"),
        (["--best", "fid", "--where", "samples == 500", "--columns", "fdi"], "column 'fdi' is not one of run_id"),
    ],
)
def test_options_of_results_that_contradict_each_other_are_refused(unlatent, three_runs, options, said):
    done = unlatent("results", "runs", three_runs, *options)

    assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_limit_holds_for_exports_where_it_is_given(unlatent, three_runs):
    exports = [unlatent("results", "runs", three_runs, "--csv", *limit).stdout for limit in ([], ["--limit", "2"])]

    assert [len(text.splitlines()) for text in exports] == [4, 3], "a line of names, and the rows"


def test_diff_shows_what_differs_and_which_values_may_not_be_compared(unlatent, three_runs):
    alike, otherwise = unlatent("diff", "a", "b", three_runs), unlatent("diff", "a", "c", three_runs)
    rows = [json.loads(line) for line in unlatent("diff", "a", "b", three_runs, "--json").stdout.splitlines()]

    assert alike.returncode == otherwise.returncode == 0
    assert "settings: 1 of 2 differ" in alike.stdout and "train.run" in alike.stdout
    assert "provenance: 0 of" in alike.stdout and "-1 (-33.3%)" in alike.stdout
    assert "fid: measured in different ways: they differ in samples: 100, 500" in otherwise.stdout
    assert [(row["part"], row["name"], row["difference"]) for row in rows] == [
        ("setting", "train.run", None),
        ("metric", "fid", -1.0),
    ]
    assert "train.seed" in unlatent("diff", "a", "b", three_runs, "--all").stdout


def test_diff_of_an_unknown_run_names_a_near_one(unlatent, three_runs):
    done = unlatent("diff", "a", "bb", three_runs)

    assert done.returncode == 2 and "run='bb' is not in" in done.stderr and len(done.stderr.splitlines()) == 1


def test_runs_lists_what_runs_what_has_ended_and_what_is_lost(unlatent, store, make_run, row_of, noon):
    train(make_run("train.run=mine"), store, Worker())
    dead = row_of("runs", run_id="dead", status="running", images_seen=128, total_images=256, started_at=noon)
    gone = {"host": socket.gethostname(), "pid": 4_000_000, "process_started_at": noon}
    tables.replace(store, "runs", dead | gone)

    done = unlatent("runs", f"store={store.root}")

    assert done.returncode == 0 and "2 of 2 runs" in done.stdout
    mine, dead = (line for line in done.stdout.splitlines() if "of 256" in line)
    assert "mine" in mine and "succeeded" in mine and "256 of 256" in mine
    assert "dead" in dead and "lost" in dead and "128 of 256" in dead


@pytest.mark.parametrize(
    ("option", "named"),
    [(["--sort", "los"], "column 'los' is not one of run_id"), (["--where", "loss <"], "--where 'loss <'")],
)
def test_results_says_what_is_wrong_with_a_filter(unlatent, store, row_of, option, named):
    tables.replace(store, "runs", row_of("runs", run_id="a"))

    done = unlatent("results", "runs", f"store={store.root}", *option)

    assert done.returncode == 2 and named in done.stderr and len(done.stderr.splitlines()) == 1


def test_generate_writes_an_image_for_each_class_asked_for(unlatent, store, make_run, tmp_path):
    train(make_run("train.run=mine"), store, Worker())

    asked = ["generate", "--checkpoint", "mine", "--class", "3", "--class", "7", "--count", "2", f"store={store.root}"]
    done = [unlatent(*asked, "--out", str(tmp_path / folder), "sampler.steps=2") for folder in ("one", "two")]

    assert [each.returncode for each in done] == [0, 0]
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["3-0.png", "3-1.png", "7-2.png", "7-3.png"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_unknown_class_names_those_there_are(unlatent, store, make_run, tmp_path):
    train(make_run("train.run=mine"), store, Worker())

    asked = [
        "generate",
        "--checkpoint",
        "mine",
        "--class",
        "eleven",
        f"store={store.root}",
        "--out",
        str(tmp_path / "x"),
    ]
    done = unlatent(*asked)

    assert done.returncode == 2 and "'eleven' is not one of the model's 10 classes: 0, 1, 2" in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("settings", "negative", "named"),
    [
        ([], "eleven", "'eleven' is not one of the model's 10 classes"),
        (["sampler.guidance=1"], "7", "negative_prompt has no effect without guidance; guidance=2 would do"),
        (
            ["sampler.guidance=2", "sampler.steps=2", "sampler.guidance_low=0.9"],
            "7",
            "negative_prompt has no effect without guidance; a wider guidance interval, or more steps, would do",
        ),
    ],
)
def test_a_negative_prompt_that_would_change_nothing_is_refused_by_generate(
    unlatent, store, make_run, tmp_path, settings, negative, named
):
    train(make_run("train.run=mine"), store, Worker())

    asked = ["generate", "--checkpoint", "mine", "--class", "3", "--negative-prompt", negative, f"store={store.root}"]
    done = unlatent(*asked, "--out", str(tmp_path / "x"), *settings)

    assert done.returncode == 2 and named in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("arguments", [["dance"], ["train", "--dance"], ["sweep"]])
def test_a_command_line_that_cannot_be_read_exits_with_2(unlatent, arguments):
    done = unlatent(*arguments)

    assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("number", "command"), [(signal.SIGINT, "train"), (signal.SIGTERM, "sweep digits")])
def test_stopping_says_how_to_go_on(tmp_path, number, command):
    started = subprocess.Popen(
        [sys.executable, "-m", "unlatent.pipelines", *command.split()], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    store, deadline = Store(tmp_path / "store"), time.monotonic() + 60
    while tables.read(store, "runs").empty:
        assert started.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)

    started.send_signal(number)
    out, _ = started.communicate(timeout=60)

    assert started.returncode == 130
    assert "stopped; the same command goes on from here" in out
    wait_until_gone(store)
    assert set(tables.read(store, "runs")["status"]) == {"lost"}


def wait_until_gone(store: Store) -> None:
    deadline = time.monotonic() + 30
    while (tables.read(store, "runs")["status"] == "running").any() and time.monotonic() < deadline:
        lost_runs.mark_lost(store)
        time.sleep(0.2)
