"""A small classifier of a data set's own images: the feature extractor where there is no Inception.

Trained once on the training split and kept in the store under the data set's hash. It trains in one thread: with more,
sums are taken in another order, and the same seed would give other features on another machine.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from unlatent.platform.datasets import Dataset
from unlatent.platform.features import Extractor, resize
from unlatent.platform.image_split import ImageSplit
from unlatent.platform.store import Store

FORMAT_VERSION = 1  # another one trains anew
FEATURES = 64
LARGEST_INPUT = 32  # pixels on a side; larger images are scaled down to it
FIRST_WIDTH, LAST_WIDTH = 32, 128
SEED = 0
EPOCHS = 40
FEWEST_IMAGES, MOST_IMAGES = 10_000, 100_000  # seen in training, whatever the epochs come to
BATCH_IMAGES = 128
PEAK_LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.1
KEPT_IN_MEMORY = 50_000  # images of the training split that are trained on
READ_AT_ONCE = 1000


class ClassifierNetwork(nn.Module):
    """Halves the image until 2×2 positions are left. The features are smooth in every direction, none is ever dead."""

    def __init__(self, channels: int, classes: int, image_size: int) -> None:
        super().__init__()
        self.input_size = min(image_size, LARGEST_INPUT)
        stages, size, before, width = [], self.input_size, channels, FIRST_WIDTH
        while size > 2:
            convolution = nn.Conv2d(before, width, 3, padding=1, bias=False)
            stages += [convolution, nn.BatchNorm2d(width), nn.SiLU(), nn.MaxPool2d(2)]
            size, before, width = size // 2, width, min(2 * width, LAST_WIDTH)
        self.stages = nn.Sequential(*stages)
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(4 * before, FEATURES), nn.SiLU())
        self.scores = nn.Linear(FEATURES, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = resize(images, self.input_size) / 127.5 - 1  # (N, C, S, S)
        x = F.adaptive_avg_pool2d(self.stages(x), 2)  # (N, W, 2, 2)
        features = self.features(x)  # (N, 64)
        return features, self.scores(features)


def classifier_name(dataset: Dataset) -> str:
    return f"classifier:{dataset.hash}"


def fit_classifier(dataset: Dataset, store: Store, minimum_accuracy: float) -> Extractor:
    """The data set's classifier, from the store or trained now; once, even if several processes ask.

    Raises ValueError if it cannot tell the classes apart: its features would measure nothing.
    """
    if len(dataset.classes) < 2:
        raise ValueError(
            f"data set {dataset.name!r} has one class, and a classifier nothing to learn; "
            "evaluation.extractor=inception needs no classifier"
        )
    with store.lock(f"artifacts/classifiers/.{dataset.hash}.lock"):
        classifier = load_classifier(dataset, store) or train_and_save(dataset, store)
    assert classifier.accuracy is not None
    if classifier.accuracy < minimum_accuracy:
        raise ValueError(
            f"the classifier of data set {dataset.name!r} is right on {classifier.accuracy:.1%} of held-out images, "
            f"below evaluation.minimum_accuracy={minimum_accuracy}; evaluation.extractor=inception needs no classifier"
        )
    return classifier


def folder(dataset: Dataset) -> str:
    return f"artifacts/classifiers/{dataset.hash}"


def load_classifier(dataset: Dataset, store: Store) -> Extractor | None:
    """The classifier in the store, or None if there is none that is whole and of this format."""
    try:
        meta = json.loads(store.read_bytes(f"{folder(dataset)}/meta.json"))
        weights = store.read_bytes(f"{folder(dataset)}/model.safetensors")
    except FileNotFoundError:
        return None
    if (meta["format_version"], meta["sha256"]) != (FORMAT_VERSION, hashlib.sha256(weights).hexdigest()):
        return None
    network = new_network(dataset)
    network.load_state_dict(load_safetensors(weights))
    return describe(dataset, network, meta["accuracy"], meta["sha256"])


def train_and_save(dataset: Dataset, store: Store) -> Extractor:
    if not len(dataset.held_out):
        raise ValueError(f"data set {dataset.name!r} holds out no image to test a classifier on; raise data.held_out")
    network = train(dataset)
    accuracy = measure_accuracy(network, dataset.held_out)
    weights = save_safetensors(network.state_dict())
    sha256 = hashlib.sha256(weights).hexdigest()
    meta = {"format_version": FORMAT_VERSION, "accuracy": accuracy, "sha256": sha256}
    contents = {"model.safetensors": weights, "meta.json": json.dumps(meta, indent=2).encode()}
    store.write_folder(folder(dataset), contents)
    return describe(dataset, network, accuracy, sha256)


def describe(dataset: Dataset, network: nn.Module, accuracy: float, sha256: str) -> Extractor:
    network.eval().requires_grad_(False)
    return Extractor(network=network, accuracy=accuracy, name=classifier_name(dataset), hash=sha256)


def new_network(dataset: Dataset) -> ClassifierNetwork:
    return ClassifierNetwork(dataset.channels, len(dataset.classes), dataset.image_size)


def train(dataset: Dataset) -> ClassifierNetwork:
    """The same network for the same data set, every time. Leaves torch's own random generator as it was."""
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = new_network(dataset)
        images, labels = read_small(dataset.train, network.input_size)
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
        total_steps = min(max(EPOCHS * len(images), FEWEST_IMAGES), MOST_IMAGES) // BATCH_IMAGES
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps)
        for _ in range(total_steps):
            chosen = torch.randint(len(images), (BATCH_IMAGES,))
            _, scores = network(shift_randomly(images[chosen]))
            loss = F.cross_entropy(scores, labels[chosen], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def read_small(split: ImageSplit, size: int) -> tuple[Tensor, Tensor]:  # uint8 (N, C, S, S), (N,)
    """Images evenly from the whole split, at the network's own size, so that all fit in memory."""
    indices = spread(len(split), KEPT_IN_MEMORY)
    parts = [indices[start : start + READ_AT_ONCE] for start in range(0, len(indices), READ_AT_ONCE)]
    images = torch.cat([resize(split.read(part), size).round().byte() for part in parts])
    return images, torch.from_numpy(split.labels[indices])


def spread(length: int, most: int) -> NDArray[np.int64]:
    """Indices below `length` at even distances: all of them, or as many as `most`."""
    return np.arange(length) if length <= most else np.arange(most) * length // most


def shift_randomly(images: Tensor) -> Tensor:  # (N, C, S, S) -> (N, C, S, S)
    """Moves each image by up to an eighth of its side in both directions; the border repeats."""
    count, _, _, size = images.shape
    reach = max(1, size // 8)
    positions = torch.arange(size)
    down, right = (positions + torch.randint(-reach, reach + 1, (2, count, 1))).clamp(0, size - 1)  # (N, S) each
    return images[torch.arange(count)[:, None, None], :, down[:, :, None], right[:, None]].movedim(-1, 1)


@torch.inference_mode()
def measure_accuracy(network: nn.Module, split: ImageSplit) -> float:
    right = 0
    for start in range(0, len(split), READ_AT_ONCE):
        indices = range(start, min(start + READ_AT_ONCE, len(split)))
        _, scores = network(split.read(indices))
        right += int((scores.argmax(dim=1) == torch.from_numpy(split.labels[start : indices.stop])).sum())
    return right / len(split)
