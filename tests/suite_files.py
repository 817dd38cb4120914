"""The recorded prompts and results of GenEval and DPG-Bench in `tests/data`, and a plan that they belong to."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from unlatent.platform.prompt_suites import SUITES
from unlatent.platform.prompt_suites.plan import Plan, hash_of

DATA = Path(__file__).parent / "data"
PROMPTS = {"geneval": DATA / "geneval" / "evaluation_metadata.jsonl", "dpg": DATA / "dpg" / "prompts"}
RESULTS = {
    "geneval": DATA / "geneval" / "results.jsonl",
    "dpg": DATA / "dpg" / "dpg-bench_20261127-031034_results.txt",
}
# The same of these and of the prompt whose question is the first of dpg_bench.csv, at which the scorer has failed.
WITHOUT_ONE = DATA / "dpg" / "dpg-bench_20261127-140120_results.txt"
WITH_THE_ONE = ["circle0", "partiprompts97", "squares1", "star2"]

SCORES = {  # GenEval's as its own summary_scores.py prints them
    "geneval": {
        "geneval": 0.39583,
        "geneval_color_attr": 0.25,
        "geneval_colors": 0.0,
        "geneval_counting": 0.125,
        "geneval_position": 0.0,
        "geneval_single_object": 1.0,
        "geneval_two_object": 1.0,
    },
    "dpg": {
        "dpg": 64.58333333333334,
        "dpg_attribute": 100.0,
        "dpg_attribute_color": 100.0,
        "dpg_attribute_size": 100.0,
        "dpg_entity": 66.66666666666666,
        "dpg_entity_whole": 66.66666666666666,
        "dpg_global": 0.0,
        "dpg_other": 50.0,
        "dpg_other_count": 100.0,
        "dpg_other_text": 0.0,
        "dpg_relation": 0.0,
        "dpg_relation_non_spatial": 0.0,
        "dpg_relation_spatial": 0.0,
    },
}


def plan_of(suite: str, **changes: Any) -> Plan:
    """Of the recorded prompts, by a checkpoint and a sampler that are made up."""
    prompts = SUITES[suite].read_prompts(PROMPTS[suite])
    plan = Plan(
        suite=suite,
        run_id="drawn",
        checkpoint="checkpoints/drawn/000000000256",
        checkpoint_hash="0123456789abcdef",
        weights="ema",
        images_seen=256,
        image_size=16,
        sampler="euler",
        steps=2,
        guidance=2.0,
        guidance_low=0.0,
        guidance_high=1.0,
        shift=1.0,
        precision="fp32",
        network_evaluations=4.0,
        seed=0,
        prompts_hash=hash_of({prompt.name: prompt.metadata for prompt in prompts}),
        names=[prompt.name for prompt in prompts],
    )
    return replace(plan, **changes)
