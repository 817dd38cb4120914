import numpy as np
import pytest
import torch

from unlatent.platform.edit_study.measuring import background_similarity, measure, succeeded, untouched
from unlatent.platform.edit_study.objects import candidates, nearest_class, object_place, surroundings
from unlatent.platform.fidelity import similarity_map, structural_similarity
from unlatent.platform.scenes import CLASSES
from unlatent.platform.scenes.pairs import read_pairs
from unlatent.platform.scenes.plan import ScenePlan
from unlatent.platform.scenes.scene import pair_at
from unlatent.platform.store import Store


def images_of(pairs, which):
    return torch.from_numpy(np.stack([getattr(pair, which) for pair in pairs]))


def test_the_true_target_succeeds_everywhere_and_keeps_all_of_the_background(pairs):
    measured = measure(pairs, images_of(pairs, "target"))

    assert succeeded(pairs, measured).all() and not untouched(pairs, measured).any()
    assert (measured.background_errors == 0).all() and (measured.object_errors == 0).all()
    assert measured.background_similarities == pytest.approx(1)
    assert (measured.letters_right == measured.letters).all()


def test_the_untouched_source_keeps_everything_and_succeeds_nowhere(pairs):
    measured = measure(pairs, images_of(pairs, "source"))

    assert untouched(pairs, measured).all() and not succeeded(pairs, measured).any()
    assert (measured.background_errors == 0).all() and (measured.object_errors > 0).all()
    assert measured.background_similarities == pytest.approx(1)


def test_an_object_is_told_through_blur_and_noise(pairs):
    generator = torch.Generator().manual_seed(0)
    targets = images_of(pairs, "target").float()
    soft = torch.nn.functional.avg_pool2d(targets, 3, 1, 1)
    noisy = (soft + 20 * torch.randn(soft.shape, generator=generator)).clamp(0, 255).byte()

    measured = measure(pairs, noisy)

    assert succeeded(pairs, measured).mean() > 0.9 and (measured.object_errors > 0).all()
    assert (measured.background_errors > 0).all() and (measured.background_similarities < 0.9).all()


def test_noise_is_of_some_class_about_by_chance(pairs):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(256, images_of(pairs, "source").shape, dtype=torch.uint8, generator=generator)

    measured = measure(pairs, noise)

    assert succeeded(pairs, measured).mean() < 0.2


def test_every_class_is_told_from_every_other_in_the_place_of_the_two_objects(pairs):
    for pair in pairs[:8]:
        rows, columns = surroundings(pair.scene)
        image = pair.source.copy()
        for label, drawn in enumerate(candidates(pair.scene)):
            image[:, rows, columns] = drawn

            assert nearest_class(image, pair) == label
        outside = object_place(pair).copy()
        outside[rows, columns] = False
        assert not outside.any() and len(candidates(pair.scene)) == len(CLASSES)


def test_only_the_background_counts_as_such(pairs):
    """An error within the margin of the objects, however large, is none of the background's."""
    for pair in pairs[:5]:
        image = np.where(pair.background_mask, pair.source, 255 - pair.source)
        [error], [similarity] = (
            getattr(measure([pair], torch.from_numpy(image)[None]), name)
            for name in ("background_errors", "background_similarities")
        )
        assert error == 0 and similarity == pytest.approx(1)


def test_an_error_is_the_mean_over_the_background_and_nothing_else(pairs):
    pair = pairs[0]
    image = pair.source.copy()
    row, column = np.argwhere(pair.background_mask)[0]
    image[:, row, column] = 255 - image[:, row, column]
    differences = (image.astype(float) - pair.source) / 255

    measured = measure([pair], torch.from_numpy(image)[None])

    assert measured.background_errors[0] == pytest.approx((differences**2).sum() / (3 * pair.background_mask.sum()))
    assert background_similarity(pair, image) < 1


def test_the_map_of_similarity_has_the_mean_that_scikit_image_tells_away_from_borders(pairs):
    before, after = pairs[0].source, pairs[1].source

    whole = structural_similarity(torch.from_numpy(before)[None], torch.from_numpy(after)[None])

    assert similarity_map(before, after)[5:-5, 5:-5].mean() == pytest.approx(whole[0])


def test_pairs_know_their_scenes(scenes, pairs):
    for index, pair in enumerate(pairs):
        source, _, _ = pair_at(0, index, 64)
        assert pair.scene == source and pair.scene.label == pair.source_label


def test_pairs_whose_scenes_come_out_otherwise_here_are_refused(scenes, tmp_path):
    copy, settings = Store(tmp_path / "copy"), scenes.read_bytes("prepared.json")
    for shard in ScenePlan(images=30, pairs=40, image_size=64).shards("pairs"):
        copy.write_bytes(shard.path, scenes.read_bytes(shard.path))
    copy.write_bytes("prepared.json", settings.replace(b'"seed": 0', b'"seed": 1'))

    with pytest.raises(ValueError, match=r"pair 0 is another scene than Pillow .* makes of it; it was drawn by Pillow"):
        list(read_pairs(copy))
