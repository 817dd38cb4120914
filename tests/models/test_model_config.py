import pytest
from omegaconf import OmegaConf

from unlatent.models import CompactionConfig, PixelTransformerConfig


def test_the_defaults_are_the_papers_xl():
    config = PixelTransformerConfig()

    assert (config.grid, config.window, config.attention_width, config.attention_heads) == (16, 16, 1152, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 3}, "patch_size=3 does not divide image_size=16; 1, 2, 4, 8 or 16 would"),
        ({"image_size": 0}, "image_size=0 is below 1; 1 or more would do"),
        ({"pixel_depth": -1}, "pixel_depth=-1 is below 0; 0 or more would do"),
        ({"norm": "batch"}, "norm='batch' is not known; rms or layer would do"),
        ({"adaln": "row"}, "adaln='row' is not known; pixel, patch or global would do"),
        (
            {"heads": 3},
            "heads=3 does not split width=64 into equal heads of a multiple of 4 values, as position=rope needs; "
            "1, 2, 4, 8 or 16 would",
        ),
        (
            {"heads": 3, "position": "sincos"},
            "heads=3 does not split width=64 into equal heads; 1, 2, 4, 8, 16, 32 or 64 would",
        ),
        ({"width": 66}, "width=66 is not a multiple of 4, which position=rope needs; 64 or 68 would do"),
        (
            {"width": 66, "heads": 3, "position": "sincos"},
            "width=66 is not a multiple of 4, which position=sincos needs; 64 or 68 would do",
        ),
        (
            {"pixel_width": 6},
            "pixel_width=6 is not a multiple of 4, which the positions of pixels need; 4 or 8 would do",
        ),
        ({"pixel_width": 2}, "pixel_width=2 is not a multiple of 4, which the positions of pixels need; 4 would do"),
        ({"compaction": {"window": 3}}, "compaction.window=3 does not divide patch_size=4; 1, 2 or 4 would"),
        ({"compaction": {"window": 0}}, "compaction.window=0 is below 1; 1 or more would do"),
        (
            {"compaction": {"heads": 5}},
            "compaction.heads=5 does not split compaction.width=64 into equal heads of a multiple of 4 values, "
            "as position=rope needs; 1, 2, 4, 8 or 16 would",
        ),
        (
            {"compaction": {"attention": False, "window": 2}},
            "compaction.window=2 has no effect with compaction.attention=False; null would do, or attention=True",
        ),
        (
            {"pixel_depth": 0, "compaction": {"window": 2}},
            "compaction.window=2 has no effect with pixel_depth=0; null would do, or a pixel_depth of 1 or more",
        ),
        (
            {"pixel_depth": 0, "compaction": {"attention": False}},
            "compaction.attention=False has no effect with pixel_depth=0; True would do, or a pixel_depth of 1 or more",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(make_config, changes, message):
    with pytest.raises(ValueError) as refusal:
        make_config(**changes)

    assert str(refusal.value) == message


@pytest.mark.parametrize("changes", [{"compaction": {"attention": False}}, {"pixel_depth": 0}])
def test_a_window_as_large_as_the_patch_says_nothing_and_passes(make_config, changes):
    changes["compaction"] = {**changes.get("compaction", {}), "window": 4}

    assert make_config(**changes).window == 4


def test_a_narrower_attention_may_have_heads_of_its_own(make_config):
    config = make_config({"width": 48, "heads": 3})

    assert (config.attention_width, config.attention_heads) == (48, 3)


def test_the_configuration_can_be_composed():
    schema = OmegaConf.structured(PixelTransformerConfig)
    changed = OmegaConf.merge(schema, {"patch_size": 32, "compaction": {"window": 8}})

    config = OmegaConf.to_object(changed)

    assert config == PixelTransformerConfig(patch_size=32, compaction=CompactionConfig(window=8))
