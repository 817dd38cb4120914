import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from unlatent.platform.image_decoding import BROKEN, decode, open_upright


def square(file, image_size):
    return decode(file, image_size, image_size)


def saved(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    file.seek(0)
    return file


def test_a_clear_picture_lies_on_white():
    for mode, kind in (("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP")):
        file = saved(Image.new(mode, (4, 4), 0), kind, **({"lossless": True} if kind == "WEBP" else {}))

        assert (square(file, 4) == 255).all()


def test_a_half_clear_picture_is_mixed_with_white():
    file = saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG")

    assert square(file, 4)[0, 0, 0] == 127


def test_a_palette_with_a_clear_colour_shows_white_there():
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((0, 0), 0)

    pixels = square(saved(picture, "PNG", transparency=0), 4)

    assert pixels[:, 0, 0].tolist() == [255, 255, 255]
    assert pixels[:, 1, 1].tolist() == [40, 50, 60]


@pytest.mark.parametrize(
    ("mode", "kind"), [("1", "PNG"), ("L", "BMP"), ("P", "GIF"), ("CMYK", "TIFF"), ("CMYK", "JPEG")]
)
def test_every_mode_becomes_rgb(mode, kind):
    white = saved(Image.new("RGB", (6, 6), "white").convert(mode), kind)

    pixels = square(white, 6)

    assert (pixels.shape, pixels.dtype) == ((3, 6, 6), np.uint8)
    assert (pixels >= 254).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(kind):
    picture = Image.fromarray(np.array([[0, 32768], [257 * 64, 65535]], np.uint16))

    assert square(saved(picture, kind), 2)[0].tolist() == [[0, 128], [64, 255]]


def test_the_camera_orientation_is_honoured():
    picture = Image.new("RGB", (8, 4), "black")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright

    assert open_upright(saved(picture, "JPEG", exif=exif)).size == (4, 8)


def test_of_a_moving_picture_the_first_frame_counts():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]

    pixels = square(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), 4)

    assert pixels[:, 0, 0].tolist() == [255, 0, 0]


def test_the_centre_is_kept_at_the_scale_of_the_short_side():
    picture = Image.new("RGB", (30, 10), "red")
    picture.paste("blue", (10, 0, 20, 10))

    pixels = square(saved(picture, "PNG"), 5)

    assert pixels[:, 2, 2].tolist() == [0, 0, 255]
    assert (pixels[2] > pixels[0]).all()


def test_a_picture_of_the_right_size_keeps_its_every_pixel():
    values = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)

    assert np.array_equal(square(saved(Image.fromarray(values), "PNG"), 9), values.transpose(2, 0, 1))


def test_a_small_picture_is_enlarged():
    assert (square(saved(Image.new("RGB", (2, 3), (9, 9, 9)), "PNG"), 16) == 9).all()


@pytest.mark.parametrize(
    "file",
    [
        io.BytesIO(b""),
        io.BytesIO(b"not a picture"),
        io.BytesIO(saved(Image.effect_noise((64, 64), 90).convert("RGB"), "JPEG").getvalue()[:700]),
        saved(Image.new("RGB", (200, 2)), "PNG"),
        saved(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"),
        saved(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), "TIFF"),
    ],
    ids=["empty", "text", "cut short", "a strip", "floating point", "beyond 16 bits"],
)
def test_what_gives_no_picture_is_refused(file):
    with pytest.raises(BROKEN):
        square(file, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_pillow_turns_it(orientation):
    picture, exif = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3)), Image.Exif()
    exif[0x0112] = orientation
    file = saved(picture, "PNG", exif=exif)

    with Image.open(file) as stored:
        assert np.array_equal(np.asarray(open_upright(file)), np.asarray(ImageOps.exif_transpose(stored)))


def test_odd_exif_data_do_not_keep_a_picture_from_being_read():
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0  # a resolution
    content = saved(Image.new("RGB", (6, 4), "red"), "JPEG", exif=exif).getvalue()
    odd = content.replace(b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x02", 1)  # the resolution is said to be a text

    assert odd != content and square(io.BytesIO(odd), 4).shape == (3, 4, 4)
