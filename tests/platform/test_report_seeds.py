"""What the report says of a sweep in which every setting has several seeds."""

import html
import re
from typing import Any

import pandas as pd
import pytest

from tests.report_rows import add_evaluation, add_grid, add_run, add_sweep
from unlatent.platform.report import write_report
from unlatent.platform.report.answer import headline
from unlatent.platform.report.caveats import caveats
from unlatent.platform.report.findings import read_sweep
from unlatent.platform.report.heat_map import heat_maps
from unlatent.platform.report.origin import pandas_lines
from unlatent.platform.report.points import records
from unlatent.platform.report.wording import with_deviation
from unlatent.platform.store import Store

WIDE, NARROW = {"patch_size": 4, "window": 4}, {"patch_size": 2, "window": 1}


def add_point(store: Store, name: str, fids: list[float], **columns: Any) -> None:
    """A run for each value, seeds from 0 up."""
    for seed, fid in enumerate(fids):
        add_run(store, f"{name}-{seed}", sweep="digits", point=name, seed=seed, **columns)
        add_evaluation(store, f"{name}-{seed}", fid=fid)


def said_of(store: Store) -> list[str]:
    sweep = read_sweep(store, "digits")
    return [text.replace("\u00a0", " ") for text in caveats(sweep, None)]


@pytest.fixture
def seeded(store: Store) -> Store:
    """p2/w1 has the best mean, and p4/w4 the best single run."""
    add_sweep(store, trials=6, seeds=3, budget="images")
    add_point(store, "narrow", [20.0, 21.0, 22.0], **NARROW)
    add_point(store, "wide", [12.0, 25.0, 38.0], **WIDE)
    return store


def test_settings_are_ranked_by_their_mean_and_named_by_their_best_run(seeded):
    rows = write_report(seeded, "report.html", "A report", "digits")

    assert (rows[0]["run"], rows[0]["fid"].replace("\u00a0", " ")) == ("narrow-0", "21.0 ± 1.0")
    page = html.unescape(seeded.read_bytes("report.html").decode()).replace("\u00a0", " ")
    assert "Patch size 2 with compaction window 1 has the best FID, 21.0 ± 1.0 over 3 seeds" in page
    assert "25.0 ± 13.0" in page


@pytest.mark.parametrize(
    ("narrow", "wide", "verdict"),
    [
        ([20.0, 21.0], [30.0, 31.0], "10.0 behind, more than values deviate over seeds (0.7)."),
        ([20.0, 24.0], [22.0, 23.0], "0.5 behind, within the deviation over seeds (2.8)"),
        ([20.0], [30.0], None),
        ([20.0, 24.0], [30.0], "8.0 behind, more than values deviate over seeds (2.8)."),
    ],
)
def test_says_whether_the_best_leads_by_more_than_seeds_deviate(store, narrow, wide, verdict):
    add_sweep(store, trials=len(narrow) + len(wide))
    add_point(store, "narrow", narrow, **NARROW)
    add_point(store, "wide", wide, **WIDE)

    said = " ".join(said_of(store))

    assert verdict in said if verdict else "behind" not in said and "One training seed" in said


def test_a_seed_that_failed_leaves_the_mean_and_is_told(store):
    add_sweep(store, trials=3, seeds=3)
    add_point(store, "narrow", [20.0, 22.0], **NARROW)
    add_run(store, "narrow-2", sweep="digits", point="narrow", seed=2, status="failed", error="diverged", **NARROW)

    sweep = read_sweep(store, "digits")

    assert sweep.best["fid"] == 21.0 and sweep.best["seeds"] == 2
    assert "The best setting's mean is over 2 of its 3 runs: 2 succeeded, 1 failed." in said_of(store)


def test_runs_stopped_early_are_in_no_mean(store):
    add_sweep(store, trials=2, seeds=2)
    add_point(store, "narrow", [20.0], **NARROW)
    add_run(store, "narrow-1", sweep="digits", point="narrow", seed=1, status="stopped_early", **NARROW)
    add_evaluation(store, "narrow-1", fid=90.0)

    assert read_sweep(store, "digits").best["fid"] == 20.0


def test_older_rows_have_a_point_for_every_run(store):
    add_sweep(store, trials=2)
    for seed in (0, 1):
        add_run(store, f"run-{seed}", sweep="digits", seed=seed)
        add_evaluation(store, f"run-{seed}", fid=20.0 + seed)

    sweep = read_sweep(store, "digits")

    assert sweep.seeds == 1 and list(sweep.points["run_id"]) == ["run-0", "run-1"]
    assert sweep.varying == ["seed"]


def test_settings_that_have_no_column_tell_points_apart_too(store):
    add_sweep(store, trials=4, seeds=2)
    for decay, fid in ((0.0, 20.0), (0.1, 19.0)):
        for seed in (0, 1):
            config = f"train: {{dropped_clip_norm: {decay}, seed: {seed}, ema_decays: [0.99]}}"
            add_run(store, f"run-{decay}-{seed}", sweep="digits", point=str(decay), seed=seed, config=config)
            add_evaluation(store, f"run-{decay}-{seed}", fid=fid)

    sweep = read_sweep(store, "digits")

    assert sweep.varying == ["dropped_clip_norm"]
    assert [sweep.label(point) for point in records(sweep.points)] == [
        "p4/w4 dropped_clip_norm=0.1",
        "p4/w4 dropped_clip_norm=0",
    ]
    assert "dropped_clip_norm" not in pandas_lines(store, sweep)  # the table has no such column


@pytest.mark.parametrize(("first", "second", "varying"), [((4, 4), (4, 4), []), ((4, 4), (2, 4), ["attention_width"])])
def test_the_attentions_width_is_named_where_it_does_not_follow(store, first, second, varying):
    add_sweep(store, trials=4)
    for index, (at_window_1, at_window_2) in enumerate((first, second)):
        add_run(store, f"one-{index}", sweep="digits", point=f"one-{index}", window=1, attention_width=at_window_1)
        add_run(store, f"two-{index}", sweep="digits", point=f"two-{index}", window=2, attention_width=at_window_2 * 8)

    assert read_sweep(store, "digits").varying == varying


def test_settings_that_go_together_are_called_as_the_sweep_calls_them(store):
    add_sweep(store)
    for variant, norm, fid in (("plain DiT", "layer", 9.0), ("+ RMSNorm", "rms", 5.0)):
        add_point(
            store, variant.replace(" ", "-"), [fid, fid + 1], variant=variant, norm=norm, window=1 + (norm == "rms")
        )
    sweep = read_sweep(store, "digits")

    assert sweep.varying == ["variant"]
    assert [sweep.label(point) for point in sweep.points.to_dict("records")] == ["+ RMSNorm", "plain DiT"]
    assert heat_maps(sweep) == []
    assert headline(sweep, None).startswith("“+ RMSNorm” has the best FID, 5.5")


def test_images_that_follow_from_a_budget_are_no_knob(store):
    add_sweep(store, trials=2, budget="training_gflops", total_gflops=900.0)
    add_point(store, "narrow", [20.0], **NARROW, total_images=1500)
    add_point(store, "wide", [21.0], **WIDE, total_images=4000)

    assert read_sweep(store, "digits").varying == []


def test_a_budget_of_computation_says_that_images_differ(store):
    add_sweep(store, trials=2, budget="training_gflops", total_gflops=900.0, total_images=None)
    add_point(store, "narrow", [20.0], **NARROW, images_seen=1500)
    add_point(store, "wide", [21.0], **WIDE, images_seen=4000)

    assert any(
        "the same computation, 900 training GFLOPs: from 1,500 to 4,000 images" in text for text in said_of(store)
    )
    write_report(store, "report.html", "A report", "digits")
    assert "900 training GFLOPs each, so of as many images as these allow" in store.read_bytes("report.html").decode()


def test_why_a_trial_was_stopped_is_shown(seeded):
    add_run(seeded, "cut", sweep="digits", point="cut", status="stopped_early", stopped_because="fid 90 at 500 images")

    write_report(seeded, "report.html", "A report", "digits")

    assert "fid 90 at 500 images" in seeded.read_bytes("report.html").decode()


def test_the_samples_are_those_of_the_best_run_in_the_tables_order(seeded):
    for name in ("wide-0", "wide-2", "narrow-0", "narrow-2"):
        add_grid(seeded, name)

    write_report(seeded, "report.html", "A report", "digits")

    shown = re.findall(r'<figure id="point-([^"]+)">', seeded.read_bytes("report.html").decode())
    assert shown == ["narrow-0", "wide-0"]


def test_the_pandas_lines_make_the_means(seeded):
    write_report(seeded, "report.html", "A report", "digits")
    page = seeded.read_bytes("report.html").decode()

    *lines, last = html.unescape(re.search(r"<pre[^>]*><code>(.*?)</code>", page, re.DOTALL)[1]).splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    table: pd.DataFrame = eval(last, names)

    assert list(table["run_id"])[:3] == ["narrow-0", "narrow-1", "narrow-2"]
    assert table["mean"].iloc[0] == 21.0 and table["std"].iloc[-1] == 13.0


@pytest.mark.parametrize(
    ("metric", "value", "deviation", "text"),
    [
        ("fid", 1.2714, 0.0463, "1.27 ± 0.05"),
        ("fid", 1.2714, 0.0003, "1.27 ± 0.0003"),
        ("fid", 1234.5, 12.3, "1,234 ± 12"),
        ("fid", 1.2714, None, "1.27"),
        ("fid", None, 0.1, "–"),
        ("class_agreement", 0.9, 0.012, "90.0 ± 1.2 %"),
    ],
)
def test_a_deviation_is_as_fine_as_its_mean(metric, value, deviation, text):
    assert with_deviation(metric, value, deviation).replace("\u00a0", " ") == text
