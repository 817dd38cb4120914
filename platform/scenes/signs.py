"""Signs of scenes: a plate with a short text in capitals, words and random letters.

Whether a text is held out follows from the text alone, so none of them is ever in training, whatever the seed.
"""

import zlib
from dataclasses import dataclass

from numpy.random import Generator

from unlatent.platform.lettering import ALPHABET, Box, Colour, Line, width

DICTIONARY = """
    ACID ACORN AGENT ALARM ANGEL APPLE APRIL ARENA ATLAS AUTO BACON BAKER BANK BARN BASIL BEACH BEAR BELL BIKE BIRD
    BOAT BONE BOOK BRAVE BREAD BRUSH CABIN CABLE CAFE CAKE CAMP CANDY CHAIR CHESS CITY CLAY CLIFF CLOCK CLOUD COAL
    COAST COIN CORAL CORN CRAB CREAM CROW CROWN DAISY DANCE DAWN DEER DELTA DESK DOOR DOVE DREAM DRUM DUCK DUSK
    EAGLE EARTH EAST ECHO EMBER ENTRY EXIT FARM FERRY FIELD FILM FIRE FISH FLAG FLAME FLOW FLUTE FOG FOX FROG FRUIT
    GATE GIANT GLASS GLOBE GOLD GRAPE GULF HALL HAND HARP HAWK HEART HILL HONEY HORSE HOTEL HOUSE ICE INK INN IRON
    ISLE IVORY JADE JAZZ JEWEL JOKER JUICE KAYAK KEY KING KITE KIWI LAKE LAMP LEAF LEMON LIGHT LILY LION LUNCH MAGIC
    MAP MAPLE MARS MILK MINT MOON MOUSE MUSIC NEST NIGHT NORTH NOVA OAK OASIS OCEAN OLIVE ONYX OPAL OPEN OPERA ORBIT
    OTTER OWL PALM PANDA PARK PEACH PEARL PIANO PILOT PINE PIZZA PLAZA POLAR POND POST QUAIL QUARK QUEEN QUEST QUICK
    QUIET QUILT QUIZ RADIO RAIN RAVEN RIVER ROAD ROBOT ROCK ROSE RUBY SALT SAND SEA SHIP SHOP SILK SKY SNOW SODA
    SOLAR SONG SOUTH SPICE STONE STORM SUGAR SWAN TAXI TEA TIGER TOAST TOWER TRAIN TREE TULIP UNITY VALVE VAN VINYL
    VIOLA VIVID WATER WAVE WEST WHALE WIND WINE WOLF WOOD WORLD YACHT YARD YOGA ZEBRA ZEN ZERO ZONE ZOO
"""
WORDS = DICTIONARY.split()
LENGTHS = (3, 4, 5)  # letters
LETTER_SIZES = (8, 9, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48)  # pixels that a capital is high
COLOURS: list[tuple[Colour, Colour]] = [  # paper and ink
    ((250, 250, 246), (20, 20, 24)),
    ((30, 32, 38), (246, 246, 240)),
    ((252, 240, 206), (70, 36, 20)),
    ((22, 52, 92), (250, 250, 250)),
    ((20, 76, 56), (248, 248, 232)),
]
PLACES = ("top", "bottom")
HELD_OUT_SHARE = 5  # one text in so many


@dataclass(frozen=True, kw_only=True)
class Sign:
    place: str
    line: Line
    plate: Box
    paper: Colour
    ink: Colour


def is_held_out(text: str) -> bool:
    return zlib.crc32(text.encode()) % HELD_OUT_SHARE == 0


def random_sign(generator: Generator, image_size: int, held_out: bool) -> Sign:
    """A sign at the top or bottom, of a size that fits."""
    text, letter_pixels = random_text(generator, image_size, held_out)
    padding = padding_of(letter_pixels)
    margin = image_size // 32
    plate_width, plate_height = width(text, letter_pixels) + 2 * padding, letter_pixels + 2 * padding
    place = PLACES[generator.integers(len(PLACES))]
    left = int(generator.integers(margin, image_size - margin - plate_width, endpoint=True))
    from_edge = int(generator.integers(margin, 2 * margin, endpoint=True))
    top = from_edge if place == "top" else image_size - from_edge - plate_height
    paper, ink = COLOURS[generator.integers(len(COLOURS))]
    return Sign(
        place=place,
        line=Line(text=text, letter_pixels=letter_pixels, left=left + padding, top=top + padding),
        plate=(left, top, left + plate_width, top + plate_height),
        paper=paper,
        ink=ink,
    )


def random_text(generator: Generator, image_size: int, held_out: bool) -> tuple[str, int]:
    """A text and the height of its capitals in pixels: any of the sizes that the image has room for."""
    while True:
        if generator.integers(2):
            text = WORDS[generator.integers(len(WORDS))]
        else:
            text = "".join(
                ALPHABET[number] for number in generator.integers(len(ALPHABET), size=generator.choice(LENGTHS))
            )
        if is_held_out(text) == held_out and (fitting := sizes_for(text, image_size)):
            return text, fitting[generator.integers(len(fitting))]


def sizes_for(text: str, image_size: int) -> list[int]:
    """Heights of capitals, in pixels, that leave room for the object above or below."""
    room = image_size - 2 * (image_size // 32)
    return [
        pixels
        for pixels in LETTER_SIZES
        if pixels <= image_size * 10 // 64 and width(text, pixels) + 2 * padding_of(pixels) <= room
    ]


def padding_of(letter_pixels: int) -> int:
    """Pixels between letters and the plate's edge."""
    return max(3, round(0.4 * letter_pixels))
