import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from unlatent.platform import classifier
from unlatent.platform.classifier import ClassifierNetwork, fit_classifier, shift_randomly, spread
from unlatent.platform.datasets import DataConfig, open_dataset
from unlatent.platform.image_split import ArrayPixels, ImageSplit
from unlatent.platform.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def digits(store):
    return open_dataset(DataConfig(), store)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(classifier, "EPOCHS", 1)
    monkeypatch.setattr(classifier, "FEWEST_IMAGES", 256)


def some_of(dataset, count):
    split = ImageSplit(ArrayPixels(dataset.train.pixels.array[:count]), dataset.train.labels[:count])
    return replace(dataset, train=split, hash="some")


def test_it_tells_digits_apart_and_is_trained_once(digits, store, monkeypatch):
    first = fit_classifier(digits, store, minimum_accuracy=0.97)
    monkeypatch.setattr(classifier, "train", None)

    again = fit_classifier(digits, store, minimum_accuracy=0.97)

    assert first.accuracy == again.accuracy >= 0.985
    assert first.name == f"classifier:{digits.hash}"
    images = digits.held_out.read(range(5))
    assert torch.equal(first.network(images)[0], again.network(images)[0])


def test_several_that_ask_at_once_train_it_once(digits, tmp_path, quick, monkeypatch):
    dataset, store, trained = some_of(digits, 50), Store(tmp_path), []
    real_train = classifier.train
    monkeypatch.setattr(classifier, "train", lambda asked: trained.append(asked) or real_train(asked))

    with ThreadPoolExecutor(3) as threads:
        names = set(threads.map(lambda _: fit_classifier(dataset, store, 0).hash, range(3)))

    assert len(trained) == len(names) == 1


def test_the_same_data_give_the_same_network_whatever_was_drawn_before(digits, quick):
    torch.manual_seed(1)
    first = classifier.train(digits)
    torch.rand(10)
    second = classifier.train(digits)

    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_training_leaves_the_random_generator_and_the_threads_alone(digits, quick):
    torch.manual_seed(1)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(1)

    classifier.train(digits)

    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_one_that_cannot_tell_the_classes_apart_is_refused(digits, tmp_path, quick):
    with pytest.raises(
        ValueError, match=r"right on \d+\.\d% of held-out images, below evaluation\.minimum_accuracy=0\.999"
    ):
        fit_classifier(some_of(digits, 20), Store(tmp_path), minimum_accuracy=0.999)


def test_a_damaged_or_outdated_one_is_trained_anew(digits, tmp_path, quick):
    dataset, store = some_of(digits, 50), Store(tmp_path)
    folder = store.local("artifacts/classifiers/some")
    accuracy = fit_classifier(dataset, store, 0).accuracy

    (folder / "model.safetensors").write_bytes(b"damaged")
    assert fit_classifier(dataset, store, 0).accuracy == accuracy

    (folder / "meta.json").write_text(json.dumps({"format_version": 0, "accuracy": 1.0, "sha256": ""}))
    assert fit_classifier(dataset, store, 0).accuracy == accuracy


def test_nothing_held_out_is_refused(digits, tmp_path):
    empty = ImageSplit(ArrayPixels(digits.held_out.pixels.array[:0]), digits.held_out.labels[:0])

    with pytest.raises(ValueError, match=r"holds out no image .*; raise data\.held_out"):
        fit_classifier(replace(digits, held_out=empty, hash="none"), Store(tmp_path), 0)


@pytest.mark.parametrize(("channels", "size"), [(1, 1), (1, 8), (3, 28), (3, 64)])
def test_images_of_any_size_have_64_features(channels, size):
    network = ClassifierNetwork(channels, classes=5, image_size=size).eval()

    features, scores = network(torch.zeros(2, channels, size, size, dtype=torch.uint8))

    assert (features.shape, scores.shape) == ((2, 64), (2, 5))


def test_shifts_move_the_whole_image_by_a_pixel_at_most():
    image = torch.arange(64).view(1, 1, 8, 8)
    padded = torch.nn.functional.pad(image.float(), (1, 1, 1, 1), mode="replicate").long()
    possible = [padded[:, :, y : y + 8, x : x + 8] for y in range(3) for x in range(3)]

    moved = shift_randomly(image.expand(50, -1, -1, -1))

    assert all(any(torch.equal(one, other[0]) for other in possible) for one in moved)
    assert len({one.numpy().tobytes() for one in moved}) > 5


def test_images_are_taken_evenly():
    assert spread(3, 5).tolist() == [0, 1, 2]
    assert spread(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert len(np.unique(spread(1_281_167, 50_000))) == 50_000
