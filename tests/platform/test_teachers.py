"""The real DINOv2 cannot be had without network: tiny ones of the same form, with random weights, stand in for it."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load, save

from unlatent.models.alignment import Projector, alignment_loss
from unlatent.platform.pretrained import names_a_hub_model
from unlatent.platform.teachers import open_teacher
from unlatent.platform.torchvision_shim import declare_missing_operators

pytest.importorskip("transformers")

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14, "image_size": 56}
SAVED_BY = {"format": "pt"}


@pytest.fixture(scope="module")
def transformers():
    declare_missing_operators()
    import transformers

    return transformers


@pytest.fixture
def make_folder(transformers, tmp_path):
    """A folder with a tiny model in it."""

    def make(kind: str = "Dinov2"):
        torch.manual_seed(0)
        config = getattr(transformers, f"{kind}Config")(**SIZES)
        folder = tmp_path / kind
        getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize("kind", ["Dinov2", "Dinov2WithRegisters"])
@pytest.mark.parametrize(
    ("shape", "grid"),
    [((64, 64), (4, 4)), ((32, 64), (2, 4)), ((96, 48), (6, 3)), ((8, 8), (1, 1)), ((40, 24), (2, 2))],
)
def test_a_token_stands_for_sixteen_pixels_on_a_side(make_folder, kind, shape, grid):
    teacher = open_teacher(str(make_folder(kind)), patch=16)

    features = teacher(torch.rand(2, 3, *shape))

    assert features.shape == (2, *grid, 24)
    assert teacher.width == 24


def test_a_token_may_stand_for_more_or_fewer_pixels(make_folder):
    folder = str(make_folder())

    assert open_teacher(folder, patch=32)(torch.rand(1, 3, 64, 64)).shape == (1, 2, 2, 24)
    assert open_teacher(folder, patch=2)(torch.rand(1, 3, 8, 8)).shape == (1, 4, 4, 24)


@pytest.mark.parametrize(("kind", "others"), [("Dinov2", 1), ("Dinov2WithRegisters", 5)])
@pytest.mark.parametrize("shape", [(64, 64), (32, 64)])
def test_features_are_the_models_own_of_the_normalised_image(transformers, make_folder, kind, others, shape):
    folder = make_folder(kind)
    images = 2 * torch.rand(2, 3, *shape) - 1
    channels = zip((images / 2 + 0.5).unbind(1), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    normal = torch.stack([(channel - mean) / std for channel, mean, std in channels], dim=1)
    small = F.interpolate(normal, [14 * side // 16 for side in shape], mode="bicubic")

    features = open_teacher(str(folder), patch=16)(images)

    with torch.no_grad():
        hidden = transformers.AutoModel.from_pretrained(folder).eval()(small).last_hidden_state
    torch.testing.assert_close(features.flatten(1, 2), hidden[:, others:])


def test_networks_can_still_be_built_without_memory_after_a_teacher_was_loaded(make_folder):
    code = """if True:
        import sys, torch
        from unlatent.platform.teachers import open_teacher
        open_teacher(sys.argv[1], patch=16)
        with torch.device("meta"):
            made = [torch.linspace(0, 1, 2), torch.arange(2), torch.zeros(2)]
        print(*(one.device for one in made))"""

    printed = subprocess.run([sys.executable, "-c", code, make_folder()], capture_output=True, text=True, check=True)

    assert printed.stdout.split() == ["meta", "meta", "meta"]


def test_tokens_stand_row_by_row(make_folder):
    teacher = open_teacher(str(make_folder()), patch=16)
    images = torch.zeros(1, 3, 32, 64)
    images[:, :, 16:, 32:48] = 1  # second row, third column

    change = (teacher(images) - teacher(torch.zeros(1, 3, 32, 64))).abs().sum(dim=-1)[0]

    assert change.argmax() == 1 * 4 + 2


def test_grey_images_are_seen_as_colour(make_folder):
    teacher = open_teacher(str(make_folder()), patch=16)
    grey = 2 * torch.rand(2, 1, 32, 32) - 1

    assert torch.equal(teacher(grey), teacher(grey.repeat(1, 3, 1, 1)))


def test_a_teacher_never_changes(make_folder):
    teacher = open_teacher(str(make_folder()), patch=16)
    images = torch.rand(2, 3, 32, 32, requires_grad=True)

    features = teacher(images)

    assert torch.equal(features, teacher(images))
    assert not features.requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not any(module.training for module in teacher.network.modules())


def test_a_projector_learns_from_it(make_folder):
    teacher, projector = open_teacher(str(make_folder()), patch=16), Projector(8, 8, 24)
    tokens = torch.randn(2, 8 * 16, 8)

    alignment_loss(projector(tokens), (8, 16), teacher(torch.rand(2, 3, 32, 64))).mean().backward()

    assert all(parameter.grad.abs().sum() > 0 for parameter in projector.parameters())


def test_it_computes_in_the_type_asked_for(make_folder):
    folder, images = str(make_folder()), torch.rand(2, 3, 32, 32)
    exact = open_teacher(folder, patch=16)(images)

    half = open_teacher(folder, patch=16, dtype=torch.bfloat16)(images)
    with torch.autocast("cpu", torch.bfloat16):
        cast = open_teacher(folder, patch=16)(images)

    assert half.dtype == torch.bfloat16
    for features in (half, cast):
        assert F.cosine_similarity(features.float(), exact, dim=-1).min() > 0.995
        assert not torch.equal(features.float(), exact)


@pytest.mark.parametrize("name", ["/no/such/folder", "./folder", "~/folder", "folder", "one/two/three", "owner/"])
def test_a_folder_that_is_not_there_is_refused(name):
    with pytest.raises(ValueError, match=rf"^alignment\.teacher={name} is no folder; one with config\.json"):
        open_teacher(name, patch=16)


def test_what_is_no_folder_may_be_a_name_on_the_hub():
    assert names_a_hub_model("facebook/dinov2-base")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"alignment\.teacher=.* cannot be loaded: .*") as refused:
        open_teacher(str(tmp_path), patch=16)

    assert "\n" not in str(refused.value)


def test_another_kind_of_model_is_refused(transformers, tmp_path):
    transformers.ViTConfig().save_pretrained(tmp_path)

    with pytest.raises(ValueError, match="its model_type is vit; dinov2 or dinov2_with_registers would do"):
        open_teacher(str(tmp_path), patch=16)


def test_pickled_weights_are_refused(make_folder):
    folder = make_folder()
    weights = folder / "model.safetensors"
    torch.save(load(weights.read_bytes()), folder / "pytorch_model.bin")
    weights.unlink()

    with pytest.raises(ValueError, match=r"cannot be loaded: .*model\.safetensors"):
        open_teacher(str(folder), patch=16)


def without_a_weight(content):
    return save({name: weight for name, weight in load(content).items() if name != "layernorm.weight"}, SAVED_BY)


def with_a_narrow_weight(content):
    return save(load(content) | {"layernorm.weight": torch.ones(23)}, SAVED_BY)


def cut_in_half(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("damaged", "complaint"),
    [
        (without_a_weight, r"of its weights 1 are missing or of another shape, such as layernorm\.weight"),
        (with_a_narrow_weight, r"of its weights 1 are missing or of another shape, such as layernorm\.weight"),
        (cut_in_half, r"cannot be loaded: Error while deserializing header"),
    ],
)
def test_weights_that_are_not_all_there_are_refused(make_folder, damaged, complaint):
    weights = make_folder() / "model.safetensors"
    weights.write_bytes(damaged(weights.read_bytes()))

    with pytest.raises(ValueError, match=complaint):
        open_teacher(str(weights.parent), patch=16)


def test_without_transformers_it_says_what_to_install(make_folder, monkeypatch):
    folder = make_folder()
    monkeypatch.setitem(sys.modules, "transformers", None)

    with pytest.raises(
        ValueError, match=r"needs the package transformers; pip install 'unlatent\[transformers\]' would do"
    ):
        open_teacher(str(folder), patch=16)
