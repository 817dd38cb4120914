"""The real DINOs cannot be had without network: tiny ones of the same form, with random weights, stand in for them."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.networks_that_look import write_encoder
from unlatent.platform.pretrained import import_transformers
from unlatent.platform.structure import PREPARATION, StructureConfig, open_structure

pytest.importorskip("transformers")

KINDS = ["ViT", "Dinov2", "Dinov2WithRegisters"]


@pytest.fixture
def make_encoder(tmp_path):
    return partial(write_encoder, tmp_path / "dino")


def encoder_in(folder):
    return open_structure(StructureConfig(encoder=str(folder)))[0]


def some_images(*shape, seed=0):
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_the_same_is_exactly_0_apart_and_what_is_not_is_more(make_encoder, kind):
    encoder, images = encoder_in(make_encoder(kind)), some_images(3, 3, 64, 64)

    assert (encoder(images, images.clone()) == 0).all()
    apart = encoder(images, some_images(3, 3, 64, 64, seed=1))
    assert (apart > 0).all()
    torch.testing.assert_close(encoder(some_images(3, 3, 64, 64, seed=1), images), apart)


@pytest.mark.parametrize(("kind", "registers"), [("ViT", 0), ("Dinov2", 0), ("Dinov2WithRegisters", 4)])
def test_it_is_the_mean_square_of_what_cosines_of_the_last_layers_keys_differ_by(make_encoder, kind, registers):
    folder = make_encoder(kind)
    encoder, network = encoder_in(folder), import_transformers().AutoModel.from_pretrained(folder).eval()
    deepest = network.layers[-1] if kind == "ViT" else network.encoder.layer[-1]

    def cosines(image):
        normal = encoder.prepared(image[None])
        with torch.no_grad():
            before = network(normal, output_hidden_states=True).hidden_states[-2]  # what the last layer is given
            norm = deepest.layernorm_before if hasattr(deepest, "layernorm_before") else deepest.norm1
            keys = deepest.attention.k_proj(norm(before))[0].numpy()
        kept = np.concatenate([keys[:1], keys[1 + registers :]])
        lengths = np.linalg.norm(kept, axis=1)
        return kept @ kept.T / np.outer(lengths, lengths)

    images, others = some_images(2, 3, 24, 24), some_images(2, 3, 24, 24, seed=1)
    found = encoder(images, others)

    for number in range(2):
        difference = cosines(images[number]) - cosines(others[number])
        assert difference.shape == (17, 17)
        assert found[number].item() == pytest.approx((difference**2).mean(), rel=1e-4)


@pytest.mark.parametrize(("kind", "side", "resampling"), [("ViT", 32, "BILINEAR"), ("Dinov2", 56, "BICUBIC")])
@pytest.mark.parametrize("size", [24, 200])
def test_an_image_is_prepared_as_the_folder_says_with_nothing_cut_off(make_encoder, kind, side, resampling, size):
    image = F.avg_pool2d(some_images(3, size, size).float(), 3, 1, 1).byte()
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    small = np.asarray(picture.resize((side, side), Image.Resampling[resampling])) / 255
    expected = (small - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])

    found = encoder_in(make_encoder(kind)).prepared(image[None])[0].permute(1, 2, 0).numpy()

    assert np.abs(found - expected).max() < 1.1 / 255 / 0.224  # Pillow rounds


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [4, 31, 200])
def test_images_of_any_size_are_brought_to_the_encoders(make_encoder, kind, size):
    encoder = encoder_in(make_encoder(kind))

    assert encoder.similarities(some_images(1, 3, size, size)).shape == (1, 17, 17)


def test_an_encoder_of_another_size_than_its_positions_interpolates_them(make_encoder):
    folder = make_encoder()
    said = json.loads((folder / PREPARATION).read_text())
    (folder / PREPARATION).write_text(json.dumps(said | {"size": {"height": 44, "width": 44}}))

    encoder = encoder_in(folder)

    assert encoder.side == 40 and encoder.similarities(some_images(1, 3, 64, 64)).shape == (1, 26, 26)


def test_weights_and_what_is_done_to_an_image_are_in_the_hash(tmp_path):
    folders = [write_encoder(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    first, second = (open_structure(StructureConfig(encoder=str(folder)))[1] for folder in folders)
    said = json.loads((folders[0] / PREPARATION).read_text())
    (folders[0] / PREPARATION).write_text(json.dumps(said | {"resample": 3}))
    third = open_structure(StructureConfig(encoder=str(folders[0])))[1]

    assert len({first, second, third}) == 3


@pytest.mark.parametrize("name", ["no/such/folder", "facebook/dino-vitb8"])
def test_what_is_no_folder_is_refused(name):
    config = StructureConfig(encoder=name)

    with pytest.raises(ValueError, match=rf"^edits\.structure\.encoder=/.*{name} is no folder; one with config"):
        open_structure(config)


def test_another_kind_of_network_is_refused(make_encoder, tmp_path):
    folder = make_encoder()
    import_transformers().BertConfig().save_pretrained(folder)

    with pytest.raises(ValueError, match="its model_type is bert; vit, dinov2 or dinov2_with_registers would do"):
        open_structure(StructureConfig(encoder=str(folder)))


def test_a_layer_that_is_missing_is_one_line_and_no_table(make_encoder):
    folder = make_encoder()
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if "layer.1.attention" not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    code = """if True:
        import sys
        from unlatent.platform.structure import StructureConfig, open_structure
        try:
            open_structure(StructureConfig(encoder=sys.argv[1]))
        except ValueError as error:
            print(error)"""

    ended = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)

    assert "of its weights 8 are missing or of another shape" in ended.stdout and ended.stdout.count("\n") == 1
    assert "REPORT" not in ended.stderr  # of transformers' own


def test_a_pooling_layer_is_left_where_there_is_one(make_encoder):
    folder, images = make_encoder(), some_images(2, 3, 32, 32)
    without = encoder_in(folder).similarities(images)
    weights = load_file(folder / "model.safetensors")
    pooling = {"pooler.dense.weight": torch.zeros(24, 24), "pooler.dense.bias": torch.zeros(24)}
    save_file(weights | pooling, folder / "model.safetensors", {"format": "pt"})

    assert torch.equal(encoder_in(folder).similarities(images), without)


def test_one_of_grey_images_is_refused(make_encoder):
    with pytest.raises(ValueError, match="looks at 1 channels; one of 3 would do"):
        open_structure(StructureConfig(encoder=str(make_encoder(num_channels=1))))


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (None, r"preprocessor_config\.json cannot be read: No such file or directory"),
        ("{", r"preprocessor_config\.json lacks a size, image_mean"),
        ('{"size": 32, "resample": 2, "image_mean": [0.5], "image_std": [0.5]}', r"lacks a size, image_mean"),
        ('{"size": {}, "resample": 2, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}', r"lacks a size, image_mean"),
        ('{"size": 32, "resample": 0, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}', r"or a resample of 2 or 3"),
        ("[]", r"lacks a size"),
    ],
)
def test_a_folder_that_does_not_say_how_images_are_prepared_is_refused(make_encoder, written, complaint):
    folder = make_encoder()
    (folder / PREPARATION).unlink()
    if written:
        (folder / PREPARATION).write_text(written)

    with pytest.raises(ValueError, match=rf"^edits\.structure\.encoder={folder}: .*{complaint}"):
        open_structure(StructureConfig(encoder=str(folder)))
