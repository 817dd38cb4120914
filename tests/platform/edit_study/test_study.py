"""Edits of real pairs by a real, if untrained, network."""

import sys
from dataclasses import replace

import pytest
import torch

from tests.platform.edit_study.conftest import untrained
from unlatent.models.editing import EditConfig
from unlatent.models.samplers import SamplerConfig
from unlatent.platform import tables
from unlatent.platform.config import compose_config
from unlatent.platform.edit_study import study as studies
from unlatent.platform.edit_study.attempts import EDITED, Attempt, Subject
from unlatent.platform.edit_study.config import EditStudyConfig, settings_to_try
from unlatent.platform.edit_study.study import run_study
from unlatent.platform.orders import Edit, carry_out
from unlatent.platform.store import Store

EDIT = EditConfig(steps=4, n_max=4)
SMALL = EditStudyConfig(pairs=3, n_max=[1, 3], target_guidance=[2.0], max_rows=7)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def subjects(model, latent_model):
    return [Subject("pixels", model), Subject("the autoencoder", latent_model)]


@pytest.fixture
def edits_made(monkeypatch):
    """The ways of the attempts that were carried out, and not found."""
    made, carried_out = [], Attempt.carried_out

    def counted(attempt, *given):
        made.append(attempt.way)
        return carried_out(attempt, *given)

    monkeypatch.setattr(Attempt, "carried_out", counted)
    return made


def test_every_model_edits_under_every_setting_free_and_with_both_masks(store, subjects, pairs):
    told = []

    outcomes = run_study(store, subjects, pairs, EDIT, SMALL, on_images=lambda done, total: told.append((done, total)))

    ways = [
        (outcome.name, outcome.attempt.way, outcome.attempt.edit and outcome.attempt.edit.n_max) for outcome in outcomes
    ]
    edits = [(way, n_max) for way in ("free", "masked", "derived") for n_max in (1, 3)]
    assert ways == [
        *(("pixels", *edit) for edit in edits),
        ("the autoencoder", "reconstructed", None),
        *(("the autoencoder", *edit) for edit in edits),
    ]
    assert told[0] == (2, 39) and told[-1] == (39, 39) and told == sorted(told)
    assert all(outcome.images.shape == (3, 3, 64, 64) and outcome.images.dtype == torch.uint8 for outcome in outcomes)


def test_with_a_mask_a_pixel_models_background_is_the_sources_bit_for_bit(store, subjects, pairs):
    outcomes = run_study(store, subjects[:1], pairs, EDIT, SMALL)

    for outcome in outcomes:
        is_kept = outcome.attempt.way == "masked"
        assert (outcome.measured.background_errors == 0).all() == is_kept
        for pair, image in zip(pairs, outcome.images.numpy(), strict=False):
            differs = (pair.source != image).any(axis=0)
            assert (differs & pair.background_mask).any() != is_kept and differs.any()
        assert not is_kept or outcome.measured.background_similarities == pytest.approx(1)


def test_a_derived_mask_gives_what_keep_background_does_and_calls_the_network_for_nothing_more(
    store, subjects, pairs, edits_made
):
    outcomes = {
        (each.name, each.attempt.way): each
        for each in run_study(store, subjects, pairs, EDIT, replace(SMALL, n_max=[3]))
    }

    assert "derived" not in edits_made
    for subject in subjects:
        free, derived = outcomes[subject.name, "free"], outcomes[subject.name, "derived"]
        told = {"image", "source", "target", "seeds", "config", "sampler"}
        for number in range(3):
            order = free.attempt.order(number, free.attempt.edit)
            [alone] = carry_out(
                subject.model, [Edit(**{name: getattr(order, name) for name in told}, keep_background=True)], 7
            )
            assert (alone.int() - derived.images[number].int()).abs().max() <= 1  # batches round differently
        assert not torch.equal(derived.images, free.images) and derived.seconds == free.seconds


def test_a_derived_mask_puts_back_pixels_bit_for_bit_and_takes_the_rest_from_the_free_edit(store, subjects, pairs):
    free, _, derived = run_study(store, subjects[:1], pairs, EDIT, replace(SMALL, n_max=[3]))

    for pair, edited, kept in zip(pairs, free.images.numpy(), derived.images.numpy(), strict=False):
        put_back = (kept == pair.source).all(axis=0)
        assert (kept == edited).all(axis=0)[~put_back].all() and put_back.any() and not put_back.all()
    assert (derived.measured.background_errors < free.measured.background_errors).all()


def test_with_a_mask_a_latent_models_background_is_what_its_autoencoder_leaves(store, subjects, pairs):
    outcomes = run_study(store, subjects[1:], pairs, EDIT, SMALL)

    assert [outcome.attempt.way for outcome in outcomes] == [
        "reconstructed",
        *(way for way in EDITED for _ in range(2)),
    ]
    assert all((outcome.measured.background_errors > 0).all() for outcome in outcomes)


def test_encode_and_decode_alone_edits_nothing(store, subjects, pairs):
    [alone, *_] = run_study(store, subjects[1:], pairs, EDIT, SMALL)

    source = torch.from_numpy(pairs[0].source.copy())[None]
    assert alone.attempt.edit is None
    assert (alone.images[:1].int() - subjects[1].reconstruct(source).int()).abs().max() <= 1


def test_each_attempt_is_a_row_with_all_that_its_numbers_depend_on(store, subjects, pairs):
    outcomes = run_study(store, subjects, pairs, EDIT, SMALL)

    rows = tables.read(store, "edits").set_index("edit_id")
    assert len(rows) == len(outcomes) == 13 and set(rows["pairs_hash"].str.len()) == {16}
    for outcome in outcomes:
        row = rows.loc[outcome.attempt.id]
        assert row["background_mse"] == pytest.approx(outcome.measured.background_errors.mean())
        assert (
            row["success"] == outcome.succeeded.mean() and row["success_low"] <= row["success"] <= row["success_high"]
        )
        assert row["legibility"] <= row["source_legibility"] == 1
        assert (row["space"], row["pairs"], row["image_size"], row["device"]) == (
            "latents" if outcome.name == "the autoencoder" else "pixels",
            3,
            64,
            "cpu",
        )
    assert (
        set(rows["autoencoder"].dropna()) == {subjects[1].model.autoencoder} and rows["autoencoder"].isna().sum() == 6
    )
    assert set(rows["autoencoder_hash"].dropna().str.len()) == {64} and rows["autoencoder_hash"].isna().sum() == 6
    nothing = rows[rows["way"] == "reconstructed"].iloc[0]
    assert nothing[["steps", "n_max", "target_guidance", "sampler"]].isna().all()
    kept = rows[(rows["way"] == "masked") & (rows["space"] == "pixels")]
    assert (kept["background_mse"] == 0).all() and kept["background_psnr"].isna().all()


def test_nothing_is_edited_twice_and_what_was_cut_off_goes_on(store, subjects, pairs, edits_made, monkeypatch):
    def killed(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(studies, "row_of", killed)  # after the edits of the first attempt are kept
        with pytest.raises(KeyboardInterrupt):
            run_study(store, subjects[:1], pairs, EDIT, SMALL)
    assert edits_made == ["free"] and tables.read(store, "edits").empty

    first = run_study(store, subjects[:1], pairs, EDIT, SMALL)
    again = run_study(store, subjects[:1], pairs, EDIT, SMALL)

    assert edits_made == ["free", "free", "masked", "masked"] and len(tables.read(store, "edits")) == 6
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.images, other.images) and one.findings == other.findings
        assert (one.seconds, one.device) == (other.seconds, other.device)


def test_what_fails_in_measuring_goes_on_from_the_images(store, subjects, pairs, edits_made, monkeypatch):
    def fails(*given):
        raise ValueError("out of luck")

    with monkeypatch.context() as patched:
        patched.setattr(studies, "measure", fails)
        with pytest.raises(ValueError, match="out of luck"):
            run_study(store, subjects[:1], pairs, EDIT, SMALL)
    assert edits_made == ["free"]

    run_study(store, subjects[:1], pairs, EDIT, SMALL)

    assert edits_made == ["free", "free", "masked", "masked"] and len(tables.read(store, "edits")) == 6


def test_without_scikit_image_nothing_is_edited(store, subjects, pairs, edits_made, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)  # as where it is not installed

    with pytest.raises(
        ValueError, match=r"SSIM needs the package scikit-image; pip install 'unlatent\[autoencoders\]'"
    ):
        run_study(store, subjects, pairs, EDIT, SMALL)

    assert not edits_made and not store.exists("")


def test_images_with_a_derived_mask_that_are_missing_are_made_from_the_same_edits(store, subjects, pairs, edits_made):
    """As of a study that made none yet, or was killed between the two."""
    first = run_study(store, subjects[:1], pairs, EDIT, SMALL)
    for outcome in first:
        if outcome.attempt.way == "derived":
            store.delete(outcome.attempt.path)
    edits_made.clear()

    again = run_study(store, subjects[:1], pairs, EDIT, SMALL)

    assert edits_made == ["derived", "derived"]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.images, other.images)


@pytest.mark.parametrize(
    "changed",
    [
        {"study": replace(SMALL, seed=1)},
        {"study": replace(SMALL, pairs=2)},
        {"edit": replace(EDIT, source_guidance=1.5)},
        {"sampler": SamplerConfig(guidance_low=0.5)},
    ],
)
def test_what_differs_in_anything_is_another_row(store, subjects, pairs, changed):
    given = {"edit": EDIT, "study": SMALL, "sampler": None}

    for settings in (given, given | changed):
        run_study(store, subjects[:1], pairs, **settings)

    assert len(tables.read(store, "edits")) == 12


def test_an_edit_depends_on_its_pair_and_the_seed_and_not_on_those_beside_it(store, subjects, pairs):
    together = run_study(store, subjects[:1], pairs, EDIT, replace(SMALL, max_rows=64))
    fewer = run_study(store, subjects[:1], pairs, EDIT, replace(SMALL, pairs=1))
    other = run_study(store, subjects[:1], pairs, EDIT, replace(SMALL, seed=1))

    assert (together[0].images[0].int() - fewer[0].images[0].int()).abs().max() <= 1
    assert not torch.equal(together[0].images, other[0].images)


def test_models_that_do_not_fit_the_pairs_are_refused_before_anything_is_edited(store, subjects, pairs, edits_made):
    large = untrained("large", image_size=128)
    digits = untrained("digits", condition="class", classes=10)
    digits.classes = [str(digit) for digit in range(10)]
    short = untrained("short", text={"encoder": "bytes", "width": 16, "tokens": 8})

    for model, named in (
        (large, "edits 3 channels of 128 pixels a side, and the pairs have 3 of 64"),
        (digits, "knows other classes than scenes have, and no texts"),
        (short, "is longer than the 8 that the model reads"),
    ):
        with pytest.raises(ValueError, match=named):
            run_study(store, [subjects[0], Subject("another", model)], pairs, EDIT, SMALL)
    with pytest.raises(ValueError, match="n_max=3 and steps=2 are out of order"):
        run_study(store, subjects, pairs, EditConfig(steps=2, n_max=1), SMALL)
    assert not edits_made


def test_a_model_of_the_scenes_classes_is_told_the_class(store, pairs):
    model = untrained("classes", condition="class", classes=30)

    outcomes = run_study(store, [Subject("classes", model)], pairs, EDIT, SMALL)

    assert len(outcomes) == 6 and outcomes[0].attempt.order(0, EDIT).target == pairs[0].target_label


def test_all_combinations_are_tried_with_the_rest_as_edit_says():
    study = EditStudyConfig(n_max=[5, 9], target_guidance=[2.0, 4.0, 8.0])

    tried = settings_to_try(EditConfig(steps=10, n_min=2, n_max=3, source_guidance=1.5), study)

    assert [(each.n_max, each.target_guidance) for each in tried] == [(n, g) for n in (5, 9) for g in (2, 4, 8)]
    assert {(each.steps, each.n_min, each.source_guidance) for each in tried} == {(10, 2, 1.5)}
    assert compose_config(["edits.n_max=[5,9]", "edits.pairs=7"]).edits == EditStudyConfig(n_max=[5, 9], pairs=7)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("edits.pairs=0", r"edits\.pairs=0 is not 1 or more|edits\.pairs=0"),
        ("edits.max_rows=0", r"edits\.max_rows=0"),
        ("edits.n_max=[]", r"edits\.n_max=\[\] is not a list of numbers of steps of 0 or more, each once"),
        ("edits.n_max=[3,3]", r"edits\.n_max=\[3, 3\] is not a list"),
        ("edits.target_guidance=[-1.0]", r"edits\.target_guidance=\[-1\.0\] is not a list of numbers of 0 or more"),
        ("edits.seed=-1", r"edits\.seed=-1 is not between 0 and 4294967295"),
    ],
)
def test_settings_that_cannot_work_are_one_line(override, named):
    with pytest.raises(ValueError, match=named):
        compose_config([override])
