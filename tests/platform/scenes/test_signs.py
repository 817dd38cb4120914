import numpy as np

from unlatent.platform.scenes.signs import WORDS, is_held_out, random_sign


def signs(image_size: int, held_out: bool, count: int = 600):
    generator = np.random.default_rng(0)
    return [random_sign(generator, image_size, held_out) for _ in range(count)]


def test_no_text_of_a_held_out_sign_is_ever_in_training():
    trained, held_out = ({sign.line.text for sign in signs(64, part)} for part in (False, True))

    assert not trained & held_out
    assert not any(map(is_held_out, trained)) and all(map(is_held_out, held_out))


def test_texts_are_words_and_random_letters_of_three_to_five():
    for held_out in (False, True):
        texts = [sign.line.text for sign in signs(64, held_out)]

        words = sum(text in WORDS for text in texts) / len(texts)
        assert 0.4 < words < 0.6 and {len(text) for text in texts} == {3, 4, 5}
        assert len(set(texts) & set(WORDS)) > 30


def test_letters_come_in_all_sizes_that_the_image_has_room_for():
    for image_size, expected in ((64, [8, 9, 10]), (512, [8, 9, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48])):
        found = sorted({sign.line.letter_pixels for sign in signs(image_size, held_out=False)})

        assert found == expected


def test_all_letters_lie_on_the_plate():
    for image_size in (64, 128, 512):
        for sign in signs(image_size, held_out=False, count=200):
            left, top, right, bottom = sign.plate
            for box in sign.line.boxes:
                assert left < box[0] and top < box[1] and box[2] < right and box[3] < bottom
