"""LPIPS and structure distance of edits, by networks of random weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.networks_that_look import write_encoder, write_lpips
from unlatent.models.editing import EditConfig
from unlatent.platform import tables
from unlatent.platform.config import compose_config
from unlatent.platform.edit_study.attempts import Attempt, Subject
from unlatent.platform.edit_study.comparing import answer
from unlatent.platform.edit_study.config import EditStudyConfig
from unlatent.platform.edit_study.grids import settings_grid
from unlatent.platform.edit_study.page import as_json, write_report
from unlatent.platform.edit_study.perception import looked_at, open_perceptions
from unlatent.platform.edit_study.study import run_study
from unlatent.platform.lpips import LpipsConfig
from unlatent.platform.store import Store
from unlatent.platform.structure import StructureConfig

pytest.importorskip("transformers")

EDIT = EditConfig(steps=4, n_max=4)
BLIND = EditStudyConfig(pairs=3, n_max=[3], target_guidance=[2.0])
COLUMNS = [name + end for name in ("background_lpips", "structure_distance") for end in ("", "_low", "_high", "_by")]


@pytest.fixture(scope="module")
def lpips(tmp_path_factory) -> LpipsConfig:
    return LpipsConfig(weights=str(write_lpips(tmp_path_factory.mktemp("lpips") / "0")), any_weights=True)


@pytest.fixture(scope="module")
def structure(tmp_path_factory) -> StructureConfig:
    return StructureConfig(encoder=str(write_encoder(tmp_path_factory.mktemp("dino") / "0")))


@pytest.fixture(scope="module")
def seeing(lpips, structure) -> EditStudyConfig:
    return replace(BLIND, lpips=lpips, structure=structure)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def subjects(model):
    return [Subject("pixels", model)]


def images_of(pairs, which):
    return torch.from_numpy(np.stack([getattr(pair, which) for pair in pairs]))


@pytest.fixture(scope="module")
def look(seeing, pairs):
    """What both measures say of images made of the pairs."""
    perceptions = open_perceptions(seeing, torch.device("cpu"))

    def look(images):
        return [looked_at(each, pairs, images) for each in perceptions]

    return look


def test_the_untouched_source_is_exactly_0_apart(look, pairs):
    for values in look(images_of(pairs, "source")):
        assert values.shape == (len(pairs),) and (values == 0).all()


def test_what_was_asked_to_change_counts_for_nothing_in_the_background_and_is_another_structure(look, pairs):
    background, structure = look(images_of(pairs, "target"))

    assert (background == 0).all()
    assert (structure > 0).all()


def test_more_noise_is_further_apart(look, pairs):
    noise = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = [look((images_of(pairs, "source") + spread * noise).clamp(0, 255).byte()) for spread in (5, 40)]

    for little, much in zip(*found, strict=True):
        assert (little > 0).all() and little.mean() < much.mean()


def test_the_background_is_the_mean_of_the_map_over_it_alone(seeing, pairs):
    perception = open_perceptions(seeing, torch.device("cpu"))[0]
    edited = 255 - images_of(pairs[:1], "source")
    network, mask = perception.measure.args[0], torch.from_numpy(pairs[0].background_mask.copy())
    source = images_of(pairs[:1], "source")

    [found] = looked_at(perception, pairs[:1], edited)

    assert found == pytest.approx(network(source, torch.where(mask, edited, source))[0][mask].mean().item(), rel=1e-5)


def test_without_weights_nothing_is_measured_and_the_page_shows_no_column(store, subjects, pairs, tmp_path):
    found = answer(run_study(store, subjects, pairs, EDIT, BLIND))

    write_report(store, Store(tmp_path / "out"), found.first.outcomes)
    page = (tmp_path / "out" / "report.html").read_text()
    assert not {"LPIPS", "Structure"} & {column.title for column in settings_grid(found, "free").columns}
    assert "LPIPS" not in page and "objects. In brackets" in page and "Structure" not in page
    attempts = json.loads((tmp_path / "out" / "results.json").read_text())["attempts"]
    assert all(each[name] is None for each in attempts for name in COLUMNS)
    assert tables.read(store, "edits")[COLUMNS].isna().all(axis=None)


def test_with_weights_they_are_in_rows_numbers_and_page_each_with_an_interval(store, subjects, pairs, seeing, tmp_path):
    found = answer(run_study(store, subjects, pairs, EDIT, seeing))

    write_report(store, Store(tmp_path / "out"), found.first.outcomes)
    page = (tmp_path / "out" / "report.html").read_text()
    assert {"LPIPS", "Structure"} <= {column.title for column in settings_grid(found, "free").columns}
    assert "LPIPS is of the background, too. Structure is how far" in page
    assert f"{seeing.lpips.weights}, not held to be the published, hash" in page and seeing.structure.encoder in page
    rows = tables.read(store, "edits").set_index("edit_id")
    for attempt in as_json(found)["attempts"]:
        row = rows.loc[attempt["edit_id"]]
        assert [row[name] for name in COLUMNS] == [attempt[name] for name in COLUMNS]
        for name in ("background_lpips", "structure_distance"):
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"] and len(row[f"{name}_by"]) == 64
    masked = rows[rows["way"] == "masked"].iloc[0]
    assert masked["background_lpips"] == 0 < masked["structure_distance"]


def test_weights_that_are_named_later_measure_what_was_edited_before(
    store, subjects, pairs, lpips, structure, tmp_path, monkeypatch
):
    run_study(store, subjects, pairs, EDIT, BLIND)
    monkeypatch.setattr(Attempt, "carried_out", None)  # nothing is edited from here on

    run_study(store, subjects, pairs, EDIT, replace(BLIND, lpips=lpips))
    first = tables.read(store, "edits")
    run_study(store, subjects, pairs, EDIT, replace(BLIND, structure=structure))
    both = tables.read(store, "edits")
    run_study(store, subjects, pairs, EDIT, BLIND)
    tables.compact(store, "edits")
    others = LpipsConfig(weights=str(write_lpips(tmp_path / "others", seed=1)), any_weights=True)
    run_study(store, subjects, pairs, EDIT, replace(BLIND, lpips=others))
    last = tables.read(store, "edits")

    assert first["background_lpips"].notna().all() and first["structure_distance"].isna().all()
    assert both[COLUMNS].notna().all(axis=None) and len(both) == len(last) == 3
    both, last = (table.set_index("edit_id").sort_index() for table in (both, last))
    assert (both["structure_distance"] == last["structure_distance"]).all()
    assert (both["background_lpips_by"] != last["background_lpips_by"]).all()
    assert both.loc[both["way"] == "free", "background_lpips"].item() != (
        last.loc[last["way"] == "free", "background_lpips"].item()
    )


def test_a_row_that_knows_all_that_is_asked_stays_as_it_is(store, subjects, pairs, seeing):
    for study in (seeing, BLIND, seeing):
        run_study(store, subjects, pairs, EDIT, study)
        measured = list(tables.read(store, "edits")["measured_at"])
        if study is seeing:
            before = measured

    assert measured == before


def test_wrong_weights_are_refused_before_anything_is_edited(store, subjects, pairs, lpips, monkeypatch):
    monkeypatch.setattr(Attempt, "carried_out", None)

    with pytest.raises(ValueError, match=r"alexnet-owt-7be5be79\.pth is not the published file"):
        run_study(store, subjects, pairs, EDIT, replace(BLIND, lpips=LpipsConfig(weights=lpips.weights)))
    with pytest.raises(ValueError, match=r"edits\.structure\.encoder=/nowhere is no folder"):
        run_study(store, subjects, pairs, EDIT, replace(BLIND, structure=StructureConfig(encoder="/nowhere")))


def test_folders_are_found_from_any_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    study = compose_config(["edits.lpips.weights=lpips", "edits.structure.encoder=dino"]).edits

    assert (study.lpips.weights, study.structure.encoder) == (f"{tmp_path}/lpips", f"{tmp_path}/dino")
