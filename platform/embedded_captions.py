"""Captions as an encoder reads them, kept in the shards beside the images: training then needs no encoder.

n images   T tokens   E width of the encoder's tokens
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlatent.models.condition import Condition, Text
from unlatent.models.config import TextConfig
from unlatent.platform import parquet_shards
from unlatent.platform.data_order import Indices
from unlatent.platform.image_split import ImageSplit
from unlatent.platform.shard_folder import PLAN, begin, read_settings
from unlatent.platform.shards import ShardPixels, list_shards
from unlatent.platform.store import Store
from unlatent.platform.text_encoders import PretrainedEncoder, read_instruction

NOTHING = "no_caption.bin"  # how the encoder reads no text
STORED = np.dtype("<f2")


@dataclass(frozen=True)
class EmbeddedCaptions:
    """How training reads them."""

    text: TextConfig

    @property
    def row_bytes(self) -> int:
        return self.text.tokens * (self.text.width * STORED.itemsize + 1)

    def require_fit(self, split: ImageSplit) -> None:
        """Raises ValueError for captions that are not embedded, or not as the network reads them."""
        root = root_of(split)
        if not root or not root.exists(PLAN) or not root.exists(NOTHING):
            said = f"model.text.encoder={self.text.encoder} needs captions that it has embedded"
            raise ValueError(
                f"{said}; `unlatent data embed` does that, or model.text.encoder=bytes reads them as they are"
            )
        embedded = read_settings(root) or {}
        for name, wanted in settings_of(self.text).items():
            if embedded.get(name) != wanted:
                raise ValueError(f"{root.root} holds captions embedded with {name}={embedded.get(name)}, not {wanted}")

    def identity(self, split: ImageSplit) -> dict[str, str]:
        return {}  # a shard's are part of its size

    def read(self, split: ImageSplit, indices: Indices) -> tuple[NDArray[Any], ...]:  # float16 (n, T, E), (n, T)
        return padded(split.files.embeddings(indices), self.text)

    def condition(self, tensors: Sequence[Tensor]) -> Condition:
        tokens, mask = tensors
        return Text(tokens.float(), mask)

    def nothing(self, split: ImageSplit) -> Condition | None:
        root = root_of(split)
        assert root, "it was asked whether they fit"
        return self.condition([torch.from_numpy(each) for each in padded([root.read_bytes(NOTHING)], self.text)])


def root_of(split: ImageSplit) -> Store | None:
    return split.pixels.root if isinstance(split.pixels, ShardPixels) else None


def padded(contents: Sequence[bytes], text: TextConfig) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    tokens = np.zeros((len(contents), text.tokens, text.width), STORED)
    mask = np.zeros((len(contents), text.tokens), np.bool_)
    for row, content in enumerate(contents):
        found = np.frombuffer(content, STORED).reshape(-1, text.width)
        tokens[row, : len(found)], mask[row, : len(found)] = found, True
    return tokens, mask


def settings_of(text: TextConfig) -> dict[str, Any]:
    """All that decides how captions read."""
    said = {**asdict(text), "instruction": hashlib.sha256(read_instruction(text).encode()).hexdigest()}
    del said["instruction_text"]
    return said


def embed(
    source: Store, out: Store, text: TextConfig, device: torch.device, on_images: Callable[[int, int], None]
) -> int:
    """Writes Parquet shards again with their captions embedded. What is there already is left as it is.

    `on_images` is told how many images are there, of how many. Returns how many there are. Raises ValueError for a
    folder that holds something else, shards without captions, and an encoder that cannot be loaded.
    """
    shards = list_shards(source, parquet_shards.SUFFIX)
    counts = [source.read_with(shard.path, parquet_shards.count_captioned) for shard in shards]
    if text.learned:
        raise ValueError(f"model.text.encoder={text.encoder} reads captions as they are; a Gemma 2 or a T5 embeds them")
    encoder = PretrainedEncoder(text, device)
    begin(out, {"source": source.root, **settings_of(text)})
    out.write_bytes(NOTHING, stored(encoder, [""])[0])
    for number, shard in enumerate(shards, start=1):
        if not out.exists(shard.path):
            out.write_bytes(shard.path, embedded(source.read_bytes(shard.path), encoder))
        on_images(sum(counts[:number]), sum(counts))
    return sum(counts)


def embedded(content: bytes, encoder: PretrainedEncoder) -> bytes:
    """A shard with one column more, or in the place of one that there was.

    Row groups, which training reads at once, stay what they are.
    """
    shard, sink = pq.ParquetFile(io.BytesIO(content)), io.BytesIO()
    schema = without_embedding(shard.schema_arrow).append(pa.field(parquet_shards.EMBEDDING, pa.binary()))
    with pq.ParquetWriter(sink, schema, compression="none") as writer:
        for number in range(shard.num_row_groups):
            rows = shard.read_row_group(number)
            tokens = pa.array(stored(encoder, parquet_shards.captions_of(rows)), pa.binary())
            kept = rows.select(schema.names[:-1]).columns
            writer.write_table(pa.Table.from_arrays([*kept, tokens], schema=schema))
    return sink.getvalue()


def without_embedding(schema: pa.Schema) -> pa.Schema:
    number = schema.get_field_index(parquet_shards.EMBEDDING)
    return schema if number < 0 else schema.remove(number)


def stored(encoder: PretrainedEncoder, captions: Sequence[str]) -> list[bytes]:
    """The tokens of each, without the padding where the network does not see it."""
    tokens, mask = encoder.read(captions)
    lengths = mask.sum(dim=1) if encoder.config.mask_padding else [encoder.tokens] * len(tokens)
    return [
        each[: int(length)].cpu().numpy().astype(STORED).tobytes() for each, length in zip(tokens, lengths, strict=True)
    ]
