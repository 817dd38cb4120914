"""The recipes in their stages, one after the other, on pictures and networks that a CPU can do in a minute."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import unlatent
from unlatent.pipelines.definition import load_pipeline
from unlatent.pipelines.runner import run_pipeline
from unlatent.platform import checkpoints, cluster, tables
from unlatent.platform.store import Store

pytestmark = pytest.mark.slow

COLOURS = {"blue": (30, 40, 220), "green": (20, 200, 60), "red": (230, 30, 20)}
SMALL = [
    "data.held_out=0.25",  # the classifier that measures here has to be checked; Inception needs none
    "model=tiny",
    "model.width=16",
    "model.heads=2",
    "model.patch_depth=1",
    "model.pixel_depth=1",
    "train.batch_size=16",
    "train.log_images=32",
    "train.checkpoint_images=64",
    "train.grid_samples=3",
    "train.alignment.teacher=null",
    "sampler.steps=2",
    "evaluation.extractor=classifier",
    "evaluation.samples=80",
    "cluster.workers=1",
    "cluster.gpus_per_worker=0",
    "cluster.cpus=2",
]


@pytest.fixture(scope="module", autouse=True)
def ray_ends():
    yield
    cluster.disconnect()


@pytest.fixture
def pictures(tmp_path):
    """A folder of 120 pictures in three colours, each with noise of its own."""
    generator = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(40):
            pixels = np.clip(np.array(colour) + generator.normal(0, 15, (40, 36, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def captioned(tmp_path):
    """120 pictures in three colours and two proportions, with captions that name the colour."""
    generator, images, names = np.random.default_rng(0), [], []
    for number in range(120):
        name = list(COLOURS)[number % 3]
        height, width = ((40, 36), (30, 60))[number // 3 % 2]
        pixels = np.clip(np.array(COLOURS[name]) + generator.normal(0, 15, (height, width, 3)), 0, 255)
        file = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
        images.append(file.getvalue())
        names.append(name)
    (tmp_path / "captioned").mkdir()
    columns = {"image": images, "label": names, "caption": [f"a {name} picture" for name in names]}
    pq.write_table(pa.table(columns), tmp_path / "captioned" / "all.parquet", row_group_size=32)
    return tmp_path / "captioned"


def test_text_to_image_goes_from_squares_to_other_proportions(tmp_path, captioned):
    store = Store(tmp_path / "store")
    small = [each for each in SMALL if not each.startswith("model=")]
    words = ["model.text.encoder=bytes", "model.text.width=16", "model.text.tokens=4", "model.compaction.width=16"]
    shared = [f"store={store.root}", f"data.root={captioned}", *small, *words, "model.patch_size=4",
              "model.compaction.heads=2", "train.warmup_images=16", "train.recompute=null"]  # fmt: skip

    run_pipeline(load_pipeline("text_to_image512"), [*shared, "data.image_size=16", "train.total_images=128"])
    start = "checkpoints/text_to_image512/000000000128"
    run_pipeline(load_pipeline("text_to_image1024"), [*shared, "data.image_size=32", "train.total_images=64",
                                                      "data.max_aspect_ratio=2", "data.bucket_step=8",
                                                      f"train.start={start}"])  # fmt: skip

    rows = tables.read(store, "runs").set_index("run_id").loc[["text_to_image512", "text_to_image1024"]]
    assert list(rows["status"]) == ["succeeded"] * 2 and list(rows["image_size"]) == [16, 32]
    model = unlatent.load(store.local("checkpoints/text_to_image1024/000000000064"))
    assert (24, 40) in model.trained_sides
    assert model.generate(["a red picture"], [0], size="40x24")[0].size == (40, 24)
    measured = tables.read(store, "evaluations").query("metric == 'fid'").set_index("run_id")["shift"]
    assert measured.to_dict() == {"text_to_image512": 3.0, "text_to_image1024": 4.0}


def test_the_second_recipe_goes_on_with_the_weights_of_the_first(tmp_path, pictures):
    store = Store(tmp_path / "store")
    shared = [f"store={store.root}", f"data.root={pictures}", *SMALL]

    run_pipeline(load_pipeline("imagenet256"), [*shared, "data.image_size=16", "train.total_images=128",
                                                "train.drop_images=64"])  # fmt: skip
    start = "checkpoints/imagenet256/000000000128"
    run_pipeline(load_pipeline("imagenet512"), [*shared, "data.image_size=32", "train.total_images=64",
                                                f"train.start={start}", "evaluation.seed=1"])  # fmt: skip

    rates = tables.read(store, "steps").query("run_id == 'imagenet256'").sort_values("images_seen")["learning_rate"]
    assert list(rates) == [1e-4, 1e-4, 1e-5, 1e-5]
    rows = tables.read(store, "runs").set_index("run_id")
    assert list(rows.loc[["imagenet256", "imagenet512"], "status"]) == ["succeeded"] * 2
    assert list(rows.loc[["imagenet256", "imagenet512"], "image_size"]) == [16, 32]
    measured = tables.read(store, "evaluations").query("metric == 'fid'").set_index("run_id")["shift"]
    assert measured.to_dict() == {"imagenet256": 1.0, "imagenet512": 2.0}
    assert store.exists("artifacts/pipelines/imagenet512/report/report.html")
    assert checkpoints.find(store, start).images_seen == 128
