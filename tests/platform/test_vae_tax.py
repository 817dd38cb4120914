"""What an autoencoder loses. Its place is taken by plain operations on images, whose loss is known."""

import json
import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from unlatent.platform.fidelity import mean_squared_error, peak_signal_to_noise, structural_similarity
from unlatent.platform.intervals import Interval, mean, proportion, ratio
from unlatent.platform.store import Store
from unlatent.platform.vae_tax.crops import difference, worst_squares
from unlatent.platform.vae_tax.findings import SURE_LETTERS, TextSize, find
from unlatent.platform.vae_tax.frequencies import band_edges, energies
from unlatent.platform.vae_tax.grids import detail_grid, fidelity_grid, text_grid
from unlatent.platform.vae_tax.image_set import find_images, left_out
from unlatent.platform.vae_tax.measuring import measure
from unlatent.platform.vae_tax.plots import pictures
from unlatent.platform.vae_tax.samples import usual_crops, worst_crops
from unlatent.platform.vae_tax.signs import add_signs, fitting_sizes, plate_of, with_signs
from unlatent.platform.vae_tax.verdict import caveats, headline, in_short, on_rfid, on_text, verdicts

SIDE, COUNT = 128, 40
CPU = torch.device("cpu")


def untold(done, total):
    """Nobody watches."""


def blurred(images):
    """Each pixel the mean of those around it, three times over: about a Gaussian, which turns no wave round."""
    soft = images.float()
    for _ in range(3):
        soft = F.avg_pool2d(F.pad(soft, [2] * 4, mode="reflect"), 5, 1)
    return soft.round().byte()


def noisy(images):
    """At most one level away."""
    generator = torch.Generator().manual_seed(0)
    return (images.int() + torch.randint(-1, 2, images.shape, generator=generator)).clamp(0, 255).byte()


def coarse(images):
    """Squares of 32 pixels, each of one colour: of no letter anything is left."""
    return F.interpolate(F.avg_pool2d(images.float(), 32), scale_factor=32).round().byte()


def flat(images):
    """Everything in the middle of each image is of its mean colour."""
    return images.float().mean(dim=(2, 3), keepdim=True).round().byte().expand_as(images).contiguous()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of soft blobs and some texture, larger than they are measured at."""
    root, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(COUNT):
        coarse = Image.fromarray(generator.integers(256, size=(6, 6, 3), dtype=np.uint8)).resize((160, 140), 3)
        grain = generator.integers(-20, 21, size=(140, 160, 1))
        pixels = (np.asarray(coarse).astype(int) + grain).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{number:02d}.png")
    return root


@pytest.fixture(scope="module")
def images(folder):
    return find_images(Store(folder), SIDE, None, 0, untold)


@pytest.fixture(scope="module")
def found(images):
    """Findings by the name of what is done to images."""
    ways = {"identity": torch.clone, "noise": noisy, "blur": blurred}
    return {name: find(measure(images, way, None, CPU, untold), SIDE, 0, "not here") for name, way in ways.items()}


def test_images_are_squares_in_the_order_of_their_names(folder, images):
    assert images.names == [f"{number:02d}.png" for number in range(COUNT)]
    assert images.read([0, 7]).shape == (2, 3, SIDE, SIDE)


def test_a_limit_takes_images_at_random_the_same_for_the_same_seed(folder):
    first, again, other = (find_images(Store(folder), SIDE, 10, seed, untold).names for seed in (1, 1, 2))

    assert first == again != other
    assert first == sorted(first) and len(set(first)) == 10


def test_the_hash_follows_content_size_and_choice(folder, images, tmp_path):
    for name in images.names:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    same = find_images(Store(tmp_path), SIDE, None, 0, untold).hash
    smaller = find_images(Store(tmp_path), 64, None, 0, untold).hash
    (tmp_path / "00.png").write_bytes((folder / "01.png").read_bytes())
    changed = find_images(Store(tmp_path), SIDE, None, 0, untold).hash

    assert same == images.hash
    assert len({same, smaller, changed}) == 3


def test_what_is_small_or_broken_is_left_out_and_counted(folder, tmp_path):
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "good.png").write_bytes((folder / "00.png").read_bytes())
    (tmp_path / "broken.png").write_bytes((folder / "00.png").read_bytes()[:200])
    (tmp_path / "notes.txt").write_text("no image")
    Image.new("RGB", (127, 300)).save(tmp_path / "small.png")

    images = find_images(Store(tmp_path), SIDE, 5, 0, untold)

    assert images.names == ["deeper/good.png"] and images.found == 3
    assert "1 smaller than 128 pixels on a side, such as small.png: 127x300" in left_out(images)
    assert "1 that cannot be read, such as broken.png" in left_out(images)


def test_a_folder_without_images_of_use_is_refused(tmp_path):
    with pytest.raises(ValueError, match="image_size=8 is below 16"):
        find_images(Store(tmp_path), 8, None, 0, untold)
    with pytest.raises(ValueError, match="is not a folder"):
        find_images(Store(tmp_path / "nowhere"), SIDE, None, 0, untold)
    with pytest.raises(ValueError, match="has no images in it"):
        find_images(Store(tmp_path), SIDE, None, 0, untold)
    Image.new("RGB", (20, 20)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match="none of 1 can be used: 1 smaller than 128 pixels"):
        find_images(Store(tmp_path), SIDE, None, 0, untold)


def test_a_file_that_changes_meanwhile_is_named(folder, tmp_path):
    (tmp_path / "a.png").write_bytes((folder / "00.png").read_bytes())
    images = find_images(Store(tmp_path), SIDE, None, 0, untold)
    (tmp_path / "a.png").write_bytes((folder / "01.png").read_bytes())

    with pytest.raises(ValueError, match=r"a\.png has changed"):
        images.read([0])


def test_fidelity_is_what_scikit_image_says(images):
    from skimage.metrics import mean_squared_error as reference_mse
    from skimage.metrics import peak_signal_noise_ratio
    from skimage.metrics import structural_similarity as reference_ssim

    before = images.read(range(3))
    after = blurred(before)
    pairs = list(zip(before.numpy(), after.numpy(), strict=True))

    errors = mean_squared_error(before, after)

    assert errors == pytest.approx([reference_mse(a / 255, b / 255) for a, b in pairs])
    assert peak_signal_to_noise(errors) == pytest.approx([peak_signal_noise_ratio(a, b) for a, b in pairs])
    wang = {"channel_axis": 0, "data_range": 255, "gaussian_weights": True, "use_sample_covariance": False}
    assert structural_similarity(before, after) == pytest.approx([reference_ssim(a, b, **wang) for a, b in pairs])


def test_the_energy_of_a_wave_lies_in_the_band_of_its_frequency():
    along = torch.arange(SIDE)
    wave = (127 + 100 * torch.sin(2 * math.pi * along / 8)).round().byte().expand(1, 3, SIDE, SIDE)
    edges = band_edges(SIDE)
    [band] = [place for place in range(len(edges) - 1) if edges[place] <= 1 / 8 * 1.001 < edges[place + 1]]

    [before], [after], [error] = energies(wave, torch.full_like(wave, 127))

    assert before[band - 1 : band + 1].sum() > 0.99 * before.sum()  # a window spreads it a little to either side
    assert after.sum() == 0 and error == pytest.approx(before)


def test_bands_cover_all_but_the_coarsest_and_half_those_of_half_the_size():
    edges = band_edges(256)

    assert edges[0] == pytest.approx(4 / 256) and edges[-2] == 0.5 and edges[-1] == pytest.approx(math.sqrt(0.5))
    assert list(edges) == sorted(edges) and edges[-len(band_edges(64)) :] == pytest.approx(band_edges(64))


def test_the_identity_loses_nothing(found):
    identity = found["identity"]

    assert identity.mse.value == 0 and identity.psnr.value == math.inf and identity.ssim.value == pytest.approx(1)
    assert all(band.lost.value == 0 and band.afterwards.value == 1 for band in identity.bands)
    assert all(text.autoencoder.value == text.pixels.value for text in identity.texts)
    assert headline(identity) == "This autoencoder gives every image back bit for bit: it loses nothing here."
    assert "No band of detail loses anything." in verdicts(identity)
    assert fidelity_grid(identity).rows[0]["autoencoder"] == "infinite"


def test_squares_are_shown_where_something_differs_alone(images):
    def first_alone(some):
        return torch.cat([255 - some[:1], some[1:]])

    def shown(way):
        measured = measure(few_of_them, way, None, CPU, untold)
        return [len(crops(few_of_them, measured, way)) for crops in (worst_crops, usual_crops)]

    few_of_them = find_images(images.root, SIDE, 10, 0, untold)

    assert shown(torch.clone) == [0, 0]
    assert shown(first_alone) == [1, 0]
    assert shown(noisy) == [6, 3]


def test_one_that_does_well_is_told_so(found):
    said = " ".join([headline(found["noise"]), *verdicts(found["noise"])])

    assert found["noise"].psnr.value > 48
    assert all(text.state == "kept" for text in found["noise"].texts)
    assert "capitals of every size tried stay readable" in said
    assert "No band of detail loses a tenth of its energy" in said
    assert "lost" not in said.replace("loses", "")


def test_a_blur_loses_fine_detail_and_small_text_first(found):
    lost = [band.lost.value for band in found["blur"].bands]
    read = [text.autoencoder.value for text in found["blur"].texts]

    assert lost[0] < 0.1 and lost[-2] > 0.9 and lost == pytest.approx(sorted(lost), abs=0.02)
    assert found["blur"].bands[-2].afterwards.value < 0.1  # blurred away, not made up
    assert read[0] < 0.5 < 0.9 < read[-1]
    assert all(text.pixels.value > 0.95 for text in found["blur"].texts)


def test_where_nothing_is_left_text_counts_as_lost(images):
    grey = find(measure(images, lambda some: torch.full_like(some, 90), None, CPU, untold), SIDE, 0, "")

    assert {text.state for text in grey.texts} == {"lost"}
    assert "capitals of every size tried can be read no more" in headline(grey)


FEW = (2, 3, 5, 8, 12, 20)
KEPT, HARMED, LOST, UNSURE = (
    Interval(value, low, high, 20)
    for value, low, high in ((0.99, 0.96, 1.0), (0.7, 0.6, 0.8), (0.04, 0.02, 0.08), (1.0, 0.9, 1.0))
)


def few(folder, images, way):
    return find(measure(find_images(Store(folder), SIDE, images, 0, untold), way, None, CPU, untold), SIDE, 0, "")


def told(findings):
    return " ".join([headline(findings), *on_text(findings.texts)])


def size(letter_pixels, still, readable=160):
    """Of 160 letters drawn on 20 images."""
    pixels, chance = Interval(readable / 160, readable / 160, 1.0, 20), Interval(0.04, 0.02, 0.08, 20)
    return TextSize(letter_pixels, 160, readable, pixels, still, still, chance)


@pytest.mark.parametrize("images", [1, *FEW])
def test_an_identity_is_said_to_lose_nothing_by_however_few_images(folder, images):
    identity = few(folder, images, torch.clone)

    assert headline(identity) == "This autoencoder gives every image back bit for bit: it loses nothing here."
    assert {text.state for text in identity.texts} <= {"kept", "unknown"}
    assert all(text.still_read == text.readable for text in identity.texts)
    assert "lost" not in told(identity).lower()
    assert images == 1 or all(text.state == "kept" for text in identity.texts if text.readable >= SURE_LETTERS)


@pytest.mark.parametrize("images", FEW)
def test_one_that_does_well_is_not_said_to_lose_text_by_few_images(folder, images):
    noise = few(folder, images, noisy)
    kept = [text.letter_pixels for text in noise.texts if text.state == "kept"]
    unsure = [text.letter_pixels for text in noise.texts if text.state == "unknown"]

    assert len(kept) + len(unsure) == len(noise.texts) and bool(kept) == (images >= 12)
    assert "lost" not in told(noise).lower() and ("stay readable" in told(noise)) == bool(kept)
    assert ("are too few to tell" in headline(noise)) == ("images would do" in told(noise)) == bool(unsure)


@pytest.mark.parametrize("images", FEW)
def test_one_that_leaves_nothing_is_said_so_by_few_images(folder, images):
    gone = few(folder, images, coarse)

    assert {text.state for text in gone.texts} <= {"damaged", "lost"}
    assert "stay readable" not in told(gone) and "too few to tell" not in told(gone) and "in part" not in told(gone)
    assert ("can be read no more" in told(gone)) == any(text.state == "lost" for text in gone.texts)
    assert images < 12 or sum(text.state == "lost" for text in gone.texts) >= 3


def test_images_that_would_do_are_enough(folder):
    by_three = told(few(folder, 3, noisy))
    [needed] = re.findall(r"about (\d+) images would do", by_three)

    enough = few(folder, int(needed) + 3, noisy)  # the widest letters leave room for fewer

    assert {text.state for text in enough.texts} == {"kept"}


def test_a_letter_missed_through_pixels_too_is_no_loss(images):
    identity = measure(images, torch.clone, None, CPU, untold)
    one_missed = identity.letters - 1
    same = replace(identity, read_through_pixels=one_missed, read_through_both=one_missed)
    another = replace(same, read_through_both=one_missed - 1)

    assert {text.state for text in find(same, SIDE, 0, "").texts if text.pixels.value > 0.8} == {"kept"}
    assert {text.state for text in find(another, SIDE, 0, "").texts if text.pixels.value > 0.8} == {"damaged"}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([size(6, KEPT), size(8, KEPT)], "capitals of every size tried stay readable"),
        (
            [size(6, KEPT), size(8, KEPT), size(10, UNSURE)],
            "capitals of 6 to 8 px stay readable, those of 10 px are too few to tell",
        ),
        (
            [size(6, LOST), size(8, HARMED), size(10, UNSURE), size(12, KEPT)],
            "capitals of 12 px stay readable, those of 8 px are lost in part, those of 6 px can be read no more, "
            "those of 10 px are too few to tell",
        ),
        (
            [size(6, KEPT), size(8, HARMED), size(10, KEPT)],
            "capitals of 6 px and 10 px stay readable, those of 8 px are lost in part",
        ),
        ([size(6, KEPT, readable=100), size(8, KEPT)], "capitals of 8 px stay readable"),
        ([size(6, UNSURE), size(8, UNSURE)], "capitals of every size tried are too few to tell"),
        ([size(6, LOST), size(8, LOST)], "capitals of every size tried can be read no more"),
        ([size(6, LOST, readable=100)], "of text these images can tell nothing"),
    ],
)
def test_nothing_is_claimed_of_a_size_but_what_is_told_of_it(texts, said):
    assert in_short(texts).replace("\u00a0", " ") == said


def test_what_can_be_read_a_little_is_not_said_to_be_lost():
    a_little = size(6, Interval(0.08, 0.03, 0.16, 20))

    assert a_little.state == "damaged" and "mostly lost" in in_short([a_little])


def test_images_that_come_back_hide_no_loss_of_text(tmp_path):
    for number in range(12):
        Image.new("RGB", (SIDE, SIDE), (100, 100, 100)).save(tmp_path / f"{number}.png")

    grey = few(tmp_path, 12, flat)

    assert grey.unchanged == 12
    assert "bit for bit: but of text drawn on them, capitals of" in headline(grey) and "nothing" not in headline(grey)


def test_images_of_one_grey_have_no_detail_to_lose(tmp_path):
    for number in range(3):
        Image.new("RGB", (SIDE, SIDE), (100, 100, 100)).save(tmp_path / f"{number}.png")
    grey = find_images(Store(tmp_path), SIDE, None, 0, untold)

    findings = find(measure(grey, noisy, None, CPU, untold), SIDE, 0, "")

    assert all(band.is_empty for band in findings.bands) and findings.as_json()["bands"][0]["lost"]["value"] is None
    assert [picture.name for picture, _ in pictures(findings)] == ["text"]
    assert verdicts(findings) and detail_grid(findings).cells


def test_a_curve_that_leaves_the_picture_is_said_to(found, folder):
    [(_, blur), (_, coarser)] = (pictures(each)[1] for each in (found["blur"], few(folder, 2, coarse)))

    assert "outside the picture" not in blur and "What is above 250 % lies outside the picture" in coarser


def test_letters_guessed_from_noise_are_about_one_in_26(images):
    generator = torch.Generator().manual_seed(1)
    noise = find(
        measure(
            images,
            lambda some: torch.randint(256, some.shape, dtype=torch.uint8, generator=generator),
            None,
            CPU,
            untold,
        ),
        SIDE,
        0,
        "",
    )

    shares = np.average([text.autoencoder.value for text in noise.texts], weights=[t.letters for t in noise.texts])
    assert 0.02 < shares < 0.08


def test_signs_are_the_same_for_the_same_seed_and_number_and_stay_on_the_image(images):
    image = images.read([0])[0]
    [first, again], signs = with_signs(torch.stack([image, image]), 0, 5)
    same, _ = add_signs(image, 0, 5)

    assert torch.equal(first, same) and not torch.equal(first, again)
    for sign in signs[0]:
        left, top, right, bottom = plate_of(sign.line)
        assert left >= 0 and top >= 0 and right <= SIDE and bottom <= SIDE
    tops = sorted((plate_of(sign.line)[1], plate_of(sign.line)[3]) for sign in signs[0])
    assert all(below >= bottom for (_, bottom), (below, _) in pairwise(tops))


@pytest.mark.parametrize(
    ("image_size", "sizes"), [(16, (6,)), (64, (6, 8, 10, 12)), (256, (6, 8, 10, 12, 16, 24, 32, 48))]
)
def test_small_images_hold_small_text_alone(image_size, sizes):
    assert fitting_sizes(image_size) == sizes


def test_the_worst_square_is_where_the_error_is():
    before = torch.zeros(2, 3, 160, 160, dtype=torch.uint8)
    after = before.clone()
    after[0, :, 120:124, 30:34] = 200
    after[1, :, 8:12, 140:144] = 200

    places, errors = worst_squares(before, after)

    for (top, left), (row, column) in zip(places, [(120, 30), (8, 140)], strict=True):
        assert top <= row < top + 80 - 3 and left <= column < left + 80 - 3
    assert errors == pytest.approx([(200 / 255) ** 2 * 16 / 80**2] * 2)
    assert difference(before[0], after[0]).max() == 255 and difference(before[0], before[0]).max() == 0


def test_the_worst_square_may_lie_at_the_edge_of_images_of_any_size():
    before = torch.zeros(1, 3, 101, 101, dtype=torch.uint8)
    after = before.clone()
    after[0, :, 95:101, 95:101] = 200

    places, errors = worst_squares(before, after)

    assert places.tolist() == [[21, 21]]
    assert errors == pytest.approx([(200 / 255) ** 2 * 36 / 80**2])


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    trials = [mean(generator.gamma(2, size=80), seed=trial) for trial in range(200)]

    assert 0.89 <= np.mean([each.low <= 2 <= each.high for each in trials]) <= 0.99


def test_a_ratio_weighs_images_by_what_is_in_them():
    interval = ratio(np.array([1.0, 8.0]), np.array([1.0, 16.0]), seed=0)

    assert interval.value == pytest.approx(9 / 17) and interval.low >= 0.5 and interval.high <= 1


def test_all_letters_right_is_not_taken_for_certainty():
    interval = proportion(np.full(10, 8.0), np.full(10, 8.0), seed=0)

    assert interval.value == interval.high == 1
    assert interval.low == pytest.approx(0.954, abs=0.001)  # Wilson's, of 80


def test_of_one_image_nothing_is_claimed(images):
    images = find_images(images.root, SIDE, 1, 0, untold)

    findings = find(measure(images, blurred, None, CPU, untold), SIDE, 0, "")

    assert not findings.mse.is_known and {text.state for text in findings.texts} == {"unknown"}
    assert caveats(findings, "")[0].startswith("One image: nothing here says what becomes of another")
    assert "too few for a claim" in headline(findings)


def test_few_images_and_few_letters_are_warned_of(found):
    said = caveats(found["blur"], "2 smaller than 128 pixels")

    assert said[0].startswith("40 images: enough for large differences")
    assert "Left out: 2 smaller than 128 pixels." in said
    assert any("letters were drawn" in line for line in said) == any(t.letters < 200 for t in found["blur"].texts)


def test_fid_is_left_out_with_what_would_do(found, images):
    assert on_rfid(found["blur"]) == "rFID is left out: not here."

    features = np.random.default_rng(0).normal(size=(COUNT, 64)).astype(np.float32)
    measured = measure(images, blurred, None, CPU, untold)
    few = find(replace(measured, features_before=features, features_after=features), SIDE, 0, "")

    assert few.rfid is None and "rFID needs more than 64 images, and these are 40" in on_rfid(few)


def test_fid_of_what_is_given_back_is_nothing_and_of_a_blur_is_more(images):
    from unlatent.platform.features import Extractor

    class Colours(torch.nn.Module):
        def forward(self, some):
            return torch.cat([some.float().mean(dim=(2, 3)), some.float().std(dim=(2, 3))], dim=1), None

    extractor = Extractor(name="colours", hash="", accuracy=None, network=Colours())

    same, blur = (find(measure(images, way, extractor, CPU, untold), SIDE, 0, "") for way in (torch.clone, blurred))

    assert same.rfid == pytest.approx(0, abs=1e-3) and blur.rfid > 1
    assert "rFID" in {row["name"] for row in fidelity_grid(blur).rows}


def test_numbers_are_json_that_any_program_reads(found):
    text = json.dumps(found["identity"].as_json(), allow_nan=False)

    assert json.loads(text)["psnr"]["value"] is None
    assert json.loads(text)["texts"][0]["state"] == "kept"


def test_pixels_stand_beside_every_number(found):
    fidelity, text = (grid(found["blur"]) for grid in (fidelity_grid, text_grid))

    assert [row["pixels"] for row in fidelity.rows] == ["infinite", "1", "0"]
    assert "Pixels" in {column.title for column in text.columns}
