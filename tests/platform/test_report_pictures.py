"""The report's pictures: fronts, heat maps, curves, samples."""

import base64
import io
import re
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.report_rows import add_evaluation, add_grid, add_run, add_steps, add_sweep
from unlatent.pipelines.__main__ import run_command
from unlatent.platform.report import chosen_run, pictures_of, write_report
from unlatent.platform.report.colours import HEAT, LIGHT_AND_DARK, STAND_INS, STRONG
from unlatent.platform.report.costs import COMPUTE, MEMORY, TIME, costed, costs_of, restrictions
from unlatent.platform.report.curves import SHOWN_OF_MANY, curves_of, losses_picture
from unlatent.platform.report.findings import SweepFindings, read_sweep
from unlatent.platform.report.fronts import front_picture, pareto_front, some_of
from unlatent.platform.report.heat_map import heat_captions, heat_maps
from unlatent.platform.report.marks import links
from unlatent.platform.report.samples import MOST_GRIDS
from unlatent.platform.report.thumbnails import thumbnail
from unlatent.platform.store import Store


def add_trial(
    store: Store, run_id: str, fid: float, gflops: float = 0.01, seconds: float = 0.5, **columns: Any
) -> None:
    add_run(store, run_id, sweep="digits", forward_gflops=gflops, **columns)
    add_evaluation(store, run_id, {"device": columns.get("device", "cpu")}, fid=fid, seconds_per_image=seconds)


def swept(store: Store, **columns: Any) -> SweepFindings:
    add_sweep(store, trials=4, **columns)
    found = read_sweep(store, "digits")
    assert found is not None
    return found


@pytest.fixture
def grid(store: Store) -> SweepFindings:
    """Two patch sizes by three windows and no attention; p4/w4 is the best, p2/w4 cannot be."""
    for patch_size, window, fid in ((2, 1, 9.0), (2, 2, 8.0), (4, 1, 7.0), (4, 2, 6.0), (4, 4, 5.0)):
        add_trial(store, f"p{patch_size}w{window}", fid, patch_size=patch_size, window=window)
    add_trial(store, "off", 10.0, patch_size=4, window=4, attention=False)
    return swept(store)


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_the_front_of_each_cost_is_its_own(store):
    add_trial(store, "quick", 10.0, gflops=2.0, seconds=0.1, activation_bytes=300)
    add_trial(store, "small", 10.0, gflops=1.0, seconds=0.2, activation_bytes=200)
    add_trial(store, "good", 5.0, gflops=3.0, seconds=0.3, activation_bytes=100)
    sweep = swept(store)

    fronts = {cost: list(pareto_front(costed(sweep, cost), cost, "fid", "min")["run_id"]) for cost in costs_of(sweep)}

    assert fronts == {COMPUTE: ["small", "good"], TIME: ["quick", "good"], MEMORY: ["good"]}


def test_seconds_of_two_devices_are_in_no_picture_together(store):
    for index in range(3):
        add_trial(store, f"cpu-{index}", 10.0 + index)
    add_trial(store, "gpu", 5.0, seconds=0.001, device="H100")
    sweep = swept(store)

    assert set(costed(sweep, TIME)["run_id"]) == {"cpu-0", "cpu-1", "cpu-2"}
    assert restrictions(sweep, TIME) == "Drawn on cpu. 1 trial drawn on another device or without a time left out."
    assert len(costed(sweep, COMPUTE)) == 4


def test_a_second_objective_comes_first(store):
    add_trial(store, "run", 10.0)

    assert costs_of(swept(store, against="seconds_per_image"))[0] is TIME
    parameters, *others = costs_of(swept(store, against="parameters"))
    assert "second objective" in restrictions(swept(store, against="parameters"), parameters)
    assert parameters.column == "parameters" and tuple(others) == (COMPUTE, TIME, MEMORY)
    assert front_picture(swept(store, against="parameters"), parameters).name == "quality-parameters"


def test_costs_that_older_rows_lack_are_said_to_be_unknown(store):
    for run_id, fid in (("a", 10.0), ("b", 9.0)):
        add_run(store, run_id, sweep="digits", activation_bytes=None)
        add_evaluation(store, run_id, fid=fid)
    swept(store)

    write_report(store, "report.html", "A report", "digits")

    page = store.read_bytes("report.html").decode()
    assert "The tables do not say enough about time and memory for a picture." in page


def test_a_heat_map_has_a_number_in_every_cell_and_a_frame_around_the_best(grid):
    [picture] = heat_maps(grid)
    svg = picture.svg()

    numbers = sorted(float(text) for text in texts(svg) if re.fullmatch(r"\d+\.\d+", text))
    assert numbers == [5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    assert texts(svg).count("–") == 2  # p2/w4, and p2 without attention
    assert "1 × 1" in svg and "4 × 4" in svg and "attention" in svg
    assert len(re.findall(r"stroke: var\(--ink\); stroke-width: 2", svg)) == 1


def test_a_further_knob_has_a_heat_map_for_each_value(store):
    for norm in ("rms", "../layer"):
        for window in (1, 2):
            add_trial(store, f"w{window}-{norm[-3:]}", 10.0 + window - len(norm), window=window, norm=norm)
    sweep = swept(store)

    assert [picture.title for picture in heat_maps(sweep)] == [
        "Patch size and window, norm ../layer",
        "Patch size and window, norm rms",
    ]
    assert [picture.name for picture in heat_maps(sweep)] == ["heat-map-norm-..-layer", "heat-map-norm-rms"]


def test_of_two_further_knobs_a_cell_shows_the_best(store):
    for index, (width, norm) in enumerate(((32, "rms"), (32, "layer"), (64, "rms"))):
        for window in (1, 2):
            add_trial(store, f"w{window}-{index}", 10.0 + window + index, window=window, width=width, norm=norm)
    sweep = swept(store)

    [picture] = heat_maps(sweep)

    assert {"11.0", "12.0"} <= set(texts(picture.svg())) and "13.0" not in texts(picture.svg())
    assert "Each cell shows the best of all that differ in width, norm." in heat_captions(sweep)[0]


def test_what_is_written_on_a_heat_maps_colours_can_be_read():
    for scheme in (0, 1):
        for level, name in enumerate(HEAT):
            ink = LIGHT_AND_DARK["paper" if level >= STRONG else "ink"][scheme]
            assert contrast(ink, LIGHT_AND_DARK[name][scheme]) > 4.5, (name, scheme)


def contrast(a: str, b: str) -> float:
    dark, light = sorted(luminance(colour) for colour in (a, b))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_mark_says_its_numbers_and_leads_to_something_on_the_page(store, grid):
    add_grid(store, "p4w4")
    write_report(store, "report.html", "A report", "digits")
    page = store.read_bytes("report.html").decode()

    marks = re.findall(r'<a class="point" href="#([^"]+)" aria-label="([^"]+)">', page)
    ids = re.findall(r' id="(point-[^"]+)"', page)

    assert len(marks) == 4 * len(grid.points)  # three fronts and a heat map
    assert {address for address, _ in marks} == set(ids) and len(set(ids)) == len(ids)
    assert all(re.search(r"FID .* GFLOPs an image · .* s an image · .* MB of activations", said) for _, said in marks)


def test_no_stand_in_for_a_colour_is_left_in_a_page(store, grid):
    add_steps(store, "p4w4")
    write_report(store, "report.html", "A report", "digits")
    page = store.read_bytes("report.html").decode()

    assert not [stand_in for stand_in in STAND_INS.values() if stand_in in page]


def test_curves_are_means_over_seeds_in_a_band(store):
    for seed, factor in ((0, 1.0), (1, 3.0)):
        add_trial(store, f"run-{seed}", 10.0, point="run", seed=seed)
        add_steps(store, f"run-{seed}", factor)

    [curve] = curves_of(swept(store)).values()

    assert curve["mean"].iloc[0] == pytest.approx(2 / 100)
    assert curve["deviation"].iloc[0] == pytest.approx(np.std([0.01, 0.03], ddof=1))


def test_of_many_curves_and_marks_only_some_have_names(store):
    for index in range(20):
        add_trial(store, f"run-{index:02}", 30.0 - index, gflops=1.0 + index, width=8 * index + 8)
        add_steps(store, f"run-{index:02}")
    sweep = swept(store)

    named = [text for text in texts(losses_picture(sweep).svg()) if "width=" in text]
    front = pareto_front(sweep.ranked, COMPUTE, "fid", "min")

    assert len(named) == SHOWN_OF_MANY and "p4/w4 width=160" in named
    assert {"run-00", "run-19"} <= set(some_of(front)["run_id"]) and len(some_of(front)) < 8


def test_settings_too_long_for_a_picture_are_places_in_the_table(store):
    for index in range(3):
        knobs = {"learning_rate": 0.00123456 * (index + 1), "modulation": ["pre", "post"][index % 2]}
        add_trial(store, f"run-{index}", 10.0 + index, gflops=1.0 + index, width=64 + index, **knobs)
        add_steps(store, f"run-{index}")
    sweep = swept(store)

    for picture in (front_picture(sweep, COMPUTE), losses_picture(sweep)):
        assert {"#1", "#2", "#3"} <= set(texts(picture.svg()))
    write_report(store, "report.html", "A report", "digits")
    page = store.read_bytes("report.html").decode()
    assert "#1  p4/w4 width=64 modulation=pre learning_rate=0.00123" in page
    assert "Numbers are places in the table." in page and '<th scope="col" class="number">#</th>' in page


def test_every_picture_is_a_png_on_white_with_what_it_rests_on(store, grid):
    add_steps(store, "p4w4")

    pictures = pictures_of(store, "digits", "p4w4")

    fronts = {"quality-gflops", "quality-seconds", "quality-memory"}
    assert set(pictures) == fronts | {"heat-map", "losses", "loss-of-run"}
    for png in pictures.values():
        picture = Image.open(io.BytesIO(png)).convert("RGB")
        assert picture.width > 1000 and picture.getpixel((0, 0)) == (255, 255, 255)
        assert (
            picture.crop((0, int(0.9 * picture.height), picture.width, picture.height)).getextrema()
            != ((255, 255),) * 3
        )


def test_pictures_are_the_same_every_time(grid):
    [picture] = heat_maps(grid)

    assert picture.svg() == picture.svg() and picture.png("a note") == picture.png("a note")


def test_a_heavy_picture_becomes_a_small_one_and_a_small_one_stays_as_it_is():
    noise = np.random.default_rng(0).integers(0, 255, (1000, 2000, 3), dtype=np.uint8)
    heavy, light = io.BytesIO(), io.BytesIO()
    Image.fromarray(noise).save(heavy, "PNG")
    Image.new("L", (80, 40)).save(light, "PNG")

    small, same = thumbnail(heavy.getvalue(), 660, 48_000), thumbnail(light.getvalue(), 660, 48_000)

    data = base64.b64decode(small.uri.partition(",")[2])
    assert small.uri.startswith("data:image/webp") and len(data) < 60_000 and not small.is_coarse
    assert base64.b64decode(same.uri.partition(",")[2]) == light.getvalue() and same.is_coarse


def test_more_grids_than_a_page_can_bear_are_left_out_and_told(store):
    for index in range(MOST_GRIDS + 2):
        add_run(store, f"run-{index:02}", sweep="digits", width=8 * index, status="stopped_early")
        add_grid(store, f"run-{index:02}")
    add_sweep(store, trials=MOST_GRIDS + 2)

    write_report(store, "report.html", "A report", "digits")

    page = store.read_bytes("report.html").decode()
    assert page.count('<figure id="point-') == MOST_GRIDS
    assert f"The 2 behind the first {MOST_GRIDS} are left out" in page


def test_the_numbers_settings_stand_with_the_pictures(store, grid):
    write_report(store, "report.html", "A report", "digits")
    page = store.read_bytes("report.html").decode()

    line = "FID of 1,000 images from seed 0; ema weights; ab2, 20 steps, 36 network rows an image; guidance 2 for 0.1"
    assert page.index(line) < page.index("<svg")


def test_the_command_writes_the_page_and_each_picture(store, grid, tmp_path, monkeypatch, capsys):
    page, folder = tmp_path / "report.html", tmp_path / "pictures"
    options = [f"store={store.root}", "--out", str(page), "--png", str(folder)]
    monkeypatch.setattr(sys, "argv", ["unlatent", "report", "digits", *options])

    assert run_command() == 0

    assert page.read_bytes() == store.read_bytes("artifacts/reports/digits.html")
    names = {file.name for file in folder.iterdir()}
    assert names == {"heat-map.png", "quality-gflops.png", "quality-memory.png", "quality-seconds.png"}
    assert f"report: {page}; pictures: {folder}" in capsys.readouterr().out.replace("\n", "")


def test_the_run_in_full_is_the_sweeps_best_unless_one_is_named(store, grid):
    add_sweep(store, best_run_id="p4w4")

    assert chosen_run(store, "digits", None) == "p4w4"
    assert chosen_run(store, "digits", "off") == "off"
    with pytest.raises(ValueError, match=r"sweep='digit' is not in .*; the sweeps there: digits"):
        chosen_run(store, "digit", None)
    with pytest.raises(ValueError, match="run='other' is not in"):
        chosen_run(store, "digits", "other")


def test_a_point_says_only_what_it_knows(store):
    add_run(store, "going", sweep="digits", status="running", checkpoint_hash=None, activation_bytes=None)

    assert links(swept(store)) == {"#point-going": "p4/w4 · FID – · 0.0100 GFLOPs an image · run going"}
