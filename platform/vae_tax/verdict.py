"""The answer in plain words: what is kept, what is lost, and how far that may be believed."""

import math
from collections.abc import Sequence

from unlatent.platform.report.wording import count, listed, number, percent, plural, share
from unlatent.platform.vae_tax.findings import Band, Findings, TextSize

FEW_IMAGES = 30  # below, bootstrap intervals are too narrow themselves
ENOUGH_IMAGES = 100
FEW_LETTERS = 200  # at one size
FID_IMAGES = 10_000  # below, FIDs of other numbers of images are not to be compared with
LITTLE, HALF = 0.1, 0.5  # of a band's energy, or of a size's letters


def headline(findings: Findings) -> str:
    """What encode → decode alone leaves of the images."""
    if findings.unchanged == findings.images:
        return "This autoencoder gives every image back bit for bit: it loses nothing here."
    psnr, ssim = number(findings.psnr.value), number(findings.ssim.value)
    few = f"By {plural(findings.images, 'image')}, too few for a claim: e" if findings.images < FEW_IMAGES else "E"
    left = f"{few}ncode and decode alone leave {psnr} dB PSNR and {ssim} SSIM"
    return f"{left}; {in_short(findings.texts)}."


def in_short(texts: Sequence[TextSize]) -> str:
    """What becomes of text, as the end of a sentence."""
    kept, lost = kept_upwards(texts), [text for text in texts if text.state == "lost"]
    told = [text for text in texts if text.state != "unknown"]
    if not told:
        return "of text these images can tell nothing"
    if len(kept) == len(told):
        return "text of every size tried stays readable"
    if len(lost) == len(told):
        return "no text of any size tried can be read any more"
    gone = f"{pixels(lost[-1])} and less" if lost and lost == told[: len(lost)] else ""
    if kept:
        stays = f"text with capitals {pixels(kept[0])} high and more stays readable"
        return f"{stays}, {gone} does not" if gone else stays
    stays = "text of no size tried stays as readable as it was"
    return f"{stays}, {gone} cannot be read at all" if gone else stays


def verdicts(findings: Findings) -> list[str]:
    """What it loses, a sentence or two for each kind of measure."""
    return [*on_text(findings.texts), *on_detail(findings.bands), *on_fidelity(findings)]


def on_text(texts: Sequence[TextSize]) -> list[str]:
    said, kept = [], kept_upwards(texts)
    if kept:
        first = kept[0]
        said.append(
            f"Capitals {pixels(first)} high and more are kept: at {pixels(first)}, {percent(first.autoencoder)} of "
            f"letters are read right, {share(first.pixels.value)} through pixels."
        )
    damaged = [text for text in texts if text.state == "damaged" or (text.state == "kept" and text not in kept)]
    if damaged:
        each = listed([f"{pixels(text)} {percent(text.autoencoder)}" for text in damaged])
        said.append(f"Lost in part: of letters at {each} are still read right.")
    lost = [text for text in texts if text.state == "lost"]
    if lost:
        each = listed([f"{pixels(text)} {percent(text.autoencoder)}" for text in lost])
        said.append(f"Not told apart from lost: {each}; where no text was, {percent(lost[-1].chance)} are guessed.")
    unknown = [pixels(text) for text in texts if text.state == "unknown" and text.autoencoder.is_known]
    if unknown:
        said.append(f"At {listed(unknown)} the reader fails on the images themselves, so nothing follows.")
    return said


def kept_upwards(texts: Sequence[TextSize]) -> list[TextSize]:
    """The sizes from which on text of every larger one is kept too."""
    found: list[TextSize] = []
    for text in reversed(texts):
        if text.state != "kept":
            break
        found.insert(0, text)
    return found


def on_detail(bands: Sequence[Band]) -> list[str]:
    """Down to where structure is kept, and from where on most of it is lost."""
    known = [band for band in bands if band.lost.is_known]
    if not known:
        return []
    kept = next((place for place, band in enumerate(known) if band.lost.high > LITTLE), len(known))
    gone = next((place for place, band in enumerate(reversed(known)) if band.lost.low < HALF), len(known))
    if kept == len(known):
        most = max(known, key=lambda band: band.lost.value)
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
        said.append(
            f"At {listed([pixels(text) for text in few])} fewer than {FEW_LETTERS} letters were drawn, {least.letters} "
            f"at {pixels(least)}: their shares are rough."
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
