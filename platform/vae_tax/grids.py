"""Tables of the report: pixels and autoencoder beside each other."""

import math
from typing import Any

from unlatent.platform.report.grid import Column, Grid
from unlatent.platform.report.wording import between, count, number, percent, share
from unlatent.platform.vae_tax.findings import Findings
from unlatent.platform.vae_tax.verdict import outcome

PUBLISHED = (  # TokBench, arXiv 2505.18142: OCR accuracy on small text in per cent, images of 256 and of 1024 pixels
    ("The images themselves", 86.05, 95.15),
    ("FLUX.1", 50.69, 83.71),
    ("SD3.5", 36.26, 74.88),
    ("SDXL", 6.94, 31.41),
    ("DC-AE", 1.42, 15.32),
)


def fidelity_grid(findings: Findings) -> Grid:
    psnr = "infinite" if math.isinf(findings.psnr.value) else between(findings.psnr)
    rows = [
        row("PSNR", "infinite", psnr, "dB; higher is better"),
        row("SSIM", "1", between(findings.ssim), "likeness of structure; 1 is the same"),
        row("MSE", "0", between(findings.mse), "mean squared error of values from 0 to 1"),
    ]
    if findings.rfid is not None:
        rows.append(row("rFID", "0", number(findings.rfid), "distance of Inception's features; lower is better"))
    columns = [
        Column("Measure", lambda row: row["name"], "text"),
        Column("Autoencoder", lambda row: row["autoencoder"], note="95 % interval"),
        Column("Pixels", lambda row: row["pixels"]),
        Column("Meaning", lambda row: row["meaning"], "text"),
    ]
    return Grid(columns, rows)


def row(name: str, pixels: str, autoencoder: str, meaning: str) -> dict[str, Any]:
    return {"name": name, "pixels": pixels, "autoencoder": autoencoder, "meaning": meaning}


def text_grid(findings: Findings) -> Grid:
    columns = [
        Column("Capital", lambda row: count(row["text"].letter_pixels), note="px high"),
        Column("Autoencoder", lambda row: percent(row["text"].autoencoder), note="read right"),
        Column("Pixels", lambda row: percent(row["text"].pixels), note="read right"),
        Column("Still read", lambda row: percent(row["text"].still), note="of those"),
        Column("Guessed", lambda row: share(row["text"].chance.value), note="where no text was"),
        Column("Letters", lambda row: count(row["text"].letters), note="drawn"),
        Column("So it is", lambda row: outcome(row["text"]), "text"),
    ]
    return Grid(columns, [{"text": text} for text in findings.texts])


def detail_grid(findings: Findings) -> Grid:
    columns = [
        Column("Cycle", lambda row: f"{number(1 / row['band'].high, 2)}–{number(1 / row['band'].low, 2)}", note="px"),
        Column("Autoencoder", lambda row: percent(row["band"].lost), note="error, of the band's energy"),
        Column("Pixels", lambda row: share(0, 0), note="error"),
        Column("Energy afterwards", lambda row: share(row["band"].afterwards.value), note="of the band's"),
        Column("Energy", lambda row: share(row["band"].share, 2), note="of the images'"),
    ]
    return Grid(columns, [{"band": band} for band in findings.bands])


def published_grid() -> Grid:
    columns = [
        Column("Autoencoder of", lambda row: row["name"], "text"),
        Column("At 256 px", lambda row: f"{row['at_256']:.2f}", note="% read"),
        Column("At 1024 px", lambda row: f"{row['at_1024']:.2f}", note="% read"),
    ]
    return Grid(columns, [dict(zip(("name", "at_256", "at_1024"), each, strict=True)) for each in PUBLISHED])
