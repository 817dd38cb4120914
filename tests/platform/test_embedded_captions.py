"""Captions that an encoder has read once: what is kept, what training finds, and what does not fit."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.platform.test_text_encoders import CPU, folder, transformers  # noqa: F401  (fixtures)
from unlatent.models.config import TextConfig
from unlatent.platform import embedded_captions
from unlatent.platform.batches import batches
from unlatent.platform.embedded_captions import EmbeddedCaptions
from unlatent.platform.store import Store
from unlatent.platform.text_encoders import open_text_encoder

CAPTIONS = [f"{number} cats" if number % 3 else "" for number in range(150)]


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def shards(tmp_path) -> Store:
    """Two, with row groups of 32."""
    store = Store(tmp_path / "shards")
    for name, rows in (("a.parquet", range(90)), ("b.parquet", range(90, 150))):
        table = pa.table({"image": [png(row) for row in rows], "caption": [CAPTIONS[row] for row in rows]})
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=32)
        store.write_bytes(name, sink.getvalue())
    return store


@pytest.fixture
def text(folder) -> TextConfig:  # noqa: F811
    return TextConfig(encoder=folder("gemma"), width=16, tokens=9)


def embed(shards, tmp_path, text) -> Store:
    out = Store(tmp_path / "embedded")
    assert embedded_captions.embed(shards, out, text, CPU, lambda done, total: None) == 150
    return out


def opened(root, store):
    from unlatent.platform.datasets import DataConfig, open_dataset

    config = DataConfig(kind="parquet", root=root.root, image_size=8, held_out=0.0, workers=0)
    return open_dataset(config, store).train


def test_training_finds_what_the_encoder_reads(shards, tmp_path, text):
    split = opened(embed(shards, tmp_path, text), Store(tmp_path / "store"))
    conditions = EmbeddedCaptions(text)
    conditions.require_fit(split)

    [(images, condition)] = batches(split, split.order(0, 150), range(0, 150, 150), 0, 1, 0, conditions)

    captions = [CAPTIONS[row] for row in images[:, 0, 0, 0].tolist()]
    wanted = open_text_encoder(text, CPU).encode(captions)
    assert torch.equal(condition.mask, wanted.mask)
    seen = wanted.mask[:, :, None]
    torch.testing.assert_close(condition.tokens * seen, wanted.tokens * seen, atol=2e-3, rtol=2e-3)


def test_no_caption_reads_as_the_encoder_reads_no_text(shards, tmp_path, text):
    split = opened(embed(shards, tmp_path, text), Store(tmp_path / "store"))

    tokens, mask = EmbeddedCaptions(text).nothing(split)

    wanted = open_text_encoder(text, CPU).encode([""])
    assert torch.equal(mask, wanted.mask)
    torch.testing.assert_close(tokens[mask], wanted.tokens[mask], atol=2e-3, rtol=2e-3)


def test_padding_is_kept_for_a_network_that_sees_it(shards, tmp_path, text):
    text.mask_padding = False
    split = opened(embed(shards, tmp_path, text), Store(tmp_path / "store"))

    tokens, _ = EmbeddedCaptions(text).nothing(split)

    torch.testing.assert_close(tokens, open_text_encoder(text, CPU).encode([""]).tokens, atol=2e-3, rtol=2e-3)


def test_row_groups_and_other_columns_stay_and_the_same_call_goes_on(shards, tmp_path, text):
    out = embed(shards, tmp_path, text)
    before = out.read_bytes("b.parquet")
    out.delete("a.parquet")

    embed(shards, tmp_path, text)

    assert out.read_bytes("b.parquet") == before
    shard = pq.ParquetFile(io.BytesIO(out.read_bytes("a.parquet")))
    assert shard.num_row_groups == 3
    assert shard.read()["caption"].to_pylist() == CAPTIONS[:90]


def test_shards_with_embeddings_get_others_in_their_place(shards, tmp_path, text):
    first = embed(shards, tmp_path, text)
    other = TextConfig(encoder=text.encoder, width=16, tokens=8)

    again = embed(first, tmp_path / "again", other)

    EmbeddedCaptions(other).require_fit(opened(again, Store(tmp_path / "store")))
    columns = pq.ParquetFile(io.BytesIO(again.read_bytes("a.parquet"))).schema_arrow.names
    assert columns == pq.ParquetFile(io.BytesIO(first.read_bytes("a.parquet"))).schema_arrow.names


def test_captions_embedded_in_another_way_are_refused(shards, tmp_path, text):
    out = embed(shards, tmp_path, text)
    other = TextConfig(encoder=text.encoder, width=16, tokens=8)

    with pytest.raises(ValueError, match=r"embedded was prepared with tokens=9, not 8; another folder would do"):
        embed(shards, tmp_path, other)
    with pytest.raises(ValueError, match=r"holds captions embedded with tokens=9, not 8"):
        EmbeddedCaptions(other).require_fit(opened(out, Store(tmp_path / "store")))


def test_captions_that_are_not_embedded_are_refused_with_what_would_do(shards, tmp_path, text):
    with pytest.raises(ValueError, match=r"needs captions that it has embedded.*encoder=bytes reads them as"):
        EmbeddedCaptions(text).require_fit(opened(shards, Store(tmp_path / "store")))


def test_shards_without_captions_are_refused_before_an_encoder_is_opened(tmp_path):
    store = Store(tmp_path / "bare")
    sink = io.BytesIO()
    pq.write_table(pa.table({"image": [png(1)]}), sink)
    store.write_bytes("a.parquet", sink.getvalue())

    with pytest.raises(ValueError, match=r"has none of the columns caption, text, txt, but image"):
        embedded_captions.embed(store, Store(tmp_path / "out"), TextConfig(), CPU, lambda done, total: None)
