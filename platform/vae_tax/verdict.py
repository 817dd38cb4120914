"""The answer in plain words: what is kept, what is lost, and how far that may be believed."""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

from unlatent.platform.report.wording import count, listed, number, percent, plural, share
from unlatent.platform.vae_tax.findings import SURE_LETTERS, Band, Findings, TextSize

FEW_IMAGES = 30  # below, bootstrap intervals are too narrow themselves
ENOUGH_IMAGES = 100
FEW_LETTERS = 200  # at one size
FID_IMAGES = 10_000  # below, FIDs of other numbers of images are not to be compared with
LITTLE, HALF = 0.1, 0.5  # of a band's energy, or of a size's letters
CLAIMS = {  # outcome -> what is said of such capitals
    "kept": "stay readable",
    "lost in part": "are lost in part",
    "mostly lost": "are mostly lost",
    "lost": "can be read no more",
    "too few to tell": "are too few to tell",
}


def headline(findings: Findings) -> str:
    """What encode → decode alone leaves of the images."""
    if findings.unchanged == findings.images:
        lost = [text for text in findings.texts if text.autoencoder.value != text.pixels.value]
        left = f"but of text drawn on them, {in_short(findings.texts)}" if lost else "it loses nothing here"
        return f"This autoencoder gives every image back bit for bit: {left}."
    psnr, ssim = number(findings.psnr.value), number(findings.ssim.value)
    few = f"By {plural(findings.images, 'image')}, too few for a claim: e" if findings.images < FEW_IMAGES else "E"
    left = f"{few}ncode and decode alone leave {psnr} dB PSNR and {ssim} SSIM"
    return f"{left}; {in_short(findings.texts)}."


def in_short(texts: Sequence[TextSize]) -> str:
    """What becomes of text, as the end of a sentence. It claims nothing of a size but what is told of that size."""
    found = by_outcome(texts)
    said = [f"of {sizes(found[outcome], texts)} {claim}" for outcome, claim in CLAIMS.items() if found[outcome]]
    return f"capitals {', those '.join(said)}" if said else "of text these images can tell nothing"


def outcome(text: TextSize) -> str:
    """The state of a size in words."""
    if text.state == "damaged":
        return "mostly lost" if text.still.high < HALF else "lost in part"
    return {"unknown": "too few to tell", "unreadable": "cannot be told"}.get(text.state, text.state)


def by_outcome(texts: Sequence[TextSize]) -> defaultdict[str, list[TextSize]]:
    found = defaultdict(list)
    for text in texts:
        found[outcome(text)].append(text)
    return found


def verdicts(findings: Findings) -> list[str]:
    """What it loses, a sentence or two for each kind of measure."""
    return [*on_text(findings.texts), *on_detail(findings.bands), *on_fidelity(findings)]


def on_text(texts: Sequence[TextSize]) -> list[str]:
    said, found = [], by_outcome(texts)
    if kept := found["kept"]:
        said.append(
            f"Kept: capitals of {sizes(kept, texts)}. At {pixels(kept[0])}, {percent(kept[0].still)} of the letters "
            "that are read through pixels are still read."
        )
    for name in ("lost in part", "mostly lost"):
        if damaged := found[name]:
            each = listed([f"{percent(text.still)} at {pixels(text)}" for text in damaged])
            said.append(f"{name.capitalize()}: of the letters that are read through pixels, {each} are still read.")
    if lost := found["lost"]:
        each, guessed = listed([f"{percent(text.autoencoder)} at {pixels(text)}" for text in lost]), lost[-1].chance
        said.append(f"Lost: of letters, {each} are read right; where no text was, {percent(guessed)} are guessed.")
    if unknown := found["too few to tell"]:
        said.append(on_too_few(unknown, texts))
    if unreadable := found["cannot be told"]:
        said.append(f"At {sizes(unreadable, texts)} the reader fails on the images themselves, so nothing follows.")
    return said


def on_too_few(unknown: Sequence[TextSize], texts: Sequence[TextSize]) -> str:
    """What was seen all the same, and how many images would do for one that loses nothing."""
    readable, still = sum(text.readable for text in unknown), sum(text.still_read for text in unknown)
    seen = f"of {readable:,} that are read through pixels, {still:,} are still read"
    images = unknown[0].still.images
    needed = math.ceil(images * max(SURE_LETTERS / text.readable for text in unknown))
    would_do = f"; where all are, about {needed:,} images would do" if needed > images else ""
    return f"Too few letters to tell of {sizes(unknown, texts)}: {seen}{would_do}."


def on_detail(bands: Sequence[Band]) -> list[str]:
    """Down to where structure is kept, and from where on most of it is lost."""
    known = [band for band in bands if band.lost.is_known]
    if not known:
        return []
    kept = next((place for place, band in enumerate(known) if band.lost.high > LITTLE), len(known))
    gone = next((place for place, band in enumerate(reversed(known)) if band.lost.low < HALF), len(known))
    if kept == len(known):
        most = max(known, key=lambda band: band.lost.value)
        if not most.lost.value:
            return ["No band of detail loses anything."]
        lost = f"the most is {percent(most.lost)}, at {cycle(most.period)}"
        return [f"No band of detail loses a tenth of its energy; {lost}."]
    said = []
    if kept:
        said.append(
            f"Structure of {cycle(1 / known[kept - 1].high)} and more is kept: its error has less than "
            f"{share(LITTLE, 0)} of its energy."
        )
    if gone:
        first = known[len(known) - gone]
        said.append(
            f"Detail finer than {cycle(1 / first.low)} is mostly lost: its error has more than half of its energy, and "
            f"{percent(known[-1].lost)} of that of the finest."
        )
    return said or [f"The finest detail loses {percent(known[-1].lost)} of its energy."]


def on_fidelity(findings: Findings) -> list[str]:
    levels = 255 * math.sqrt(findings.mse.value)
    return [f"The value of a pixel is off by {number(levels, 2)} levels of 255, as a root mean square."]


def caveats(findings: Findings, left_out: str) -> list[str]:
    """How far the answer goes: what it rests on, and what it does not say."""
    said, images = [], findings.images
    if images == 1:
        said.append("One image: nothing here says what becomes of another. 100 or more would do.")
    elif images < FEW_IMAGES:
        said.append(f"Only {images} images: intervals of so few are too narrow themselves. 100 or more would do.")
    elif images < ENOUGH_IMAGES:
        said.append(f"{images} images: enough for large differences; small ones need more.")
    if images > 1:
        said.append(
            "Intervals take images to be independent of each other: crops of one picture are less than they seem."
        )
    few = [text for text in findings.texts if text.letters < FEW_LETTERS]
    if few:
        least = min(few, key=lambda text: text.letters)
        at = f" at {pixels(least)}" if len(few) > 1 else ""
        said.append(
            f"At {sizes(few, findings.texts)} fewer than {FEW_LETTERS} letters were drawn, {least.letters}{at}: their "
            "shares are rough."
        )
    if findings.unchanged and findings.unchanged < images:
        said.append(f"{plural(findings.unchanged, 'image')} came back bit for bit; PSNR is the mean over the others.")
    if left_out:
        said.append(f"Left out: {left_out}.")
    said.append(
        "The reader of text knows font, size, colours and place of every letter, before and after alike: of text that "
        "it knew nothing of, less would be read."
    )
    said.append(
        "Through pixels there is no such step, so nothing is lost in it; what either kind of model then loses as it "
        "generates is not measured here."
    )
    return said


def on_rfid(findings: Findings) -> str:
    """What is to be said of rFID, whether it is there or not."""
    if findings.rfid is None:
        return f"rFID is left out: {findings.rfid_missing}."
    if findings.images < FID_IMAGES:
        return (
            f"rFID of {count(findings.images)} images is larger than that of more: it compares with rFIDs of as many "
            "images alone, and through pixels it is 0."
        )
    return ""


def pixels(text: TextSize) -> str:
    return f"{text.letter_pixels}\u00a0px"


def cycle(period: float) -> str:
    return f"{number(period, 2)}\u00a0px a cycle"


def sizes(some: Sequence[TextSize], texts: Sequence[TextSize]) -> str:
    """Some of all sizes tried, neighbours as a range: `6 px and 12 to 48 px`."""
    if len(some) == len(texts):
        return "every size tried"
    runs = groupby(enumerate(texts.index(text) for text in some), lambda pair: pair[1] - pair[0])
    return listed([span([texts[place] for _, place in run]) for _, run in runs])


def span(texts: Sequence[TextSize]) -> str:
    return pixels(texts[0]) if len(texts) == 1 else f"{texts[0].letter_pixels} to {pixels(texts[-1])}"
