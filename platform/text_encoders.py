"""What turns a prompt into what a text-conditional network reads.

B batch   T tokens   E width of an encoder's tokens
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from unlatent.models.byte_text import byte_text, pieces
from unlatent.models.condition import Text
from unlatent.models.config import TextConfig
from unlatent.platform.pretrained import import_transformers, in_full, is_folder, open_pretrained, source_of

SETTING = "model.text.encoder"
DECODERS = {"gemma2": "AutoModel"}  # read an instruction before the prompt
ENCODERS = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}
REMEMBERED = 32  # texts of which what was read is kept: 2.8 MB each by Gemma 2 2B


class TextEncoder(Protocol):
    tokens: int  # of a text, at most

    def encode(self, texts: Sequence[str]) -> Text:  # (B, T, E), on the CPU
        """Each text alone, whatever else is asked for. No text is the empty one."""

    def count(self, text: str) -> int:
        """How many tokens it is; of more than `tokens`, the last ones are not read."""


class ByteEncoder:
    """For a network that reads bytes."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def encode(self, texts: Sequence[str]) -> Text:
        return byte_text(texts, self.tokens)

    def count(self, text: str) -> int:
        return len(pieces(text))


class PretrainedEncoder:
    """The last hidden states of a language model: Gemma 2, or the encoder of a T5.

    As published PixelDiT networks read a prompt: behind an instruction, padded to the instruction's tokens and
    `tokens` - 2 more, of which the first token and the last `tokens` - 1 are kept. No text has no instruction.
    """

    def __init__(self, config: TextConfig, device: torch.device) -> None:
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        network: Any = open_pretrained(SETTING, config.encoder, DECODERS | ENCODERS, dtype)
        self.network = network.to(device).eval().requires_grad_(False)
        self.tokenizer = open_tokenizer(config.encoder)
        self.config, self.tokens, self.device = config, config.tokens, device
        self.instruction = read_instruction(config)
        if network.config.hidden_size != config.width:
            said = f"{SETTING}={config.encoder} has tokens of width {network.config.hidden_size}"
            raise ValueError(f"{said}, not model.text.width={config.width}")
        self.remember = lru_cache(REMEMBERED)(lambda text: self.read([text]))

    def encode(self, texts: Sequence[str]) -> Text:
        tokens, masks = zip(*(self.remember(text) for text in texts), strict=True)
        return Text(torch.cat(tokens), torch.cat(masks))

    def count(self, text: str) -> int:
        if not (text and self.instruction):
            return len(self.tokenizer(text).input_ids)
        before, whole = (len(self.tokenizer(said).input_ids) for said in (self.instruction, self.instruction + text))
        return whole - before + 2  # behind an instruction, as many less are read

    def read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:  # (B, T, E), (B, T)
        """Several at once, which is quicker, and rounds otherwise than each alone."""
        tokens = torch.empty(len(texts), self.tokens, self.config.width)
        mask = torch.empty(len(texts), self.tokens, dtype=torch.bool)
        for before, rows in ((self.instruction, [bool(text) for text in texts]), ("", [not text for text in texts])):
            if any(rows):
                chosen = torch.tensor(rows)
                said = [text for text, wanted in zip(texts, rows, strict=True) if wanted]
                tokens[chosen], mask[chosen] = (each.cpu() for each in self.read_behind(before, said))
        return tokens, mask

    @torch.inference_mode()
    def read_behind(self, before: str, texts: list[str]) -> tuple[Tensor, Tensor]:
        length = self.tokens + (len(self.tokenizer(before).input_ids) - 2 if before else 0)
        told = {"padding": "max_length", "padding_side": "right", "truncation": True, "return_tensors": "pt"}
        asked = self.tokenizer([before + text for text in texts], max_length=length, **told).to(self.device)
        states = self.network(input_ids=asked.input_ids, attention_mask=asked.attention_mask).last_hidden_state
        kept = [0, *range(length - self.tokens + 1, length)]
        return states[:, kept].float(), asked.attention_mask[:, kept].bool()


def open_text_encoder(config: TextConfig, device: torch.device) -> TextEncoder:
    """Raises ValueError, in one line, where it cannot be loaded, or is not the one that the config says."""
    return ByteEncoder(config.tokens) if config.learned else PretrainedEncoder(config, device)


def read_instruction(config: TextConfig) -> str:
    """What is read before each text, without the line break that ends its file.

    Raises ValueError where there is no such file.
    """
    if config.instruction is None:
        return config.instruction_text or ""
    try:
        return Path(config.instruction).expanduser().read_text().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"model.text.instruction={config.instruction} cannot be read: {error}") from None


def settled(config: TextConfig) -> TextConfig:
    """The same wherever it goes: with what the instruction's file says, and the encoder's folder in full.

    Raises ValueError where there is no such file.
    """
    if config.instruction is not None:
        config = replace(config, instruction=None, instruction_text=read_instruction(config))
    return replace(config, encoder=in_full(config.encoder))


def open_tokenizer(name: str) -> Any:
    tokenizers = import_transformers().AutoTokenizer
    try:
        return tokenizers.from_pretrained(source_of(name), local_files_only=is_folder(name), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{SETTING}={name} has no tokenizer: {' '.join(str(error).split())}") from None
