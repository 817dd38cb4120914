"""The report: one HTML file that needs no other, with all its numbers as JSON and its curves as PNG beside it."""

import json
import textwrap
from dataclasses import dataclass
from typing import Any

from unlatent.platform.autoencoders import Autoencoder
from unlatent.platform.devices import device_name
from unlatent.platform.lettering import CAPITAL_SHARE
from unlatent.platform.provenance import now, provenance, release
from unlatent.platform.report.rendering import render
from unlatent.platform.report.wording import count, moment, percent, plural
from unlatent.platform.store import Store
from unlatent.platform.vae_tax import grids, samples
from unlatent.platform.vae_tax.findings import Findings, find
from unlatent.platform.vae_tax.image_set import ImageSet, left_out
from unlatent.platform.vae_tax.measuring import Measured
from unlatent.platform.vae_tax.plots import pictures
from unlatent.platform.vae_tax.verdict import caveats, headline, on_rfid, verdicts

PAGE, NUMBERS = "report.html", "results.json"
EXAMPLE = 12  # height of a capital, whose size of font is told
RELEASES = ("torch", "diffusers", "scikit-image", "pillow", "numpy")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was measured, and by what."""

    images: ImageSet
    autoencoder: Autoencoder
    measured: Measured
    inception_missing: str  # why there are no features of it; empty where there are


def write_report(out: Store, subject: Subject) -> list[dict[str, str]]:
    """Writes report.html, results.json and a PNG of each curve into a folder. Returns the answer in short."""
    images, autoencoder = subject.images, subject.autoencoder
    findings = find(subject.measured, images.image_size, images.seed, subject.inception_missing)
    line, drawn = measured_line(subject), pictures(findings)
    for picture, _ in drawn:
        out.write_bytes(f"{picture.name}.png", picture.png(textwrap.fill(line, 110)))
    numbers = {"findings": findings.as_json(), "origin": origin(subject), "provenance": provenance()}
    out.write_bytes(NUMBERS, json.dumps(numbers, indent=2, allow_nan=False).encode())
    parts = {
        "title": "The VAE tax",
        "about": f"What {autoencoder.name} loses of {images.root.root}, by encode and decode alone.",
        "headline": headline(findings),
        "verdicts": verdicts(findings),
        "caveats": caveats(findings, left_out(images)),
        "measured_line": line,
        "pictures": [(picture.svg(), picture.title, caption) for picture, caption in drawn],
        "fidelity": grids.fidelity_grid(findings),
        "rfid_note": on_rfid(findings),
        "text": grids.text_grid(findings),
        "detail": grids.detail_grid(findings),
        "published": grids.published_grid(),
        "font_pixels": round(EXAMPLE / CAPITAL_SHARE),
        "example": EXAMPLE,
        **compared(subject),
        "origin": {name: str(value) for name, value in in_words(subject).items()},
        "written": {"at": moment(now()), **provenance()},
    }
    out.write_bytes(PAGE, render("unlatent.platform.vae_tax", parts).encode())
    return in_short(findings)


def compared(subject: Subject) -> dict[str, list[samples.Comparison]]:
    given = subject.images, subject.measured, subject.autoencoder.reconstruct
    return {
        "worst": samples.worst_crops(*given),
        "usual": samples.usual_crops(*given),
        "text_samples": samples.text_samples(*given),
    }


def measured_line(subject: Subject) -> str:
    """What all numbers depend on, in a line."""
    images, autoencoder = subject.images, subject.autoencoder
    return (
        f"{plural(len(images), 'image')} at {images.image_size}×{images.image_size} from {images.root.root} "
        f"(hash {images.hash[:16]}), seed {images.seed}; {autoencoder.name}, weights {autoencoder.sha256[:16]}; "
        "95 % intervals over images."
    )


def origin(subject: Subject) -> dict[str, Any]:
    """Everything that the numbers depend on."""
    images, autoencoder = subject.images, subject.autoencoder
    return {
        "vae": autoencoder.name,
        "vae_sha256": autoencoder.sha256,
        "vae_settings": autoencoder.settings,
        "vae_parameters": autoencoder.parameters,
        "vae_factor": autoencoder.factor,
        "images": images.root.root,
        "images_hash": images.hash,
        "images_found": images.found,
        "images_measured": len(images),
        "images_too_small": images.small,
        "images_broken": images.broken,
        "image_size": images.image_size,
        "seed": images.seed,
        "device": device_name(autoencoder.device),
        "versions": {package: release(package) for package in RELEASES},
    }


def in_words(subject: Subject) -> dict[str, str]:
    """The same for the page."""
    images, autoencoder, known = subject.images, subject.autoencoder, origin(subject)
    size, side = images.image_size, images.image_size // autoencoder.factor
    fewer = 3 * size**2 / (autoencoder.latent_channels * side**2)
    versions = ", ".join(f"{package} {version}" for package, version in known["versions"].items())
    return {
        "Autoencoder": f"{autoencoder.name}, {count(autoencoder.parameters)} parameters",
        "Its weights": f"sha256 {autoencoder.sha256}",
        "Latent": f"{side}×{side}×{autoencoder.latent_channels} of {size}×{size}×3: {fewer:.3g} times fewer values",
        "Images": f"{len(images):,} of {images.found:,} in {images.root.root}, as squares of {size} pixels",
        "Their hash": images.hash,
        "Seed": f"{images.seed}, of the choice of images, of the text and of the intervals",
        "Computed": f"in float32 on {known['device']}, by the mean of the latent's distribution",
        "Versions": f"Python {provenance()['python_version']}, {versions}",
    }


def in_short(findings: Findings) -> list[dict[str, str]]:
    """The answer as a table for a terminal."""
    rows = [
        {"measure": row["name"], "autoencoder": row["autoencoder"], "pixels": row["pixels"]}
        for row in grids.fidelity_grid(findings).rows
    ]
    for text in findings.texts:
        measure = f"letters, {text.letter_pixels} px high"
        rows.append({"measure": measure, "autoencoder": percent(text.autoencoder), "pixels": percent(text.pixels)})
    return rows
