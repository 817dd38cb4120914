import json
import math
import re

import pytest

from tests.platform.edit_study.conftest import Made
from unlatent.platform.edit_study import verdict
from unlatent.platform.edit_study.attempts import EDITED
from unlatent.platform.edit_study.comparing import answer
from unlatent.platform.edit_study.grids import in_short, settings_grid
from unlatent.platform.edit_study.page import as_json
from unlatent.platform.edit_study.verdict import caveats, headline, verdicts


def answer_of(make_outcomes, pixels, latents):
    return answer([*make_outcomes("pixels", *pixels), *make_outcomes("latents", *latents)])


def plain(text):
    return text.replace("\u00a0", " ")


BETTER = [Made(0.9, 0.002), Made(0.9, 0.0, "masked")]
WORSE = [Made(0.6, 0.02), Made(0.6, 0.015, "masked"), Made(0, 0.01, "reconstructed")]


@pytest.fixture
def better(make_outcomes):
    return answer_of(make_outcomes, BETTER, WORSE)


def test_the_answer_names_ratio_interval_and_success(better):
    assert plain(headline(better)) == (
        "Background MSE through pixels is 0.10 (0.10 to 0.10) of that through latents, at an edit success of at least "
        "60.0 %."
    )


def test_a_mixture_of_settings_is_told_with_its_shares_and_what_is_shown_of_it(make_outcomes, better):
    found = answer_of(make_outcomes, [Made(0.5, 0.001, n_max=2), Made(0.75, 0.002, n_max=3), BETTER[1]], WORSE)

    said = plain(" ".join(verdicts(found)))
    assert "through pixels 60 % of pairs by 2 of 4 steps at guidance 2, which succeeds in 50.0 % (" in said
    assert "and 40 % of pairs by 3 of 4 steps at guidance 2, which succeeds in 75.0 % (" in said
    shown = "Pictures and letters are of the setting that edits most of the pairs."
    assert shown in said and shown not in verdicts(better)
    assert set(found.in_comparisons("free")) == set(found.groups[0].outcomes[:2]) | {found.groups[1].outcomes[0]}


def test_the_opposite_is_said_as_plainly(make_outcomes):
    pixels = [Made(0.6, 0.02), Made(0.5, 0.02, "masked")]
    worse = answer_of(make_outcomes, pixels, [Made(0.9, 0.01), Made(0.5, 0.005, "masked")])

    said, masked = plain(headline(worse)), plain(" ".join(verdicts(worse)))
    assert said.startswith("Background MSE through pixels is 2.0 (2.0 to 2.0) times that through latents")
    assert "With the place of the objects as a mask, background MSE through pixels is 4.0 (4.0 to 4.0) times" in masked


def test_what_is_not_told_apart_is_called_so(make_outcomes, pairs):
    alike = answer_of(make_outcomes, BETTER, [Made(0.9, 0.002), Made(0.9, 0.001, "masked")])

    assert "is not told apart from that through latents: 1.0 (1.0 to 1.0) of it" in headline(alike)


def test_without_a_common_success_nothing_follows(make_outcomes):
    never = answer_of(make_outcomes, [Made(0.03, 1e-5), Made(0.5, 0.0, "masked")], WORSE)

    said = plain(headline(never))
    assert said.startswith("There is no edit success that both reach: at most 2.5 % (")
    assert "where 3.3 % are guessed" in said and not any("Of the settings" in line for line in verdicts(never))
    assert "compared" not in str(settings_grid(never, "free").cells) and never.in_comparisons("free") == []
    assert "compared" in str(settings_grid(never, "masked").cells)


def test_with_a_mask_what_stays_bit_for_bit_is_said(better, make_outcomes):
    said = " ".join(map(plain, verdicts(better)))
    both = answer_of(make_outcomes, BETTER, [Made(0.9, 0.01), Made(0.9, 0.0, "masked")])

    assert (
        "With the place of the objects as a mask, the background stays bit for bit what it was through pixels, and has "
        "an MSE of 0.0150 through latents"
    ) in said
    assert "through pixels and through latents alike" in " ".join(verdicts(both))


def test_what_a_derived_mask_keeps_and_costs_is_said_of_each_and_compared(make_outcomes):
    pixels, latents = [*BETTER, Made(0.8, 0.0008, "derived")], [*WORSE, Made(0.5, 0.016, "derived")]
    found = answer_of(make_outcomes, pixels, latents)

    said = " ".join(map(plain, verdicts(found)))
    assert (
        "With a mask derived from each edit, background MSE through pixels is 0.050 (0.050 to 0.050) of that through "
        "latents, at an edit success of at least 50.0 %."
    ) in said
    for through, left, rates in (("pixels", "40.0", (80, 90)), ("latents", "80.0", (50, 60))):
        assert f"put back that edits through {through} hardly changed, {left} % (" in said
        assert re.search(rf"is left, and {rates[0]}\.0 % \([^)]*\) succeed instead of {rates[1]}\.0 %", said)
    assert [row["edits"] for row in in_short(found, found.ways)] == [way for way in EDITED for _ in range(2)]
    assert [each["way"] for each in as_json(found)["comparisons"]] == ["free", "masked", "derived"]


def test_where_free_edits_change_no_background_none_is_said_to_be_left(make_outcomes):
    alone = answer(make_outcomes("pixels", Made(0.5, 0.0), Made(0.5, 0.0, "masked"), Made(0.4, 0.0, "derived")))

    said = " ".join(map(plain, verdicts(alone)))
    assert "hardly changed, the background stays what it was, and 40.0 % (" in said and "\u2013 of" not in said


def test_what_encode_and_decode_alone_cost_of_it_is_said(better):
    said = " ".join(map(plain, verdicts(better)))

    assert "Encode and decode alone, with no edit, give a background MSE of 0.0100" in said
    assert "through latents: 50.0 % (50.0–50.0) of that of its edits." in said


def test_caveats_say_what_it_rests_on(better):
    said = caveats(better)

    assert said[0].startswith("The scenes are made up")
    assert any("40 pairs: enough for large differences" in line for line in said)
    assert any("Settings were chosen on the pairs that they are measured on" in line for line in said)
    assert any("training the autoencoder took" in line and line.endswith("through latents.") for line in said)


@pytest.mark.parametrize(("gflops", "told"), [({3: 1.0, 4: 1.05}, False), ({3: 1.0, 4: 2.0}, True)])
def test_unequal_training_is_told(better, monkeypatch, gflops, told):
    monkeypatch.setattr(verdict.cost, "training_gflops", lambda config: gflops[config.channels])  # of one image

    assert any("not trained with equal computation: 1.00 GFLOPs" in line for line in caveats(better)) == told


def test_one_model_alone_is_told_of_without_a_comparison(make_outcomes):
    alone = answer(make_outcomes("pixels", *BETTER))

    assert plain(headline(alone)).startswith("Edits through pixels succeed in 90.0 % (")
    assert "compared" not in " ".join([*verdicts(alone), *caveats(alone)])
    assert "compared" not in str(settings_grid(alone, "free").cells)


def test_several_models_are_each_compared_with_the_first(make_outcomes):
    three = answer(
        [*make_outcomes("pixels", *BETTER), *make_outcomes("latents", *WORSE), *make_outcomes("more", *WORSE)]
    )

    said = " ".join(verdicts(three))
    assert "of that through latents" in headline(three) and "of that through more" in said


def test_every_attempt_is_in_the_tables_and_what_is_compared_is_marked(better):
    free, masked = (settings_grid(better, way) for way in ("free", "masked"))

    assert [[cells[0], cells[1], cells[3]] for cells in free.cells] == [
        ["pixels", "2 of 4", "compared"],
        ["latents", "2 of 4", "compared"],
        ["latents", "no edit", ""],
    ]
    assert masked.cells[0][5] == "0 (0–0)" and "infinite" in masked.cells[0]
    assert [row["through"] for row in in_short(better, ("free", "masked"))] == ["pixels", "latents"] * 2


def test_numbers_are_json_that_any_program_reads(better):
    read = json.loads(json.dumps(as_json(better), allow_nan=False))

    free, masked = read["comparisons"]
    assert free["level"] == 0.6 and free["background_mse_ratio"]["value"] == pytest.approx(0.1)
    assert masked["background_mse_ratio"]["value"] == 0 and len(read["attempts"]) == 5
    assert math.isclose(read["attempts"][0]["background_mse"], 0.002, rel_tol=0.05)
    assert free["first_edits"] == [{"edit_id": read["attempts"][0]["edit_id"], "share": 1.0}]
