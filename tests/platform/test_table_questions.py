"""The answers in docs/tables.md, each run in pandas and in DuckDB, on a store as one finds it after some releases."""

import math
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from unlatent.platform import tables
from unlatent.platform.schemas import TABLES
from unlatent.platform.selection import COMPARABLE_IN

DOC = Path(__file__).parents[2] / "docs" / "tables.md"
YOUNGER = {
    "runs": ["stopped_because", "seed"],
    "steps": ["alignment_loss", "mfu"],
    "evaluations": ["extractor_accuracy"],
}
TRAINED = "train-b6eb493692"
CHECKPOINT = f"checkpoints/{TRAINED}/000000048000"


def blocks() -> dict[str, list[tuple[str, str]]]:
    """The languages and texts of the code blocks under each heading."""
    parts = re.split(r"^## (.+)$", DOC.read_text(), flags=re.M)[1:]
    return {
        heading: re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.M | re.S)
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


BLOCKS = blocks()
READING, WAYS, *_ = BLOCKS
QUESTIONS = [heading for heading in BLOCKS if heading != READING]


@pytest.fixture
def filled(store, row_of, noon, monkeypatch) -> Any:
    """A store of two sweeps over seeds and a longer run, some of it merged and some by a release with fewer columns."""
    monkeypatch.chdir(Path(store.root).parent)
    for row in run_rows(noon):
        tables.replace(store, "runs", row_of("runs", **row))
    for number, row in enumerate(evaluation_rows()):
        tables.append(store, "evaluations", [row_of("evaluations", **row)], f"{row['run_id']}.{number}")
    for number, row in enumerate(step_rows()):
        tables.append(store, "steps", [row_of("steps", **row)], f"{row['run_id']}.{number:012d}")
    for number, row in enumerate(pipeline_step_rows(noon)):
        tables.append(store, "pipeline_steps", [row_of("pipeline_steps", **row)], str(number))
    for table, columns in YOUNGER.items():
        names = sorted(tables.names(store, table))
        make_old(store, table, names[0], columns)
        assert tables.compact(store, table, frozenset(names[2::2])) > 1
        store.write_bytes(f"results/{table}/.cut-off.parquet.0f", b"half of a file")  # as a killed writer leaves it
    tables.replace(store, "runs", tables.row(store, "runs", "digits-ad7f6754bc"))  # merged or not: its own again
    return store


def make_old(store, table: str, name: str, columns: list[str]) -> None:
    """A file as it was written before there were these columns."""
    path = store.local(tables.file(table, name))
    pq.write_table(pq.read_table(path).drop_columns(columns), path)


def run_rows(noon) -> list[dict[str, Any]]:
    def trial(run_id: str, sweep: str, seed: int, patch: int, window: int, gflops: float, **more: Any) -> dict:
        ended = {"status": "succeeded", "images_seen": 16_000, "checkpoint_hash": f"last of {run_id}"}
        knobs = {"patch_size": patch, "window": window, "attention": True, "width": 64, "batch_size": 32}
        cost = {"forward_gflops": gflops, "training_gflops": gflops * 48_000, "duration_s": 10.0}
        speed = {"device": "CPU", "workers": 1, "images_per_s": 16 / gflops, "peak_memory_bytes": int(1e11 * gflops)}
        identity = {"run_id": run_id, "sweep": sweep, "seed": seed, "point": f"p{patch}w{window}", "started_at": noon}
        origin = {"git_commit": "abc", "code_version": f"version {seed}", "host": "one"}
        return {**identity, **knobs, **ended, **cost, **speed, **origin, **more}

    failed = {"status": "failed", "images_seen": 2_000, "checkpoint_hash": None, "error": "MemoryError: too much"}
    stopped = {"status": "stopped_early", "images_seen": 8_000, "stopped_because": "fid 9 was above 4"}
    return [
        trial("digits-538985de9d", "digits", 0, 4, 1, 0.010),
        trial("digits-ad7f6754bc", "digits", 0, 4, 4, 0.004, attention=False, learning_rate=0.001),
        trial("digits-22", "digits", 0, 2, 2, 0.008),
        trial("digits-21", "digits", 0, 2, 1, 0.016, **failed, training_gflops=100.0, duration_s=2.0),
        trial("again-41", "digits_again", 1, 4, 1, 0.010),
        trial("again-44", "digits_again", 1, 4, 4, 0.004, attention=False),
        trial("again-22", "digits_again", 1, 2, 2, 0.008, **stopped, training_gflops=200.0, duration_s=4.0),
        trial(TRAINED, None, 0, 4, 1, 0.010, images_seen=48_000, point="longer", batch_size=64),
        trial("aaa-old", None, None, 4, 1, 0.010, status="lost", checkpoint_hash=None, point=None),
    ]  # by its name the old one's file comes first


def evaluation_rows() -> list[dict[str, Any]]:
    way = {"metric": "fid", "weights": "ema", "sampler": "ab2", "steps": 12, "guidance": 2.0, "reference": "r"}
    way |= {"feature_extractor": "classifier:d", "precision": "fp32", "shift": 1.0, "extractor_accuracy": 0.9}
    way |= {"guidance_low": 0.1, "guidance_high": 0.9}

    def row(run_id: str, value: float, images: int = 16_000, last: bool = True, **more: Any) -> dict[str, Any]:
        of_hash = f"last of {run_id}" if last else f"{images} of {run_id}"
        checkpoint = {"checkpoint": f"checkpoints/{run_id}/{images:012d}", "checkpoint_hash": of_hash}
        return {"run_id": run_id, **checkpoint, "images_seen": images, "value": value, **way, **more}

    usual = {"samples": 500, "seed": 0}
    return [
        row("digits-538985de9d", 2.5, 8_000, last=False, **usual),
        row("digits-538985de9d", 1.0, **usual),
        row("digits-ad7f6754bc", 1.4, 8_000, last=False, **usual),
        row("digits-ad7f6754bc", 1.5, **usual),
        row("digits-22", 3.0, **usual),
        row("again-41", 1.4, **usual),
        row("again-44", 1.3, **usual),
        row("again-22", 9.0, 8_000, **usual),
        row(TRAINED, 0.8, 48_000, **usual),
        row(TRAINED, 0.6, 48_000, samples=500, seed=1),
        row(TRAINED, 2.0, 48_000, samples=100, seed=0),
        row(TRAINED, 1.0, 48_000, samples=100, seed=1),
        row("digits-22", 0.1, samples=500, seed=0, metric="kid"),
    ]


def step_rows() -> list[dict[str, Any]]:
    def row(run_id: str, images: int, loss: float, rate: float, waited: float) -> dict[str, Any]:
        told = {"loss": loss, "grad_norm": 2 * loss, "learning_rate": 0.001}
        return {"run_id": run_id, "images_seen": images, "images_per_s": rate, "data_wait_share": waited, **told}

    return [
        row("digits-538985de9d", 1_000, 1.0, 100.0, 0.0),
        row(TRAINED, 24_000, 0.75, 1_000.0, 0.5),
        row(TRAINED, 48_000, 0.5, 2_000.0, 0.25),
        row("digits-538985de9d", 2_000, 0.5, 100.0, 0.5),
        row("digits-22", 1_000, 0.5, 100.0, 0.125),
    ]


def pipeline_step_rows(noon) -> list[dict[str, Any]]:
    later = noon + timedelta(hours=1)
    done = {"action": "skipped", "reason": "done before under the same key"}
    return [
        {"pipeline": "quickstart", "step": "data", "action": "ran", "reason": "new", "started_at": noon},
        {"pipeline": "quickstart", "step": "train", **done, "started_at": later},
        {"pipeline": "quickstart", "step": "data", **done, "started_at": later},
        {"pipeline": "other", "step": "data", **done, "started_at": later},
    ]


def answers(question: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What pandas and DuckDB say, from the blocks as they are printed: those of reading, the way chosen, the answer."""
    names: dict[str, Any] = {}
    for _, text in BLOCKS[READING]:
        exec(text, names)
    (_, in_pandas), (_, in_sql), (_, chosen_in_pandas), (_, chosen_in_sql) = BLOCKS[WAYS]
    if question != WAYS:
        exec(chosen_in_pandas, names)
        names["db"].sql(chosen_in_sql)
        (_, in_pandas), (_, in_sql) = BLOCKS[question]
    exec(in_pandas, names)
    return names["answer"], names["db"].sql(in_sql).df()


def plain_rows(frame: pd.DataFrame) -> list[tuple]:
    return [tuple(plain(value) for value in row) for row in frame.itertuples(index=False)]


def plain(value: Any) -> Any:
    """Nulls of every kind as None, truths as SQL writes them, numbers without what binary fractions add to them."""
    if pd.isna(value):
        return None
    if value in ("True", "False"):
        return value.lower()
    return float(f"{value:.9g}") if isinstance(value, float) else value


WAY = ("classifier:d", "r", "ema", "fp32", "ab2", 12, 1.0, 2.0, 0.1, 0.9, None)
EXPECTED = {
    WAYS: [
        (*WAY, 100, 0, 1, 1),
        (*WAY, 100, 1, 1, 1),
        (*WAY, 500, 0, 7, 9),
        (*WAY, 500, 1, 1, 1),
    ],
    "Which patch size and window won, and at what cost?": [
        (4, 1, True, 0.010, 480.0, 1.0),
        (4, 4, False, 0.004, 192.0, 1.5),
        (2, 2, True, 0.008, 384.0, 3.0),
    ],
    "Which is the best checkpoint of each run?": [
        (TRAINED, 48_000, 0.8, CHECKPOINT),
        ("digits-538985de9d", 16_000, 1.0, "checkpoints/digits-538985de9d/000000016000"),
        ("again-44", 16_000, 1.3, "checkpoints/again-44/000000016000"),
        ("again-41", 16_000, 1.4, "checkpoints/again-41/000000016000"),
        ("digits-ad7f6754bc", 8_000, 1.4, "checkpoints/digits-ad7f6754bc/000000008000"),
        ("digits-22", 16_000, 3.0, "checkpoints/digits-22/000000016000"),
        ("again-22", 8_000, 9.0, "checkpoints/again-22/000000008000"),
    ],
    "How did one run learn?": [(24_000, 0.75, 1.5, 0.001, None), (48_000, 0.5, 1.0, 0.001, 0.8)],
    "Is that difference more than the seed?": [
        ("longer", 4, 1, True, 0.8, None, 1),
        ("p4w1", 4, 1, True, 1.2, plain(0.4 / math.sqrt(2)), 2),
        ("p4w4", 4, 4, False, 1.4, plain(0.2 / math.sqrt(2)), 2),
        ("p2w2", 2, 2, True, 3.0, None, 1),
    ],
    "Which runs came to no good end, and why?": [
        ("aaa-old", "lost", 16_000, None, None, "one"),
        ("again-22", "stopped_early", 8_000, None, "fid 9 was above 4", "one"),
        ("digits-21", "failed", 2_000, "MemoryError: too much", None, "one"),
    ],
    "How fast is each patch size, and what memory does it take?": [
        ("CPU", 1, 32, 2, 1, 2_000.0, 0.8),
        ("CPU", 1, 32, 4, 4, 2_800.0, 1.0),
        ("CPU", 1, 64, 4, 1, 1_600.0, 1.0),
    ],
    "Where did time go into waiting for data?": [
        (TRAINED, 36.0, 15.0, plain(15 / 36)),
        ("digits-538985de9d", 20.0, 5.0, 0.25),
        ("digits-22", 10.0, 1.25, 0.125),
    ],
    "What changed between two runs?": [
        ("attention", "true", "false"),
        ("learning_rate", "null", "0.001"),
        ("window", "1", "4"),
    ],
    "How noisy is FID, and how much of it is the number of samples?": [
        ("ab2", 12, 2.0, "ema", "classifier:d", 100, 2, 1.5, plain(1 / math.sqrt(2))),
        ("ab2", 12, 2.0, "ema", "classifier:d", 500, 2, 0.7, plain(0.2 / math.sqrt(2))),
    ],
    "Which steps of a pipeline were skipped, and why?": [
        (pd.Timestamp("2026-01-01 13:00", tz="UTC"), "data", "done before under the same key"),
        (pd.Timestamp("2026-01-01 13:00", tz="UTC"), "train", "done before under the same key"),
    ],
    "How much computation did each sweep spend?": [
        ("digits", 4, 480.0 + 192 + 384 + 100, 32.0),
        ("digits_again", 3, 480.0 + 192 + 200, 24.0),
    ],
    "Which trials does no other beat in both quality and cost?": [
        ("digits-ad7f6754bc", 4, 4, False, 0.004, 1.5),
        ("digits-538985de9d", 4, 1, True, 0.010, 1.0),
    ],
}


def test_every_question_is_answered_in_both_and_has_an_answer_here():
    assert set(QUESTIONS) == set(EXPECTED) and len(QUESTIONS) >= 10
    assert [language for language, _ in BLOCKS[READING]] == ["python", "python"]
    assert [language for language, _ in BLOCKS[WAYS]] == ["python", "sql", "python", "sql"]
    for question in QUESTIONS[1:]:
        assert [language for language, _ in BLOCKS[question]] == ["python", "sql"], question


def test_the_ways_of_measuring_are_told_by_all_that_a_value_depends_on(filled):
    for frame in answers(WAYS):
        assert set(frame.columns) == {*COMPARABLE_IN, "runs", "checkpoints"}


@pytest.mark.parametrize("question", QUESTIONS)
def test_pandas_and_duckdb_give_the_right_answer(filled, question):
    in_pandas, in_sql = answers(question)

    assert list(in_pandas.columns) == list(in_sql.columns)
    assert plain_rows(in_pandas) == EXPECTED[question]
    assert plain_rows(in_sql) == EXPECTED[question]


@pytest.mark.parametrize("table", YOUNGER)
def test_the_store_has_merged_files_files_of_their_own_and_files_without_the_younger_columns(filled, table):
    files = sorted(filled.local(f"results/{table}").glob("*.parquet"))
    columns = [set(pq.read_schema(path).names) for path in files]

    assert [path.name.startswith("merged+") for path in files].count(True) == 1 and len(files) > 3
    assert columns[0] == set(TABLES[table].schema.names) - set(YOUNGER[table]) and set(YOUNGER[table]) <= columns[1]


@pytest.mark.parametrize("table", YOUNGER)
def test_columns_that_the_first_file_lacks_are_there_in_both_readers_and_null_in_its_rows(filled, table):
    names: dict[str, Any] = {}
    for _, text in BLOCKS[READING]:
        exec(text, names)
    frames = [names["table"](table), names["db"].sql(f"FROM {table}").df()]

    for frame in frames:
        assert set(frame.columns) == set(TABLES[table].schema.names)
        assert len(frame) == len(tables.read(filled, table))
    assert set(YOUNGER[table]) & set(pd.read_parquet(f"store/results/{table}").columns) == set(), "why the doc says so"


def test_a_store_without_pipelines_can_be_asked_too(filled):
    filled.delete("results/pipeline_steps")

    in_pandas, in_sql = answers("Which patch size and window won, and at what cost?")

    assert len(in_pandas) == len(in_sql) == 3


def test_a_row_that_was_merged_and_has_changed_since_is_there_once(filled):
    changed = tables.row(filled, "runs", "digits-22") | {"status": "failed", "error": "looked at again"}
    tables.replace(filled, "runs", changed)

    for frame in answers("Which runs came to no good end, and why?"):
        assert list(frame["run_id"]).count("digits-22") == 1
