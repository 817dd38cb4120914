"""The report over a store written by hand: three trials, a failure, and a run trained longer."""

import base64
import contextlib
import html.parser
import io
import re
from typing import Any

import pandas as pd
import pytest

from tests.report_rows import add_evaluation, add_run, add_steps, add_sweep, png
from unlatent.platform.report import write_report
from unlatent.platform.store import Store

PATH = "artifacts/report.html"


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def swept(store: Store) -> Store:
    """p2/w1 has the best FID, p4/w2 is within a tenth of it for half the cost, p4 without attention is far off."""
    add_sweep(store, trials=4, pruned=2, failed=1)
    for run_id, knobs, gflops, fid in (
        ("far", {"patch_size": 4, "window": 4, "attention": False}, 0.01, 60.0),
        ("near", {"patch_size": 4, "window": 2}, 0.02, 21.0),
        ("best", {"patch_size": 2, "window": 1}, 0.04, 20.0),
    ):
        add_run(store, run_id, sweep="digits", forward_gflops=gflops, **knobs)
        add_evaluation(store, run_id, fid=fid, kid=fid / 1000, class_agreement=0.9)
        add_steps(store, run_id)
    add_run(
        store, "failed", sweep="digits", status="failed", error="FloatingPointError: <b>nan</b>", checkpoint_hash=None
    )
    return store


def written(store: Store, **options: Any) -> str:
    write_report(store, PATH, "A report", **options)
    return store.read_bytes(PATH).decode()


def text_of(page: str) -> str:
    """What a reader sees, without the pictures."""
    body = re.sub(r"<(style|svg).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


class Tags(html.parser.HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_answer_names_the_winner_and_what_comes_near_it_for_less(swept):
    text = text_of(written(swept, sweep="digits"))

    assert "Patch size 2 with compaction window 1 has the best FID, 20.0, at 0.0400 GFLOPs an image" in text
    assert "patch size 4 with compaction window 2 comes within 10 % of it (21.0) with 2.0 times less compute" in text


def test_a_fid_on_a_classifier_is_never_passed_off_as_an_inception_fid(swept):
    text = text_of(written(swept, sweep="digits"))

    assert (
        "Measured on the features of the digits classifier (held-out accuracy 98.5 %), from 1,000 generated images"
        in text
    )
    assert "not an Inception FID" in text


def test_trials_stand_best_first_and_failures_with_their_error(swept):
    page = written(swept, sweep="digits")

    text = text_of(page)
    assert text.index("20.0 0.0200 90.0 %") < text.index("21.0 0.0210 90.0 %") < text.index("60.0 0.0600 90.0 %")
    assert "Of 4 trials 3 succeeded; 1 failed." in text
    assert "2 combinations that cannot work left out" in text


def test_text_from_the_tables_never_becomes_markup(swept):
    page = written(swept, sweep="digits", requests={"<b>bold</b>": png(0)}, about="<i>about</i>")

    assert "FloatingPointError: &lt;b&gt;nan&lt;/b&gt;" in page
    tags = [tag for tag, _ in Tags(page).found]
    assert not {"b", "i"} & set(tags)
    assert tags.count("script") == 1  # the page's own


def test_the_page_needs_no_other_file(swept):
    page = written(swept, sweep="digits", requests={"3": png(0)})

    links = [
        value for _, attributes in Tags(page).found for name, value in attributes.items() if name in {"src", "href"}
    ]
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not {"link", "iframe"} & {tag for tag, _ in Tags(page).found}
    assert "url(http" not in page and "@import" not in page


def test_the_pandas_lines_make_the_table_of_trials(swept):
    page = written(swept, sweep="digits")

    *lines, last = html.unescape(re.search(r"<pre[^>]*><code>(.*?)</code>", page, re.DOTALL)[1]).splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    table: pd.DataFrame = eval(last, names)

    assert list(table["run_id"]) == ["best", "near", "far", "failed"]
    assert list(table["fid"])[:3] == [20.0, 21.0, 60.0]


def test_values_measured_in_another_way_are_not_ranked(swept):
    add_run(swept, "other", sweep="digits", patch_size=1, window=1, forward_gflops=0.5)
    add_evaluation(swept, "other", {"samples": 50_000}, fid=1.0)

    text = text_of(written(swept, sweep="digits"))

    assert "Patch size 2 with compaction window 1 has the best FID" in text
    assert "1 trial measured in another way only, so not ranked: they differ in samples: 1000, 50000." in text


def test_a_value_of_an_earlier_checkpoint_is_not_the_trials(swept):
    add_run(swept, "longer", sweep="digits", patch_size=1, window=1)
    add_evaluation(swept, "longer", {"checkpoint_hash": "an earlier one"}, fid=1.0)

    assert "Patch size 2" in text_of(written(swept, sweep="digits"))


def test_a_trial_stopped_early_is_shown_and_not_ranked(swept):
    add_run(swept, "stopped", sweep="digits", status="stopped_early", images_seen=500, patch_size=1, window=1)
    add_evaluation(swept, "stopped", {"images_seen": 500}, fid=1.0)

    text = text_of(written(swept, sweep="digits"))

    assert "Patch size 2" in text
    assert "1 stopped early" in text


def test_the_run_shows_its_first_middle_and_last_grid_and_the_answers_by_class(swept):
    add_run(swept, "long", images_seen=5000, patch_size=2, window=1)
    add_evaluation(swept, "long", {"images_seen": 5000}, fid=9.5, class_agreement=0.97)
    add_steps(swept, "long")
    grids = {images: png(images // 20) for images in range(1000, 5001, 1000)}
    for images, picture in grids.items():
        swept.write_bytes(f"artifacts/long/samples/{images:012d}.png", picture)
    answers = {str(digit): png(100 + digit) for digit in range(10)}

    page = written(swept, sweep="digits", run_id="long", requests=answers)

    pictures = {attributes["alt"]: attributes["src"] for tag, attributes in Tags(page).found if tag == "img"}
    shown = {name: base64.b64decode(source.partition(",")[2]) for name, source in pictures.items()}
    expected = {f"Samples after {images:,} images": grids[images] for images in (1000, 3000, 5000)}
    assert shown == expected | {f"The endpoint's image of class {name}": picture for name, picture in answers.items()}
    assert "Trained on 5,000 images, p2/w1 reaches FID 9.50, measured in the same way." in text_of(page)


def test_a_run_is_credited_with_the_images_its_measured_checkpoint_had_seen(swept):
    add_run(swept, "long", images_seen=5000)
    add_evaluation(swept, "long", {"images_seen": 4000, "checkpoint_hash": "an earlier one"}, fid=9.5)

    assert "Trained on 4,000 images, p4/w4 reaches FID 9.50" in text_of(written(swept, sweep="digits", run_id="long"))


def test_a_run_measured_otherwise_is_not_set_beside_the_trials(swept):
    add_run(swept, "long", images_seen=5000)
    add_evaluation(swept, "long", {"guidance": 4.0}, fid=9.5)

    text = text_of(written(swept, sweep="digits", run_id="long"))

    assert "has not been measured in the way the trials were" in text
    assert "Guidance 4 for 0.1 < t < 0.9" in text


def test_says_where_the_numbers_came_from(swept):
    text = text_of(written(swept, sweep="digits"))

    for origin in (
        "abc123, with changes of its own",
        "v1",
        "bench",
        "digits, hash d1",
        "config-best",
        "hash-near",
        "r1",
    ):
        assert origin in text


def test_the_summary_has_the_best_the_cheapest_near_it_and_the_cheapest(swept):
    rows = write_report(swept, PATH, "A report", sweep="digits")

    assert [(row["run"], row["setting"], row["fid"]) for row in rows] == [
        ("best", "p2/w1", "20.0"),
        ("near", "p4/w2", "21.0"),
        ("far", "p4, no attention", "60.0"),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Nothing has been trained yet."),
        ({"sweep": "other"}, "No sweep called other is in the tables."),
        ({"run_id": "other"}, "No run called other is in the tables."),
    ],
)
def test_what_is_not_there_is_said(store, options, said):
    assert said in text_of(written(store, **options))


def test_a_sweep_that_has_just_begun(store):
    add_sweep(store, status="running", trials=4)

    text = text_of(written(store, sweep="digits"))

    assert "No answer yet: none of 4 trials has its FID measured." in text
    assert "The sweep is still running." in text


def test_a_sweep_half_way_answers_for_now(swept):
    add_sweep(swept, status="running", trials=6)
    add_run(swept, "going", sweep="digits", status="running", checkpoint_hash=None)

    text = text_of(written(swept, sweep="digits"))

    assert "So far, patch size 2" in text
    assert "Of 6 trials 3 succeeded; 1 failed, 1 running and 1 waiting." in text


def test_a_sweep_without_its_own_row(swept):
    swept.delete("results/sweeps")

    text = text_of(written(swept, sweep="digits"))

    assert "the row of the sweep itself is missing" in text
    assert "has the best FID, 20.0" in text


def test_a_run_without_steps_grids_or_evaluations(store):
    add_run(store, "bare", checkpoint_hash=None)

    text = text_of(written(store, run_id="bare"))

    assert "has not been measured yet" in text
    assert "No training step of bare is in the tables." in text
    assert "It has left no grids of samples." in text


def test_trials_with_other_knobs_are_told_apart(swept):
    add_run(swept, "layer", sweep="digits", norm="layer", patch_size=2, window=1)
    add_evaluation(swept, "layer", fid=15.0)

    text = text_of(written(swept, sweep="digits"))

    assert "Patch size 2 with compaction window 1, norm layer has the best FID, 15.0" in text


def test_patch_sizes_alone(store):
    add_sweep(store, trials=2)
    for patch_size in (2, 4):
        knobs = {"patch_size": patch_size, "window": patch_size, "attention": False}
        add_run(store, f"p{patch_size}", sweep="digits", forward_gflops=1 / patch_size, **knobs)
        add_evaluation(store, f"p{patch_size}", fid=5.0 * patch_size)

    page = written(store, sweep="digits")

    assert "Patch size 2 without attention between pixel tokens has the best FID, 10.0" in text_of(page)
    assert page.count("<svg") == 2  # of quality against computation and memory; there are no windows to compare


def test_a_metric_of_which_more_is_better(store):
    add_sweep(store, trials=2, metric="class_agreement", direction="max")
    for run_id, patch_size, agreement in (("low", 2, 0.5), ("high", 4, 0.9)):
        add_run(store, run_id, sweep="digits", patch_size=patch_size)
        add_evaluation(store, run_id, class_agreement=agreement)

    assert "has the best class agreement, 90.0 %" in text_of(written(store, sweep="digits"))


def test_leaves_matplotlib_as_it_was(swept):
    import matplotlib

    before = dict(matplotlib.rcParams)
    with contextlib.redirect_stderr(io.StringIO()) as complaints:
        written(swept, sweep="digits")

    assert dict(matplotlib.rcParams) == before
    assert not complaints.getvalue()
