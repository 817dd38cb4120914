"""Captioned images of several proportions, trained on in buckets with their captions; and drawn in such sizes."""

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import unlatent
from tests.picture_files import write_parquet
from tests.platform.test_text_encoders import CPU, folder, transformers  # noqa: F401  (fixtures)
from unlatent.models.byte_text import byte_text
from unlatent.models.config import TextConfig
from unlatent.pipelines.__main__ import run_command
from unlatent.platform import embedded_captions, runs
from unlatent.platform.batches import batches
from unlatent.platform.conditions import ByteCaptions
from unlatent.platform.datasets import DataConfig, open_dataset
from unlatent.platform.embedded_captions import EmbeddedCaptions
from unlatent.platform.store import Store
from unlatent.platform.text_encoders import open_text_encoder
from unlatent.platform.training import Worker, train

COUNT = 120
SIDES = [(16, 16), (16, 32), (12, 17), (40, 10), (30, 21)]  # heights and widths of pictures, in turns
READING = ["model.condition=text", "model.text.encoder=bytes", "model.text.width=32", "model.text.tokens=4"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Each picture of one colour that no other has, which its caption tells."""
    files = []
    for number in range(COUNT):
        height, width = SIDES[number % len(SIDES)]
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), (number, 0, 255 - number)).save(buffer, "PNG")
        files.append(buffer.getvalue())
    root = tmp_path_factory.mktemp("data") / "pictures"
    write_parquet(root, files)
    return root


def opened(root, store):
    told = {"image_size": 16, "held_out": 0.0, "max_aspect_ratio": 2.0, "bucket_step": 4}
    return open_dataset(DataConfig(kind="parquet", root=str(root), **told), store).train


def read(split, conditions):
    """Two epochs: the sides of each batch, which pictures it has, and what is said of them."""
    order = split.order(3, 12)
    for images, text in batches(split, order, range(0, 2 * COUNT, 12), 0, 1, 0, conditions):
        yield tuple(images.shape[2:]), [f"picture {number}" for number in images[:, 0, 0, 0].tolist()], text


def test_every_image_of_a_bucket_has_its_own_caption(shards, store):
    found = list(read(opened(shards, store), ByteCaptions(4)))

    assert len({sides for sides, _, _ in found}) == 5
    assert all(torch.equal(text.tokens, byte_text(captions, 4).tokens) for _, captions, text in found)


def test_so_it_has_where_an_encoder_has_read_them_beforehand(shards, store, tmp_path, folder):  # noqa: F811
    text, out = TextConfig(encoder=folder("gemma"), width=16, tokens=14), Store(tmp_path / "embedded")
    embedded_captions.embed(Store(shards), out, text, CPU, lambda done, total: None)
    encoder = open_text_encoder(text, CPU)

    found = list(read(opened(out.root, store), EmbeddedCaptions(text)))

    assert len({sides for sides, _, _ in found}) == 5
    for _, captions, said in found:
        wanted = encoder.encode(captions)
        assert torch.equal(said.mask, wanted.mask)
        torch.testing.assert_close(said.tokens[said.mask], wanted.tokens[wanted.mask], atol=2e-3, rtol=2e-3)


@pytest.fixture
def trained(shards, make_run, store):
    data = ["data=parquet", f"data.root={shards}", "data.image_size=16", "data.workers=0", "model.patch_size=4"]
    run = make_run(*data, *READING, "data.max_aspect_ratio=2", "data.bucket_step=4", "train.run=texts")
    train(run, store, Worker())
    return store.local(runs.last_checkpoint(store, "texts").path)


def test_what_learnt_from_buckets_draws_images_of_their_sizes(trained):
    model = unlatent.load(trained)

    long, square = model.generate(["picture 3"], [0], size="24x12")[0], model.generate(["picture 3"], [0])[0]

    assert (long.size, square.size) == ((24, 12), (16, 16))
    assert set(model.trained_sides) == {(24, 12), (20, 12), (16, 16), (12, 20), (12, 24)}
    assert np.asarray(long).std() > 0


def generate(capsys, monkeypatch, store, *arguments: str):
    told = ["generate", "--checkpoint", "texts", "--prompt", "picture 3", f"store={store.root}", *arguments]
    monkeypatch.setattr(sys, "argv", ["unlatent", *told])
    return run_command(), capsys.readouterr()


@pytest.mark.parametrize(
    ("size", "remark"),
    [
        ("24x12", None),
        ("28x12", "28x12 is none of the 5 sizes that it was trained on; the nearest is 24x12"),
    ],
)
def test_generate_draws_in_the_size_that_is_asked_for(trained, store, tmp_path, capsys, monkeypatch, size, remark):
    status, said = generate(capsys, monkeypatch, store, "--size", size, "--out", str(tmp_path / "out"))

    assert status == 0
    assert Image.open(tmp_path / "out" / "picture 3-0.png").size == tuple(map(int, size.split("x")))
    assert (remark is None) == ("trained on" not in said.out) and (remark or "") in said.out


@pytest.mark.parametrize(
    ("size", "complaint"),
    [
        ("24", "size=24 is not a width and a height; 1280x768 would do"),
        ("26x12", "size=26x12 is not a whole number of patches of 4 pixels; 24x12 would be"),
        ("64x32", "size=64x32 is 8 times the area of 16x16, which it was trained on; between 0.25 and 4 would do"),
    ],
)
def test_a_size_that_cannot_work_is_one_line(trained, store, tmp_path, capsys, monkeypatch, size, complaint):
    status, said = generate(capsys, monkeypatch, store, "--size", size, "--out", str(tmp_path / "out"))

    assert status == 2 and complaint in said.err and len(said.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
