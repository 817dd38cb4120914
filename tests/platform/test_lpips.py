"""True weights cannot be had without network: random ones under the same names, and what the authors' package says."""

import hashlib

import numpy as np
import pytest
import torch

from tests.golden import DATA
from tests.networks_that_look import random_lpips, write_lpips
from unlatent.platform.lpips import ALEXNET, HEADS, SHA256, Lpips, LpipsConfig, open_lpips


@pytest.fixture(scope="module")
def network() -> Lpips:
    return Lpips(*random_lpips().values())


@pytest.fixture(scope="module")
def golden():
    with np.load(DATA / "lpips.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture
def folder(tmp_path):
    return write_lpips(tmp_path / "lpips")


def test_it_says_what_the_authors_package_says(network, golden):
    found = network(golden["images"], golden["others"])

    torch.testing.assert_close(found, golden["spatial"], atol=1e-5, rtol=1e-5)


def test_what_is_the_same_is_exactly_0_apart(network, golden):
    images = golden["images"]

    assert (network(images, images.clone()) == 0).all()


def test_it_is_largest_where_images_differ_and_the_same_both_ways(network, golden):
    images = torch.full((1, 3, 256, 256), 128, dtype=torch.uint8)
    others = images.clone()
    others[:, :, 16:48, 200:232] = golden["images"][:1, :, :32, :32]

    found = network(images, others)

    assert divmod(int(found.argmax()), 256)[0] < 64 and 184 <= int(found.argmax()) % 256 < 248
    assert found[0, -1, 0] < 0.1 * found.max()
    torch.testing.assert_close(network(others, images), found)


def test_no_features_at_all_are_no_difference():
    """Nor is anything divided by a length of 0."""
    alexnet, heads = random_lpips().values()
    dark = Lpips({name: torch.full_like(weight, -float("bias" in name)) for name, weight in alexnet.items()}, heads)

    found = dark(*(torch.randint(256, (2, 1, 3, 32, 32), dtype=torch.uint8)))

    assert (found == 0).all()


@pytest.mark.parametrize("size", [31, 32, 63, 64, 100])
def test_every_pixel_of_any_image_has_a_value(network, size):
    images = torch.randint(256, (2, 1, 3, size, size + 5), dtype=torch.uint8)

    assert network(*images).shape == (1, size, size + 5)


def test_files_that_are_not_the_published_are_refused_unless_told(folder):
    found = hashlib.sha256((folder / ALEXNET).read_bytes()).hexdigest()

    with pytest.raises(ValueError, match=f"{ALEXNET} is not the published file: its sha256 is {found}, and should"):
        open_lpips(LpipsConfig(weights=str(folder)))
    assert open_lpips(LpipsConfig(weights=str(folder), any_weights=True))


def test_the_published_hashes_are_those_that_the_files_names_and_packages_have():
    assert ALEXNET.removesuffix(".pth").endswith(SHA256[ALEXNET]) and len(SHA256[HEADS]) == 64


def test_other_weights_have_another_hash(tmp_path):
    hashes = {
        open_lpips(LpipsConfig(weights=str(write_lpips(tmp_path / str(seed), seed)), any_weights=True))[1]
        for seed in (0, 1)
    }

    assert len(hashes) == 2


def without(name):
    return lambda weights: {key: weight for key, weight in weights.items() if key != name}


@pytest.mark.parametrize(
    ("file", "damaged", "complaint"),
    [
        (ALEXNET, without("features.6.bias"), r"features\.6\.bias is missing, not of \(384,\)"),
        (HEADS, without("lin0.model.1.weight"), r"alex\.pth holds other weights: lin0\.model\.1\.weight is missing"),
        (HEADS, lambda weights: weights | {"lin4.model.1.weight": torch.ones(1, 512, 1, 1)}, r"of the shape \(1, 512"),
        (HEADS, lambda weights: [1], r"alex\.pth holds something else than weights"),
        (HEADS, lambda weights: {"run": print}, r"alex\.pth cannot be read as weights"),
    ],
)
def test_files_of_other_networks_are_refused(folder, file, damaged, complaint):
    torch.save(damaged(torch.load(folder / file)), folder / file)

    with pytest.raises(ValueError, match=complaint) as refused:
        open_lpips(LpipsConfig(weights=str(folder), any_weights=True))

    assert str(refused.value).startswith(f"edits.lpips.weights={folder}: ") and "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut off"])
def test_what_holds_no_weights_is_refused(folder, content):
    (folder / HEADS).write_bytes(content)

    with pytest.raises(ValueError, match=r"alex\.pth cannot be read as weights"):
        open_lpips(LpipsConfig(weights=str(folder), any_weights=True))


def test_a_file_that_is_not_there_is_named_with_both_that_would_do(folder):
    (folder / HEADS).unlink()

    with pytest.raises(ValueError, match=r"alex\.pth cannot be read: No such file or directory; a folder with alexnet"):
        open_lpips(LpipsConfig(weights=str(folder)))
