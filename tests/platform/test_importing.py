"""What `unlatent import` makes of every published layout, and what it refuses."""

import json
import os
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner

import unlatent
from tests.golden import NETWORKS, TOLERANCE, Golden, golden
from unlatent.models import Text, sample
from unlatent.models.published_arguments import config_from_arguments
from unlatent.platform.commands import app
from unlatent.platform.image_sizes import trained_sides
from unlatent.platform.importing import config_yaml, published_config


def as_raw(tensors):
    return tensors


def as_lightning(tensors):
    other = {name: tensor + 1 for name, tensor in tensors.items()}
    state = {f"ema_denoiser.{name}": tensor for name, tensor in tensors.items()}
    state |= {f"denoiser.{name}": tensor for name, tensor in other.items()}
    state |= {"diffusion_trainer.proj.0.weight": torch.zeros(2, 2)}
    return {"state_dict": state, "epoch": 3, "global_step": 1000, "optimizer_states": [{"lr": 0.1}]}


def as_text_trainer(tensors):
    average = {f"core.{name}": tensor for name, tensor in tensors.items()}
    state = {f"core.{name}": tensor + 1 for name, tensor in tensors.items()}
    state |= {"_repa_projector.0.weight": torch.zeros(2, 2)}
    return {"state_dict": state, "state_dict_ema": average, "optimizer": {}, "epoch": 3}


def as_sharded(tensors):
    return {"state_dict": {f"core.{name}": tensor for name, tensor in tensors.items()}}


def as_compiled(tensors):
    return {"state_dict": {f"module.denoiser._orig_mod.{name}": tensor for name, tensor in tensors.items()}}


def as_ema(tensors):
    return {"ema": tensors, "step": 12}


LAYOUTS = [as_raw, as_lightning, as_text_trainer, as_sharded, as_compiled, as_ema]


def import_golden(folder: Path, known: Golden, content: object) -> str:
    """What the command prints for a file with this content."""
    torch.save(content, folder / "published.pt")
    return run_import(folder, known)


def run_import(folder: Path, known: Golden, *options: str, file: str = "published.pt") -> str:
    (folder / "config.json").write_text(json.dumps(known.arguments))
    told = ["--config", str(folder / "config.json"), "--out", str(folder / "ours"), "--image-size", "16", *options]
    result = CliRunner().invoke(app, ["import", str(folder / file), *told])
    if result.exception:
        raise result.exception
    return result.stdout


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_imported_network_says_what_the_published_one_says(tmp_path, name, layout):
    known = golden(name)

    import_golden(tmp_path, known, layout(known.tensors))
    network = unlatent.load(tmp_path / "ours").network

    velocity = network(known.x, known.t, known.condition)
    assert (velocity - known.velocity).abs().max() < TOLERANCE


def test_a_text_preset_sees_padding_as_the_published_network_does():
    by_preset = published_config("text", None)
    arguments = config_from_arguments(golden("text").arguments, 16)

    assert not by_preset.text.mask_padding and not arguments.text.mask_padding


def test_what_the_encoder_reads_first_is_kept_with_the_weights(tmp_path):
    known = golden("text")
    save_file(known.tensors, tmp_path / "published.safetensors")
    (tmp_path / "instruction.txt").write_text("Describe\nit: \n")
    (tmp_path / "gemma").mkdir()
    told = ("--instruction", str(tmp_path / "instruction.txt"), "--encoder", str(tmp_path / "gemma"))

    said = run_import(tmp_path, known, *told, file="published.safetensors")
    (tmp_path / "instruction.txt").unlink()

    text = unlatent.load(tmp_path / "ours").network.config.text
    assert (text.instruction_text, text.encoder) == ("Describe\nit: ", str(tmp_path / "gemma"))
    assert "no instruction before prompts" not in said


def test_a_text_network_without_its_instruction_is_told_so(tmp_path):
    known = golden("text")

    said = import_golden(tmp_path, known, known.tensors)

    assert "no instruction before prompts: published networks have one; --instruction FILE imports it too" in said


@pytest.mark.parametrize(
    ("name", "option", "complaint"),
    [
        ("class_pre_modulation", "here.txt", "are for text networks, and config is that of classes"),
        ("text", "nowhere.txt", r"^model\.text\.instruction=\S+nowhere\.txt cannot be read: "),
    ],
)
def test_an_instruction_that_is_not_there_or_without_use_is_refused(tmp_path, name, option, complaint):
    known = golden(name)
    (tmp_path / "here.txt").write_text("Describe it: ")

    with pytest.raises(ValueError, match=complaint):
        torch.save(known.tensors, tmp_path / "published.pt")
        run_import(tmp_path, known, "--instruction", str(tmp_path / option))

    assert not (tmp_path / "ours").exists()


def test_safetensors_are_taken_too(tmp_path):
    known = golden("text")
    save_file(known.tensors, tmp_path / "published.safetensors")

    run_import(tmp_path, known, file="published.safetensors")

    velocity = unlatent.load(tmp_path / "ours").network(known.x, known.t, known.condition)
    assert (velocity - known.velocity).abs().max() < TOLERANCE


def test_weights_and_their_average_are_both_kept_and_told(tmp_path):
    known = golden("class_pre_modulation")

    said = import_golden(tmp_path, known, as_lightning(known.tensors))

    assert "weights: ema and raw" in said
    assert "left out, for training alone: 1 tensors" in said
    raw, average = (unlatent.load(tmp_path / "ours", weights=kind).network for kind in ("raw", "ema"))
    torch.testing.assert_close(raw.embed_patch.weight, average.embed_patch.weight + 1)


def test_half_precision_becomes_float32(tmp_path):
    known = golden("class_pre_modulation")

    import_golden(tmp_path, known, {name: tensor.bfloat16() for name, tensor in known.tensors.items()})

    assert unlatent.load(tmp_path / "ours").network.embed_patch.weight.dtype == torch.float32


def test_an_imported_class_network_draws_images(tmp_path):
    known = golden("class_pre_modulation")
    import_golden(tmp_path, known, known.tensors)
    of_class = unlatent.load(tmp_path / "ours")

    assert of_class.generate(["3", 10 - 1], seeds=[0, 1])[0].size == (16, 16)
    assert (of_class.sampler.steps, of_class.sampler.guidance) == (100, 2.75)


@pytest.mark.parametrize(
    ("shape", "size", "sampler", "sizes"),
    [
        ("xl", 256, (100, 2.75, 1.0), []),
        ("xl", 512, (100, 3.5, 2.0), []),
        ("text", 512, (25, 4.5, 3.0), [(1024, 256), (512, 512), (256, 1024)]),
        ("text", 1024, (25, 4.5, 4.0), [(2048, 512), (1024, 1024), (512, 2048)]),
    ],
)
def test_a_published_network_draws_as_the_paper_does_at_its_size(shape, size, sampler, sizes):
    said = yaml.safe_load(config_yaml(published_config(shape, size)))

    assert (said["sampler"]["steps"], said["sampler"]["guidance"], said["sampler"]["shift"]) == sampler
    found = trained_sides(said["data"])
    assert [found[0], found[len(found) // 2], found[-1]] == sizes if sizes else found == []


def test_an_imported_text_network_samples_with_tokens(tmp_path):
    known = golden("text")
    import_golden(tmp_path, known, known.tensors)
    model = unlatent.load(tmp_path / "ours")

    image = sample(model.network, known.x, Text(known.condition), model.sampler, Text(0 * known.condition))

    assert image.shape == known.x.shape
    assert model.sampler.name == "dpmpp_2m"


def test_an_imported_text_network_asks_for_the_encoder_that_it_was_trained_with(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # which it reads as it is imported
    known = golden("text")
    import_golden(tmp_path, known, known.tensors)
    model = unlatent.load(tmp_path / "ours")

    with pytest.raises(ValueError, match=r"^model\.text\.encoder=google/gemma-2-2b-it cannot be loaded: "):
        model.generate(["a cat"], seeds=[0])


def test_what_does_not_fit_is_listed_and_nothing_is_written(tmp_path):
    known = golden("text")
    tensors = {**known.tensors, "extra.weight": torch.zeros(2), "y_pos_embedding": torch.zeros(1, 8, 48)}
    del tensors["patch_blocks.1.mlp_y.w2.weight"]

    with pytest.raises(ValueError) as refusal:
        import_golden(tmp_path, known, tensors)

    assert "does not fit the config, in 3 tensors:" in str(refusal.value)
    assert "patch_blocks.1.mlp_y.w2.weight is missing, (48, 128)" in str(refusal.value)
    assert "y_pos_embedding is (1, 8, 48), not (1, 7, 48)" in str(refusal.value)
    assert "extra.weight is not of this network, (2,)" in str(refusal.value)
    assert not (tmp_path / "ours").exists()


class RunsCode:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path):
    known, marker = golden("class_pre_modulation"), str(tmp_path / "ran")

    with pytest.raises(ValueError, match=r"is refused: it holds posix\.mkdir, which is not a tensor") as refusal:
        import_golden(tmp_path, known, {"state_dict": known.tensors, "hyper_parameters": RunsCode(marker)})

    assert "\n" not in str(refusal.value)
    assert not Path(marker).exists()
    assert not (tmp_path / "ours").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    known = golden("class_pre_modulation")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "mine.txt").write_text("mine")

    with pytest.raises(ValueError, match="is not empty; a new folder would do"):
        import_golden(tmp_path, known, known.tensors)

    assert [path.name for path in (tmp_path / "ours").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"not a checkpoint", "cannot be read"),
        ({"epoch": 3}, "holds no tensors at its top"),
        ([torch.zeros(3)], "holds a list, not a mapping"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(tmp_path, content, complaint):
    known = golden("class_pre_modulation")
    if isinstance(content, bytes):
        (tmp_path / "published.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "published.pt")

    with pytest.raises(ValueError, match=complaint) as refusal:
        run_import(tmp_path, known)

    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"hidden_dim": 4}', "hidden_dim is no argument of the published class network"),
        ('{"hidden_size": "wide"}', "config="),
    ],
)
def test_a_config_that_cannot_be_read_is_refused(tmp_path, text, complaint):
    torch.save({}, tmp_path / "published.pt")
    (tmp_path / "config.json").write_text(text)
    told = ["--config", str(tmp_path / "config.json"), "--out", str(tmp_path / "ours")]

    result = CliRunner().invoke(app, ["import", str(tmp_path / "published.pt"), *told])

    assert isinstance(result.exception, ValueError)
    assert complaint in str(result.exception)


def test_classes_get_their_names_from_a_file(tmp_path):
    known = golden("class_pre_modulation")
    torch.save(known.tensors, tmp_path / "published.pt")
    (tmp_path / "names").write_text("\n".join(f"animal {n}" for n in range(10)))

    run_import(tmp_path, known, "--classes", str(tmp_path / "names"))

    assert unlatent.load(tmp_path / "ours").classes[3] == "animal 3"


def test_a_list_of_names_of_another_length_is_refused(tmp_path):
    known = golden("class_pre_modulation")
    torch.save(known.tensors, tmp_path / "published.pt")
    (tmp_path / "names").write_text("cat\ndog")

    with pytest.raises(ValueError, match="has 2 lines, and the network 10 classes"):
        run_import(tmp_path, known, "--classes", str(tmp_path / "names"))
