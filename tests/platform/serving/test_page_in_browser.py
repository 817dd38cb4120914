"""The page in a real headless Chromium: what its users do, with the mouse, with keys alone, and on a phone."""

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser import NAMES
from unlatent.platform.serving.model_card import model_card
from unlatent.platform.store import Store

pytestmark = pytest.mark.slow

LONG = "100000"  # steps, for what is to be seen on its way


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium here")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that has nothing to complain of, and asks no other host."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page, complaints, hosts = context.new_page(), [], set()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: hosts.add(re.match(r"\w+:(//[^/:]*)?", request.url)[0]))
    page.set_default_timeout(15_000)
    yield page
    context.close()
    assert complaints == []
    assert hosts <= {"http://127.0.0.1", "data:", "blob:"}


def opened(page, client):
    page.goto(str(client.base_url))
    expect(page.get_by_role("button", name="Make “0”")).to_be_enabled()
    return page


def make(page, name="3"):
    page.locator("#classes label", has_text=name).click()
    page.get_by_role("button", name=f"Make “{name}”").click()
    expect(page.locator("#status")).to_contain_text("seed")


def shown(page, selector):
    """The address of the image that is seen there, which holds the image itself."""
    return page.locator(selector).get_attribute("src")


def exhibits(page):
    return page.locator("#gallery li")


def test_an_image_forms_as_one_watches_and_stays_with_its_settings(page, client):
    opened(page, client).get_by_label("Steps", exact=True).fill("8")

    make(page, "7")

    assert [frame.text_content() for frame in page.locator("#frames li").all()] == [f"step {n}" for n in (2, 4, 6, 8)]
    looks = [frame.get_attribute("src") for frame in page.locator("#frames img").all()]
    assert len(set(looks)) == 4 and looks[-1] == shown(page, "#image") == shown(page, "#gallery li img")
    assert page.locator("#image").get_attribute("alt") == "Generated image of 7"
    expect(exhibits(page).locator("p")).to_contain_text("8 steps · guidance 2")


def test_an_image_of_the_gallery_is_made_again_pixel_by_pixel(page, client):
    make(opened(page, client))
    first = shown(page, "#image")
    make(page, "5")
    assert shown(page, "#image") != first

    page.get_by_role("button", name=re.compile("Make again: 3")).click()

    expect(exhibits(page)).to_have_count(3)
    assert shown(page, "#image") == first
    assert page.locator("#classes input:checked").get_attribute("value") == "3"


def test_stopping_ends_the_work_of_the_endpoint_too(page, serve):
    client = serve(max_steps=10**5)
    opened(page, client).get_by_label("Steps", exact=True).fill(LONG)
    page.get_by_role("button", name="Make “0”").click()
    page.wait_for_function("document.querySelector('#making').ariaBusy === 'true'")

    page.get_by_role("button", name="Stop").click()

    expect(page.locator("#status")).to_have_text("Stopped.")
    expect(page.get_by_role("button", name="Make “0”")).to_be_visible()
    for _ in range(500):
        if not client.generator.served.errands:
            break
        page.wait_for_timeout(10)
    assert not client.generator.served.errands


def test_an_image_is_saved_as_the_file_that_the_endpoint_made(page, client):
    make(opened(page, client))

    with page.expect_download() as saving:
        page.get_by_role("link", name=re.compile("Save: 3")).click()

    assert re.fullmatch(r"3-\d+\.png", saving.value.suggested_filename)
    assert b"checkpoint_hash" in Path(saving.value.path()).read_bytes()


def test_an_image_is_edited_where_it_was_painted_and_nowhere_else(page, client):
    make(opened(page, client))
    page.get_by_role("button", name=re.compile("^Edit: 3")).click()
    expect(page.get_by_label("It shows").locator("visible=true")).to_have_value("3")
    page.locator("#targets label", has_text="8").click()
    page.get_by_label("Guidance").locator("visible=true").fill("90")
    box = page.locator("#mask").bounding_box()
    page.locator("#brush").fill("1")
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.3 * box["height"], steps=8)
    page.mouse.up()
    expect(page.get_by_role("button", name="Clear the mask")).to_be_enabled()

    page.get_by_role("button", name="Edit the image").click()

    expect(page.locator("#edit-status")).to_contain_text("“8”, seed")
    changed = differing_pixels(page, "#before", "#after")
    assert changed and {y for _, y in changed} == {2} and {x for x, _ in changed} <= {2, 3, 4}
    expect(exhibits(page).first.locator("strong")).to_have_text("3 → 8")


def differing_pixels(page, first, second):
    script = """async ([first, second]) => {
        const pixels = await Promise.all([first, second].map(async (selector) => {
            const image = document.querySelector(selector);
            await image.decode();
            const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
            canvas.getContext("2d").drawImage(image, 0, 0);
            return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        }));
        const found = [];
        const { naturalWidth: width, naturalHeight: height } = document.querySelector(first);
        for (let at = 0; at < width * height; at++)
            if ([0, 1, 2].some((channel) => pixels[0][4 * at + channel] !== pixels[1][4 * at + channel]))
                found.push([at % width, Math.floor(at / width)]);
        return found;
    }"""
    return {tuple(place) for place in page.evaluate(script, [first, second])}


def test_before_after_and_difference_are_compared(page, client):
    make(opened(page, client))
    page.get_by_role("button", name=re.compile("^Edit: 3")).click()
    page.get_by_label("Guidance").locator("visible=true").fill("90")
    page.locator("#targets label", has_text="8").click()
    page.get_by_role("button", name="Edit the image").click()
    expect(page.locator("#compare")).to_be_visible()

    page.get_by_label("Before and after").fill("25")
    page.get_by_label("Show the difference").check()

    assert page.locator("#after").evaluate("image => image.style.clipPath") == "inset(0px 0px 0px 75%)"
    expect(page.locator("#difference")).to_be_visible()
    brightest = (
        """canvas => Math.max(...canvas.getContext('2d').getImageData(0, 0, 8, 8).data.filter((_, at) => at % 4 < 3))"""
    )
    assert page.locator("#difference").evaluate(brightest) == 255


def test_an_edit_is_made_again_with_its_image_and_mask(page, client):
    make(opened(page, client))
    page.get_by_role("button", name=re.compile("^Edit: 3")).click()
    page.locator("#mask").click(position={"x": 200, "y": 200})
    page.locator("#targets label", has_text="8").click()
    page.get_by_role("button", name="Edit the image").click()
    expect(exhibits(page)).to_have_count(2)
    first = shown(page, "#after")
    page.get_by_role("button", name="Clear the mask").click()

    page.get_by_role("button", name=re.compile("^Edit again")).click()

    expect(exhibits(page)).to_have_count(3)
    assert shown(page, "#after") == first


@pytest.mark.parametrize("size", [(8, 8), (40, 24)])
def test_a_file_is_brought_and_cut_to_the_models_size_in_plain_words(page, client, tmp_path, size):
    from PIL import Image

    Image.effect_noise(size, 80).save(tmp_path / "mine.png")
    opened(page, client).get_by_role("tab", name="Edit").click()

    page.locator("#file").set_input_files(tmp_path / "mine.png")

    said = "" if size == (8, 8) else "Cut and scaled to 8 × 8, which the model edits."
    expect(page.locator("#edit-status")).to_have_text(said)
    page.get_by_role("button", name="Edit the image").click()
    expect(page.locator("#edit-status")).to_contain_text("seed")


def test_a_file_that_is_no_image_is_said_to_be_none(page, client, tmp_path):
    (tmp_path / "letter.png").write_text("not an image")
    opened(page, client).get_by_role("tab", name="Edit").click()

    page.locator("#file").set_input_files(tmp_path / "letter.png")

    expect(page.locator("#edit-error")).to_have_text("letter.png is no image that can be read.")


@pytest.mark.parametrize(("label", "value"), [("Steps", "many"), ("Steps", "2000"), ("Guidance", "-1"), ("Seed", "x")])
def test_what_the_endpoint_refuses_is_said_beside_the_button_and_marked_in_its_field(page, client, label, value):
    field = opened(page, client).get_by_label(label, exact=True).locator("visible=true")
    field.fill(value)

    page.get_by_role("button", name="Make “0”").click()

    expect(page.get_by_role("alert").locator("visible=true")).to_contain_text(f"{label.lower()}=")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()


def test_an_endpoint_that_is_gone_is_said_to_be(page, client):
    opened(page, client).route("**/v1/images/**", lambda route: route.abort())

    page.get_by_role("button", name="Make “0”").click()

    expect(page.get_by_role("alert")).to_have_text("The endpoint does not answer. Is it still running?")


def test_a_model_that_is_still_loading_is_waited_for(page, serve):
    client = serve()
    served, client.generator.served = client.generator.served, None
    page.goto(str(client.base_url))
    expect(page.get_by_role("alert")).to_have_text("no model is loaded yet")

    client.generator.served = served

    expect(page.get_by_role("button", name="Make “0”")).to_be_enabled()


def test_a_token_is_asked_for(page, serve):
    client = serve(token="secret")
    page.goto(str(client.base_url))
    expect(page.get_by_role("alert")).to_have_text("This endpoint asks for a token.")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("alert")).to_have_text("That is not its token.")

    page.get_by_label("Token").fill("secret")
    page.get_by_role("button", name="Open").click()

    make(page)


def test_keys_alone_make_an_image_and_edit_it(page, client):
    opened(page, client).get_by_role("tab", name="Make").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")  # to class 1
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("“1”, seed")

    page.get_by_role("button", name=re.compile("^Edit: 1")).press("Enter")
    page.locator("#mask").focus()
    for key in ("ArrowLeft", "ArrowLeft", "Space", "ArrowUp", "Space"):
        page.keyboard.press(key)
    page.locator("#targets input:checked").focus()
    page.keyboard.press("ArrowLeft")  # from 0 to 9
    page.keyboard.press("Enter")

    expect(page.locator("#edit-status")).to_contain_text("“9”, seed")
    page.get_by_role("tab", name="Edit").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="Make")).to_be_focused()
    expect(page.locator("#make-panel")).to_be_visible()


def test_a_model_that_reads_texts_is_told_what_to_make_and_to_change_in_words(page, text_client):
    page.goto(str(text_client.base_url))
    page.get_by_label("Prompt").fill("a red circle on grass")
    page.get_by_label("Without").fill("blue")
    page.get_by_label("Prompt").press("Enter")
    expect(page.locator("#status")).to_contain_text("“a red circle on grass”, seed")
    first = shown(page, "#image")
    page.get_by_label("Prompt").fill("something else")
    page.get_by_role("button", name=re.compile("^Make again")).click()
    expect(exhibits(page)).to_have_count(2)
    assert shown(page, "#image") == first
    assert page.get_by_label("Without").input_value() == "blue"

    page.get_by_role("button", name=re.compile("^Edit: a red")).first.click()
    assert page.get_by_label("It shows").locator("visible=true").input_value() == "a red circle on grass"
    page.get_by_label("Turn it into").locator("visible=true").fill("a blue circle on grass")
    page.get_by_role("button", name="Edit the image").click()

    expect(page.locator("#edit-status")).to_contain_text("“a blue circle on grass”, seed")
    expect(exhibits(page).first.locator("strong")).to_have_text("a red circle on grass → a blue circle on grass")


def test_a_model_of_several_sizes_makes_and_edits_each_in_its_proportion(page, sizes_client):
    page.goto(str(sizes_client.base_url))
    expect(page.locator("#facts")).to_contain_text("8 × 8, 2 other sizes")
    page.get_by_label("Prompt").fill("a red circle")
    expect(page.get_by_label("Size")).to_have_value("8x8")
    page.get_by_label("Size").select_option("12 × 8")
    page.get_by_role("button", name="Make the image").click()
    expect(page.locator("#status")).to_contain_text("seed")
    first = shown(page, "#image")
    assert page.locator("#image").evaluate(natural_size) == [12, 8]
    stage = page.locator("#stage").bounding_box()
    assert page.locator("#image").bounding_box() == stage and stage["width"] == pytest.approx(stage["height"], abs=1)
    page.get_by_label("Size").select_option("8 × 12")
    page.get_by_role("button", name="Make the image").click()
    expect(exhibits(page)).to_have_count(2)
    assert page.locator("#stage").bounding_box() == page.locator("#image").bounding_box() == stage
    page.get_by_role("button", name=re.compile("^Make again")).last.click()
    expect(exhibits(page)).to_have_count(3)
    assert (shown(page, "#image"), page.get_by_label("Size").input_value()) == (first, "12x8")

    page.get_by_role("button", name=re.compile("^Edit: a red")).first.click()
    box = page.locator("#mask").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(1.5, abs=0.01)
    page.locator("#brush").fill("1")
    page.mouse.click(box["x"] + 10.5 / 12 * box["width"], box["y"] + 0.5 / 8 * box["height"])
    page.get_by_label("Turn it into").locator("visible=true").fill("a blue circle")
    page.get_by_label("Guidance").locator("visible=true").fill("90")
    page.get_by_role("button", name="Edit the image").click()

    expect(page.locator("#edit-status")).to_contain_text("“a blue circle”, seed")
    assert page.locator("#after").evaluate(natural_size) == page.locator("#difference").evaluate(canvas_size) == [12, 8]
    assert differing_pixels(page, "#before", "#after") == {(10, 0)}


natural_size = "image => [image.naturalWidth, image.naturalHeight]"
canvas_size = "canvas => [canvas.width, canvas.height]"


@pytest.mark.parametrize(("brought", "size"), [((8, 12), "8 × 12"), ((90, 60), "12 × 8"), ((60, 62), "8 × 8")])
def test_a_file_is_cut_to_the_size_that_is_nearest_in_proportion(page, sizes_client, tmp_path, brought, size):
    from PIL import Image

    Image.effect_noise(brought, 80).save(tmp_path / "mine.png")
    page.goto(str(sizes_client.base_url))
    page.get_by_role("tab", name="Edit").click()

    page.locator("#file").set_input_files(tmp_path / "mine.png")

    said = "" if brought == (8, 12) else f"Cut and scaled to {size}, which the model edits."
    expect(page.locator("#edit-status")).to_have_text(said)
    expect(page.locator("#before")).to_be_visible()
    assert page.locator("#before").evaluate(natural_size) == [int(side) for side in size.split(" × ")]


def test_after_a_rollout_of_another_model_the_page_is_for_that_one(page, serve, model, card, sizes_model, tmp_path):
    client = serve()
    client.generator.serve(sizes_model, model_card(sizes_model, Store(tmp_path)))
    page.goto(str(client.base_url))
    page.get_by_label("Prompt").fill("3")
    page.get_by_label("Size").select_option("12 × 8")
    page.get_by_role("button", name="Make the image").click()
    page.get_by_role("button", name=re.compile("^Edit: 3")).click()
    expect(page.get_by_label("Turn it into").locator("visible=true")).to_have_value("3")

    client.generator.serve(model, card)
    page.get_by_role("button", name="Edit the image").click()

    expect(page.get_by_role("alert").locator("visible=true")).to_contain_text("Another model answers now")
    page.locator("#targets label", has_text="8").click()
    page.get_by_role("button", name="Edit the image").click()
    expect(page.locator("#edit-status")).to_contain_text("“8”, seed")
    assert page.locator("#after").evaluate(natural_size) == [8, 8]
    page.get_by_role("tab", name="Make").click()
    make(page)


def test_a_model_of_one_size_asks_for_none(page, client):
    expect(opened(page, client).get_by_label("Size", exact=True)).to_be_hidden()


def test_a_text_that_is_too_long_is_said_to_be(page, text_client):
    page.goto(str(text_client.base_url))
    page.get_by_label("Prompt").fill("one two three four five six seven")

    page.get_by_role("button", name="Make the image").click()

    expect(page.get_by_role("alert")).to_have_text("a text of 7 tokens is longer than the 6 that the model reads")


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_window(page, client, width):
    page.set_viewport_size({"width": width, "height": 844})
    make(opened(page, client))
    page.get_by_role("button", name=re.compile("^Edit: 3")).click()
    page.get_by_role("button", name="Edit the image").click()
    expect(page.locator("#compare")).to_be_visible()

    for tab in ("Make", "Edit"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.get_by_role("button", name=re.compile("^(Make “|Edit the)")).locator("visible=true").click(trial=True)


def test_the_api_is_described_with_both_kinds_of_request(page, client):
    page.goto(f"{client.base_url}/docs")

    expect(page.get_by_role("heading", name="POST /v1/images/edits")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^source_guidance"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^guidance_interval"))).to_be_visible()


def test_a_refusal_stands_where_the_endpoint_does_not_say_which_model_answers_now(
    page, serve, model, card, sizes_model, tmp_path
):
    client = serve()
    client.generator.serve(sizes_model, model_card(sizes_model, Store(tmp_path)))
    page.goto(str(client.base_url))
    page.get_by_label("Prompt").fill("3")
    page.get_by_label("Size").select_option("12 × 8")
    client.generator.serve(model, card)
    page.route("**/v1/models", lambda route: route.abort())

    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Make the image").click()

    expect(page.get_by_role("alert").locator("visible=true")).to_contain_text("12x8")
