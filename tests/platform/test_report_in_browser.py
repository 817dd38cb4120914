"""The report in a real browser: under a mouse, a finger and a keyboard, on a telephone and on paper."""

from pathlib import Path

import pytest

from tests.browser import Page, new_page
from tests.report_rows import add_evaluation, add_grid, add_run, add_steps, add_sweep
from unlatent.platform.report import write_report
from unlatent.platform.store import Store

pytestmark = pytest.mark.slow

PHONE = {"width": 390, "height": 844, "touch": True}
SETTINGS = (("p2w1", 2, 1, 0.04, 20.0), ("p4w2", 4, 2, 0.02, 21.0), ("p4w4", 4, 4, 0.01, 60.0))


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """Three settings of two seeds; the last has left no samples."""
    store = Store(tmp_path_factory.mktemp("store"))
    add_sweep(store, trials=6, seeds=2)
    for name, patch_size, window, gflops, fid in SETTINGS:
        for seed in (0, 1):
            run_id = f"{name}-{seed}"
            knobs = {"patch_size": patch_size, "window": window, "forward_gflops": gflops}
            add_run(store, run_id, sweep="digits", point=name, seed=seed, **knobs)
            add_evaluation(store, run_id, fid=fid + seed, seconds_per_image=gflops)
            add_steps(store, run_id)
            if name != "p4w4":
                add_grid(store, run_id)
    write_report(store, "report.html", "A report", "digits", "p2w1-0")
    return Path(store.root) / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with new_page(tmp_path_factory.mktemp("profile")) as page:
        yield page
    assert not page.complaints


def centre_of(page: Page, run_id: str, figure: int = 0) -> tuple[float, float]:
    """Where a figure has a run's mark, once it is in view."""
    link = f"document.querySelectorAll('figure')[{figure}].querySelector('a.point[href=\"#point-{run_id}\"]')"
    page.evaluate(f"{link}.closest('figure').scrollIntoView({{block: 'center'}})")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    box = page.evaluate(f"(({{x, y, width, height}}) => [x, y, width, height])({link}.getBoundingClientRect())")
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def told(page: Page) -> str | None:
    tip = "document.getElementById('tip')"
    return page.evaluate(f"{tip}.hidden ? null : {tip}.innerText.replaceAll('\\u00a0', ' ')")


def opened(page: Page) -> str | None:
    """What the dialog says, if it is open, with a word for its picture."""
    dialog = "document.querySelector('dialog')"
    return page.evaluate(
        f"{dialog}.open ? {dialog}.innerText + ({dialog}.querySelector('img') ? ' PICTURE' : '') : null"
    )


def test_hovering_over_a_mark_says_its_setting_value_cost_and_run(page, report):
    page.open(report)
    x, y = centre_of(page, "p2w1-0")

    page.point_at(x + 8, y)  # near it is enough
    said = told(page)
    page.point_at(5, 5)

    assert said is not None
    for part in ("p2/w1", "FID 20.5 ± 0.7, 2 seeds", "0.0400 GFLOPs an image", "0.0400 s an image", "run p2w1-0"):
        assert part in said
    assert told(page) is None


def test_clicking_a_mark_shows_its_samples_and_escape_closes_them(page, report):
    page.open(report)

    page.click(*centre_of(page, "p4w2-0"))
    shown = opened(page)
    page.press("Escape", 27)

    assert shown is not None and "p4/w2" in shown and shown.endswith("PICTURE")
    assert opened(page) is None


def test_a_mark_without_samples_says_so(page, report):
    page.open(report)

    page.click(*centre_of(page, "p4w4-0"))

    assert "This file has no samples of it." in opened(page)


def test_a_finger_near_a_mark_is_enough(page, report):
    page.open(report, **PHONE)
    x, y = centre_of(page, "p2w1-0")

    page.tap(x - 12, y + 8)

    assert "p2/w1" in opened(page)


def test_the_keyboard_reaches_every_mark(page, report):
    page.open(report)
    page.evaluate("document.querySelector('main').setAttribute('tabindex', -1); document.querySelector('main').focus()")

    page.press("Tab", 9)  # to the cheapest, which is leftmost
    first = told(page)
    page.press("ArrowRight", 39)
    second = told(page)
    page.press("Enter", 13, "\r")
    shown = opened(page)
    page.press("Escape", 27)
    focused = page.evaluate("document.activeElement.getAttribute('href')")
    page.press("Tab", 9)
    next_figure = page.evaluate("document.activeElement.closest('figure') !== document.querySelector('figure')")

    assert "p4/w4" in first and "p4/w2" in second
    assert "p4/w2" in shown
    assert focused == "#point-p4w2-0" and next_figure


def test_a_heat_maps_cells_are_marks_too(page, report):
    page.open(report)

    page.click(*centre_of(page, "p2w1-0", figure=1))  # on its number

    assert "p2/w1" in opened(page)


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_but_a_table_scrolls_sideways(page, report, width):
    page.open(report, width, 844, touch=width < 1000)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click(*centre_of(page, "p2w1-0"))
    assert page.evaluate("document.querySelector('dialog').getBoundingClientRect().right") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_scheme_can_be_read(page, report, scheme):
    page.open(report, scheme=scheme)

    for words in ("h1", ".headline", "figcaption", "svg text", "td", ".note"):
        assert contrast(page, words) > 4.5, words


def test_paper_is_white_and_figures_stay_whole(page, report):
    page.open(report, scheme="dark")

    assert page.printed().startswith(b"%PDF")
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert contrast(page, "svg text") > 4.5 and contrast(page, ".headline") > 4.5
        cuts = "[...document.querySelectorAll('figure, tr')].map(part => getComputedStyle(part).breakInside)"
        assert set(page.evaluate(cuts)) == {"avoid"}
        assert page.evaluate("getComputedStyle(document.querySelector('.screen')).display") == "none"
    finally:
        page.call("Emulation.setEmulatedMedia", media="")


def contrast(page: Page, words: str) -> float:
    """Between the first such words and the page behind them, as WCAG 2 defines it."""
    ink = page.evaluate(
        f"(part => getComputedStyle(part)[part.closest('svg') ? 'fill' : 'color'])(document.querySelector('{words}'))"
    )
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark, light = sorted(luminance(colour) for colour in (ink, paper))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Of `rgb(1, 2, 3)`."""
    shares = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
