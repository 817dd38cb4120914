"""The report, of made-up numbers: what it shows, that it needs no other file, and how it fits a telephone."""

import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from tests.browser import new_page
from tests.platform.edit_study.conftest import Made
from unlatent.platform.edit_study.comparing import answer
from unlatent.platform.edit_study.page import write_report
from unlatent.platform.edit_study.plots import pictures
from unlatent.platform.edit_study.samples import AMPLIFIED, NOT_COUNTED, background_difference, chosen_pairs, examples
from unlatent.platform.store import Store

PIXELS = [
    Made(0.5, 0.001, n_max=1),
    Made(0.9, 0.004),
    Made(0.5, 0.0, "masked", n_max=1),
    Made(0.9, 0.0, "masked"),
    Made(0.4, 0.0005, "derived", n_max=1),
    Made(0.7, 0.001, "derived"),
]
LATENTS = [
    Made(0.4, 0.01, n_max=1),
    Made(0.7, 0.02),
    Made(0.4, 0.008, "masked", n_max=1),
    Made(0.7, 0.009, "masked"),
    Made(0.3, 0.009, "derived", n_max=1),
    Made(0.6, 0.015, "derived"),
    Made(0, 0.007, "reconstructed"),
]


@pytest.fixture
def outcomes(make_outcomes):
    return [*make_outcomes("pixels", *PIXELS), *make_outcomes("latents with rather a long name", *LATENTS)]


@pytest.fixture
def report(outcomes, tmp_path):
    write_report(Store(tmp_path / "store"), Store(tmp_path / "out"), outcomes)
    return tmp_path / "out" / "report.html"


def test_the_page_needs_no_other_file_and_has_every_part(report):
    page = report.read_text()

    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert page.index('class="headline"') < page.index("The scenes are made up") < page.index("<svg")
    assert page.count('<figure class="example">') == 6 and page.count("<svg") == 3
    for part in (
        "Every setting",
        "Free edits",
        "Masked edits",
        "Edits with a derived mask",
        "true target",
        "chosen at random by the seed",
    ):
        assert part in page
    assert {file.name for file in report.parent.iterdir()} == {
        "report.html", "results.json", "edits.png", "edits-free.png", "edits-masked.png", "edits-derived.png",
    }  # fmt: skip
    assert json.loads((report.parent / "results.json").read_text())["comparisons"]


def test_pairs_are_shown_whatever_became_of_them_the_same_for_the_same_seed(outcomes):
    found = answer(outcomes)

    assert chosen_pairs(found) == chosen_pairs(answer(outcomes[:6])) and len(set(chosen_pairs(found))) == 6
    shown = examples(found)
    assert [example.number for example in shown] == chosen_pairs(found)
    assert [each.name for each in shown[0].images] == [
        "source",
        "true target",
        "through pixels",
        "through latents with rather a long name",
        "through pixels, masked",
        "through latents with rather a long name, masked",
        "through pixels, derived mask",
        "through latents with rather a long name, derived mask",
        "through latents with rather a long name, no edit",
    ]


def test_the_words_that_an_edit_changes_are_marked(outcomes, pairs):
    for example in examples(answer(outcomes)):
        pair = pairs[example.number]
        captions = (example.source, example.target)
        [before], [after] = ([word for word, is_changed in words if is_changed] for words in captions)
        assert before in pair.source_caption and after in pair.target_caption and before != after
        assert " ".join(word for word, _ in example.target) == pair.target_caption


def test_differences_are_of_the_background_four_times_over(pairs):
    pair = pairs[0]
    edited = np.where(pair.source > 250, pair.source, pair.source + 3)

    shown = background_difference(pair, torch.from_numpy(edited)).numpy()

    assert (shown[:, ~pair.background_mask] == NOT_COUNTED).all()
    assert (shown[:, pair.background_mask] == AMPLIFIED * (edited - pair.source)[:, pair.background_mask]).all()


def test_an_error_of_nothing_has_a_place_on_the_axis(outcomes):
    free, masked, _ = (picture for picture, _ in pictures(answer(outcomes)))

    assert ">0<" in masked.svg() and ">0.01<" in free.svg()
    assert Image.open(io.BytesIO(masked.png("small print"))).width > 1000


def test_of_one_model_and_few_pairs_there_is_a_report_too(make_outcomes, tmp_path):
    rows = write_report(Store(tmp_path), Store(tmp_path / "out"), make_outcomes("pixels", *PIXELS))

    page = (tmp_path / "out" / "report.html").read_text()
    assert len(rows) == 3 and "Edits through pixels succeed in" in page
    assert page.count("<svg") == 2  # masked, all errors are 0


def test_without_outcomes_there_is_nothing_to_report(tmp_path):
    with pytest.raises(ValueError, match="no edits were made"):
        write_report(Store(tmp_path), Store(tmp_path / "out"), [])


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390, 1200])
def test_nothing_but_a_table_scrolls_sideways(report, tmp_path, width):
    with new_page(tmp_path / "profile") as page:
        page.open(report, width, 844, touch=width < 1000)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert page.evaluate("Math.min(...[...document.images].map(image => image.clientWidth))") >= 64
        assert page.printed().startswith(b"%PDF")
        assert not page.complaints
