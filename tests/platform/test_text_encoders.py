"""The real Gemma 2 and T5 cannot be had without network: tiny ones of the same form, with random weights, stand in."""

import shutil
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

import unlatent
from unlatent.models.byte_text import byte_text
from unlatent.models.config import CompactionConfig, PixelTransformerConfig, TextConfig
from unlatent.models.network import PixelTransformer
from unlatent.platform import checkpoints
from unlatent.platform.config import compose_config, from_yaml, to_yaml
from unlatent.platform.image_commands import commands
from unlatent.platform.importing import config_yaml
from unlatent.platform.pretrained import import_transformers
from unlatent.platform.prompts import Prompts
from unlatent.platform.store import Store
from unlatent.platform.text_encoders import open_text_encoder

pytest.importorskip("transformers")

CPU = torch.device("cpu")
SIZES = {"vocab_size": 270, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
GEMMA = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 8}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 2, "num_heads": 2}
INSTRUCTION = "Describe it well: "  # 18 bytes, and a token that begins the text


@pytest.fixture(scope="module")
def transformers():
    return import_transformers()


@pytest.fixture(scope="module")
def folder(transformers, tmp_path_factory):
    """`folder("gemma")` holds a tiny Gemma 2, `folder("t5")` a T5; each with a tokenizer whose tokens are bytes."""
    made = {}

    def make(kind: str) -> str:
        if kind not in made:
            torch.manual_seed(0)
            made[kind] = tmp_path_factory.mktemp(kind)
            if kind == "gemma":
                network = transformers.Gemma2ForCausalLM(
                    transformers.Gemma2Config(**SIZES, **GEMMA, num_key_value_heads=1)
                )
            else:
                network = transformers.T5ForConditionalGeneration(transformers.T5Config(**SIZES, **T5))
            network.save_pretrained(made[kind])
            tokenizer_of_bytes(transformers, begins=kind == "gemma").save_pretrained(made[kind])
        return str(made[kind])

    return make


def tokenizer_of_bytes(transformers, begins: bool):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = {"<pad>": 0, "<eos>": 1, "<bos>": 2}
    tokenizer = Tokenizer(models.BPE({**special, **{each: place for place, each in enumerate(alphabet, 3)}}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    form = ("<bos> $A", [("<bos>", 2)]) if begins else ("$A <eos>", [("<eos>", 1)])
    tokenizer.post_processor = processors.TemplateProcessing(single=form[0], special_tokens=form[1])
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def states_of(transformers, folder: str, kind: str, ids: list[int]) -> torch.Tensor:
    made = transformers.Gemma2Model if kind == "gemma" else transformers.T5EncoderModel
    return made.from_pretrained(folder).eval()(input_ids=torch.tensor([ids])).last_hidden_state[0]


def bytes_as_tokens(transformers, text: str) -> list[int]:
    return tokenizer_of_bytes(transformers, begins=False)(text).input_ids[:-1]


def test_gemma_reads_the_prompt_behind_an_instruction_and_its_first_token_is_kept(transformers, folder, tmp_path):
    (tmp_path / "instruction.txt").write_text(INSTRUCTION)
    settings = TextConfig(encoder=folder("gemma"), instruction=str(tmp_path / "instruction.txt"), width=16, tokens=10)

    tokens, mask = open_text_encoder(settings, CPU).encode(["a cat"])

    ids = [2, *bytes_as_tokens(transformers, INSTRUCTION + "a cat")]
    wanted = states_of(transformers, folder("gemma"), "gemma", ids)
    kept = len(ids) - (len(INSTRUCTION) + 1 + 10 - 2 - 10 + 1)  # of the window of 9 that ends 8 behind the instruction
    torch.testing.assert_close(tokens[0, 0], wanted[0])
    torch.testing.assert_close(tokens[0, 1 : 1 + kept], wanted[-kept:])
    assert mask.tolist() == [[True] * (1 + kept) + [False] * (9 - kept)]
    assert tokens.shape == (1, 10, 16)


def test_gemma_reads_no_text_without_its_instruction(folder, tmp_path):
    (tmp_path / "instruction.txt").write_text(INSTRUCTION)
    said = {"encoder": folder("gemma"), "width": 16, "tokens": 10}

    tokens, mask = open_text_encoder(TextConfig(**said, instruction=str(tmp_path / "instruction.txt")), CPU).encode(
        [""]
    )

    plain, _ = open_text_encoder(TextConfig(**said), CPU).encode([""])
    assert torch.equal(tokens, plain)
    assert mask.tolist() == [[True] + [False] * 9]


def test_a_t5_reads_the_prompt_alone(transformers, folder):
    encoder = open_text_encoder(TextConfig(encoder=folder("t5"), width=16, tokens=8), CPU)

    tokens, mask = encoder.encode(["a cat"])

    wanted = states_of(transformers, folder("t5"), "t5", [*bytes_as_tokens(transformers, "a cat"), 1])
    torch.testing.assert_close(tokens[0, :6], wanted)
    assert mask.tolist() == [[True] * 6 + [False] * 2]


@pytest.mark.parametrize("kind", ["gemma", "t5"])
def test_a_text_is_read_alike_whatever_is_asked_for_beside_it(folder, kind):
    settings = TextConfig(encoder=folder(kind), width=16, tokens=8)

    together = open_text_encoder(settings, CPU).encode(["a cat", "", "two dogs and"])
    alone = open_text_encoder(settings, CPU).encode(["two dogs and"])

    assert torch.equal(together.tokens[2], alone.tokens[0])
    assert torch.equal(together.mask[2], alone.mask[0])


def test_bytes_need_no_encoder():
    encoder = open_text_encoder(TextConfig(encoder="bytes", width=16, tokens=4), CPU)

    for read, wanted in zip(encoder.encode(["a red circle", ""]), byte_text(["a red circle", ""], 4), strict=True):
        assert torch.equal(read, wanted)


@pytest.mark.parametrize("kind", ["bytes", "t5", "gemma"])
def test_a_prompt_that_would_be_cut_is_refused(folder, kind):
    name = kind if kind == "bytes" else folder(kind)
    prompts = Prompts([], open_text_encoder(TextConfig(encoder=name, width=16, tokens=6), CPU))

    assert prompts.read("a b c") == "a b c"
    with pytest.raises(ValueError, match="is longer than the 6 that the model reads"):
        prompts.read("a b c d e f g")


def test_behind_an_instruction_what_is_let_through_is_read_to_its_last_token(folder, tmp_path):
    (tmp_path / "instruction.txt").write_text(INSTRUCTION)
    said = TextConfig(encoder=folder("gemma"), instruction=str(tmp_path / "instruction.txt"), width=16, tokens=10)
    encoder = open_text_encoder(said, CPU)
    prompts = Prompts([], encoder)

    longest, longer = "a red ca", "a red cat"

    assert prompts.read(longest) == longest and bool(encoder.encode([longest]).mask.all())
    assert not torch.equal(encoder.encode([longest]).tokens, encoder.encode([longest[:-1] + "p"]).tokens)
    assert torch.equal(encoder.encode([longer]).tokens, encoder.encode([longest]).tokens)  # it would be cut
    with pytest.raises(ValueError, match="a text of 11 tokens is longer than the 10"):
        prompts.read(longer)


def test_an_instruction_that_is_not_there_is_refused(folder):
    with pytest.raises(ValueError, match=r"^model\.text\.instruction=/no/such\.txt cannot be read: "):
        open_text_encoder(TextConfig(encoder=folder("t5"), instruction="/no/such.txt", width=16), CPU)


def test_an_encoder_of_another_width_is_refused(folder):
    with pytest.raises(ValueError, match=r"has tokens of width 16, not model\.text\.width=2304"):
        open_text_encoder(TextConfig(encoder=folder("t5")), CPU)


def test_what_is_no_encoder_is_refused_in_one_line(transformers, tmp_path):
    transformers.Dinov2Model(
        transformers.Dinov2Config(hidden_size=24, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(tmp_path)

    with pytest.raises(ValueError, match=r"model_type is dinov2; gemma2, t5, mt5 or umt5 would do") as refused:
        open_text_encoder(TextConfig(encoder=str(tmp_path)), CPU)
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match=r"^model\.text\.encoder=nowhere is no folder"):
        open_text_encoder(TextConfig(encoder="nowhere"), CPU)


def test_a_config_keeps_what_the_instruction_says_and_where_the_encoder_lies(folder, tmp_path, monkeypatch):
    """Workers have another working folder, and files may change."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder("gemma"), tmp_path / "gemma")
    (tmp_path / "instruction.txt").write_text(f"{INSTRUCTION}\n")
    named = ["model.condition=text", "model.text.encoder=gemma", "model.text.instruction=instruction.txt"]

    config = compose_config([*named, f"store={tmp_path / 'store'}"])
    (tmp_path / "instruction.txt").unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    text = from_yaml(to_yaml(config)).model.text
    assert (text.instruction_text, text.encoder) == (INSTRUCTION, str(tmp_path / "gemma"))
    encoder = open_text_encoder(replace(text, width=16, tokens=10), CPU)
    assert encoder.instruction == INSTRUCTION


def test_a_checkpoint_reads_by_the_encoder_where_it_lies_now(folder, tmp_path):
    shutil.copytree(folder("gemma"), tmp_path / "gemma")
    text = TextConfig(encoder=str(tmp_path / "gemma"), width=16, tokens=9)
    config = PixelTransformerConfig(
        image_size=8, patch_size=4, width=16, heads=2, patch_depth=1, pixel_depth=1, condition="text", text=text,
        compaction=CompactionConfig(),
    )  # fmt: skip
    said = {"config.yaml": config_yaml(config)}
    weights = {"ema": PixelTransformer(config).state_dict()}
    checkpoints.write(Store(tmp_path), "checkpoint", weights, {"run_id": "a", "images_seen": 0, "classes": []}, said)
    (tmp_path / "gemma").rename(tmp_path / "moved")

    model = unlatent.load(tmp_path / "checkpoint", encoder=str(tmp_path / "moved"))

    assert model.generate(["a cat"], [0])[0].size == (8, 8)
    with pytest.raises(ValueError, match=r"^model\.text\.encoder=\S+gemma is no folder; "):
        unlatent.load(tmp_path / "checkpoint").generate(["a cat"], [0])
    out = ["--prompt", "a cat", "--out", str(tmp_path / "images")]
    told = [f"store={tmp_path}", f"model.text.encoder={tmp_path / 'moved'}", "sampler.steps=2"]
    drawn = CliRunner().invoke(commands, ["generate", "--checkpoint", "checkpoint", *out, *told])
    assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "images" / "a cat-0.png").exists()
