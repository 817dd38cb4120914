"""`unlatent vae-tax`, with a small autoencoder of random weights."""

import hashlib
import json
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests.browser import new_page
from tests.platform.test_inception import StandIn
from unlatent.pipelines.__main__ import run_command
from unlatent.platform import inception
from unlatent.platform.autoencoder_training import AutoencoderConfig, new_network
from unlatent.platform.autoencoders import CONFIG
from unlatent.platform.inception import NAME


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    folder = tmp_path_factory.mktemp("an-autoencoder-with-a-rather-long-name-that-no-line-has-room-for")
    new_network(AutoencoderConfig(width=8)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(7):
        coarse = Image.fromarray(generator.integers(256, size=(5, 5, 3), dtype=np.uint8))
        coarse.resize((150, 130), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    Image.new("RGB", (60, 60)).save(folder / "small.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture
def vae_tax(capsys, monkeypatch, tmp_path):
    """Runs the command in this process; its exit status, and what it has said."""
    monkeypatch.setattr(inception, "CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(inception, "URL", "http://127.0.0.1:9/nothing-answers-here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["unlatent", "vae-tax", *map(str, arguments)])
        return run_command(), *capsys.readouterr()

    return run


def test_it_leaves_a_report_numbers_and_pictures(vae_tax, vae, photos, tmp_path):
    status, said, _ = vae_tax("--images", photos, "--vae", vae, "--image-size", 128, "--out", "out")

    numbers = json.loads((tmp_path / "out" / "results.json").read_text())
    page = (tmp_path / "out" / "report.html").read_text()
    assert status == 0 and "PSNR" in said and "report: out/report.html" in said
    assert "left out: 1 smaller than 128 pixels on a side" in said and "1 that cannot be read" in said
    assert numbers["findings"]["images"] == numbers["origin"]["images_measured"] == 7
    assert numbers["origin"]["images_found"] == 9 and len(numbers["origin"]["vae_sha256"]) == 64
    assert numbers["findings"]["psnr"]["low"] < numbers["findings"]["psnr"]["high"] < 40
    assert {file.name for file in (tmp_path / "out").glob("*.png")} == {"text.png", "detail.png"}
    assert numbers["origin"]["vae_sha256"] in page and numbers["origin"]["images_hash"] in page
    assert f"Inception needs {NAME}: put it at {tmp_path}/cache/{NAME}, name it by --inception-file" in said
    assert f"rFID is left out: Inception needs {NAME}: put it at {tmp_path}/cache/{NAME}, name it by" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)


def test_the_same_command_gives_the_same_numbers(vae_tax, vae, photos, tmp_path):
    for out in ("one", "two"):
        vae_tax("--images", photos, "--vae", vae, "--image-size", 64, "--limit", 4, "--seed", 3, "--out", out)

    first, second = (json.loads((tmp_path / out / "results.json").read_text()) for out in ("one", "two"))
    assert first["findings"] == second["findings"] and first["findings"]["images"] == 4
    assert first["origin"] == second["origin"]


def test_the_smallest_images_hold_one_letter(vae_tax, vae, photos, tmp_path):
    status, _, _ = vae_tax("--images", photos, "--vae", vae, "--image-size", 16)

    numbers = json.loads((tmp_path / "vae-tax" / "results.json").read_text())
    assert status == 0
    assert [(text["letter_pixels"], text["letters"]) for text in numbers["findings"]["texts"]] == [(6, 8)]


def test_a_download_that_fails_is_what_the_report_says(vae_tax, vae, photos, tmp_path):
    given = ["--images", photos, "--vae", vae, "--image-size", 16, "--limit", 2, "--download"]

    status, said, _ = vae_tax(*given)

    page = (tmp_path / "vae-tax" / "report.html").read_text()
    for text in (said, page):
        assert "rFID is left out: http://127.0.0.1:9/nothing-answers-here cannot be downloaded (" in text
        assert f"put the file at {tmp_path}/cache/{NAME}, or name it by --inception-file" in text
    assert status == 0


def test_another_file_than_inceptions_is_refused_before_anything_is_measured(vae_tax, vae, photos, tmp_path):
    cached = tmp_path / "cache" / NAME
    cached.parent.mkdir()
    cached.write_bytes(b"cut short")
    (tmp_path / "other.pt").write_bytes(b"other code")

    for place, given in ((cached, []), (cached, ["--download"]), ("other.pt", ["--inception-file", "other.pt"])):
        status, said, error = vae_tax("--images", photos, "--vae", vae, "--image-size", 64, *given)

        assert status == 2 and f"{place} is not {NAME}: its sha256 is" in error and error.count("\n") == 1
        assert not said and not (tmp_path / "vae-tax").exists()


def test_inceptions_weights_can_be_named(vae_tax, vae, photos, tmp_path, monkeypatch):
    torch.jit.script(StandIn()).save(tmp_path / "mine.pt")
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256((tmp_path / "mine.pt").read_bytes()).hexdigest())

    vae_tax("--images", photos, "--vae", vae, "--image-size", 16, "--inception-file", tmp_path / "mine.pt")

    assert "rFID needs more than 2,048 images, and these are 8" in (tmp_path / "vae-tax" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--image-size", "8"], "image_size=8 is below 16"),
        (["--image-size", "100"], "image_size=100 is not a multiple of 8"),
        (["--image-size", "256"], "none of 9 can be used: 8 smaller than 256 pixels on a side"),
        (["--images", "nowhere"], "nowhere is not a folder"),
        (["--vae", "nowhere/at/all"], "vae=nowhere/at/all is no folder"),
        (["--out", __file__], f"--out={__file__} cannot be a folder: {__file__} is none"),
        (["--inception-file", "no.pt"], "--inception-file=no.pt cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_work_is_one_line_and_nothing_is_written(vae_tax, vae, photos, tmp_path, arguments, named):
    status, _, error = vae_tax("--images", photos, "--vae", vae, *arguments)

    assert status == 2 and named in error and error.count("\n") == 1
    assert not (tmp_path / "vae-tax").exists()


def test_help_has_an_example(vae_tax):
    status, said, _ = vae_tax("--help")

    assert status == 0 and "unlatent vae-tax --images photos --vae" in said


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390, 1200])
def test_nothing_but_a_table_scrolls_sideways(vae_tax, vae, photos, tmp_path, width):
    vae_tax("--images", photos, "--vae", vae, "--image-size", 128, "--limit", 3)

    with new_page(tmp_path / "profile") as page:
        page.open(tmp_path / "vae-tax" / "report.html", width, 844, touch=width < 1000)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert page.evaluate("document.images.length") > 8
        assert page.printed().startswith(b"%PDF")
        assert not page.complaints


def test_config_is_named_where_it_is_missing(vae_tax, photos, tmp_path):
    (tmp_path / "empty").mkdir()

    status, _, error = vae_tax("--images", photos, "--vae", tmp_path / "empty")

    assert status == 2 and f"it has no {CONFIG}" in error
