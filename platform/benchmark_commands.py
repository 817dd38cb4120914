"""`unlatent benchmark`: images of the prompts of GenEval and DPG-Bench, and what their scorers say of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from unlatent.platform import display
from unlatent.platform.commands import Overrides

benchmark = typer.Typer(
    no_args_is_help=True, help="Draw images of the prompts of GenEval or DPG-Bench; keep the scores they are given."
)

Run = Annotated[str, typer.Argument(help="A run's id, for its last checkpoint, or a checkpoint's path in the store")]
Out = Annotated[str, typer.Option(help="Folder for the images, as the suite's scorer reads them; new or empty")]
Seed = Annotated[int, typer.Option(min=0, max=(1 << 32) - 1, help="Of the noise; each image has its own by it")]

Avoided = Annotated[str | None, typer.Option(help="What guidance is to lead away from, for every prompt")]


@benchmark.command(
    epilog="unlatent benchmark geneval train-1a2b3c4d5e --prompts geneval/prompts/evaluation_metadata.jsonl "
    "--out geneval-images sampler.guidance=3"
)
def geneval(
    run: Run,
    prompts: Annotated[Path, typer.Option(help="GenEval's evaluation_metadata.jsonl, from its repository")],
    out: Out,
    overrides: Overrides = None,
    seed: Seed = 0,
    negative_prompt: Avoided = None,
) -> None:
    """Draw GenEval's images, four of each prompt; the same command goes on where it was cut off.

    The sampler is that of the checkpoint's own config unless overrides set any of it.
    """
    asked = Asked("geneval", run, prompts, out, seed, negative_prompt)
    folder, _ = draw_suite(asked, overrides)
    judge = f"python evaluation/evaluate_images.py {folder} --outfile {folder}/results.jsonl --model-path DETECTOR"
    display.say(f"next, in GenEval's environment: {judge}")
    display.say(f"then: unlatent benchmark scores {out} {out}/results.jsonl")


@benchmark.command(
    epilog="unlatent benchmark dpg train-1a2b3c4d5e --prompts ELLA/dpg_bench/prompts --out dpg-images serve.max_rows=64"
)
def dpg(
    run: Run,
    prompts: Annotated[Path, typer.Option(help="The folder dpg_bench/prompts, from the repository of ELLA")],
    out: Out,
    overrides: Overrides = None,
    seed: Seed = 0,
    negative_prompt: Avoided = None,
) -> None:
    """Draw DPG-Bench's images, four of each prompt in a file; the same command goes on where it was cut off.

    The sampler is that of the checkpoint's own config unless overrides set any of it.
    """
    asked = Asked("dpg", run, prompts, out, seed, negative_prompt)
    folder, image_size = draw_suite(asked, overrides)
    judge = f"PYTHONHASHSEED=0 bash dpg_bench/dist_eval.sh {folder} {image_size}"
    display.say(f"next, in DPG-Bench's environment: {judge}")
    display.say(f"then: unlatent benchmark scores {out} {out}/dpg-bench_DATE_results.txt")


@dataclass(frozen=True)
class Asked:
    """What a command says of a suite's images."""

    suite: str
    run: str
    prompts: Path
    out: str
    seed: int
    negative_prompt: str | None


def draw_suite(asked: Asked, overrides: Overrides) -> tuple[str, int]:
    """Writes the images. Returns where they are, and how many pixels they have on a side."""
    from unlatent.platform import prompt_suites
    from unlatent.platform.config import compose_config
    from unlatent.platform.image_commands import chosen_model, sampler_for
    from unlatent.platform.store import Store

    config = compose_config(overrides or [])
    prompts = prompt_suites.SUITES[asked.suite].read_prompts(asked.prompts)
    model = chosen_model(config, asked.run, overrides)
    folder = Store(asked.out)
    drawing = prompt_suites.Drawing(
        suite=asked.suite,
        prompts=prompts,
        model=model,
        sampler=sampler_for(model, config, overrides),
        seed=asked.seed,
        negative_prompt=asked.negative_prompt,
    )
    with display.counting("prompts") as on_prompts:
        prompt_suites.draw(drawing, folder, config.serve.max_rows, on_prompts)
    display.say(f"{len(prompts):,} prompts, {drawing.plan.samples:,} images of {model.checkpoint} in {asked.out}/")
    return folder.root, drawing.plan.image_size


@benchmark.command(epilog="unlatent benchmark scores geneval-images results.jsonl")
def scores(
    folder: Annotated[
        str, typer.Argument(help="The images' folder, as `benchmark geneval` or `benchmark dpg` left it")
    ],
    results: Annotated[
        Path, typer.Argument(help="What the scorer wrote: GenEval's results.jsonl, or DPG-Bench's …_results.txt")
    ],
    overrides: Overrides = None,
    judge: Annotated[
        str | None,
        typer.Option(help="What judged, if not what the suite comes with: its scores are not ranked with others'"),
    ] = None,
) -> None:
    """Keep the scores of a suite's own scorer, of the whole and by category, as rows of `evaluations`."""
    from unlatent.platform import prompt_suites
    from unlatent.platform.config import compose_config
    from unlatent.platform.store import Store

    rows, unjudged = prompt_suites.record(Store(compose_config(overrides or []).store), Store(folder), results, judge)
    display.say(f"{rows[0]['checkpoint']}: {rows[0]['samples']:,} images, judged by {rows[0]['feature_extractor']}")
    if unjudged:
        display.say(f"not among them: those of {', '.join(unjudged)}, at which the scorer fails (docs/benchmarks.md)")
    display.show_table([{"metric": row["metric"], "value": f"{row['value']:.4f}"} for row in rows])
    display.say(f"next: unlatent results evaluations --best {rows[0]['metric']}")
