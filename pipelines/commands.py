"""The commands that name pipelines, and those about the program itself: the config of any command, its wheel."""

from pathlib import Path
from typing import Annotated

import typer

from unlatent.platform import display
from unlatent.platform.commands import Overrides, app
from unlatent.platform.data_commands import data

app.add_typer(data, name="data")

Name = Annotated[str, typer.Argument(help="A pipeline in pipelines/, or a .yaml file")]


@app.command(epilog="unlatent run quickstart store=/data/store cluster.address=auto")
def run(pipeline: Name, overrides: Overrides = None) -> None:
    """Run a pipeline: what has been done is skipped, and what was cut off goes on."""
    from unlatent.pipelines.definition import load_pipeline
    from unlatent.pipelines.runner import run_pipeline

    run_pipeline(load_pipeline(pipeline), overrides or [])


@app.command(epilog="unlatent plan imagenet256 cluster.workers=8 --measure")
def plan(
    pipeline: Name,
    overrides: Overrides = None,
    measure: Annotated[
        bool, typer.Option(help="First time some steps of each network that is to be trained, where it would be")
    ] = False,
) -> None:
    """Print a pipeline's steps, what would be skipped and why, what each needs, and how long. Runs none of them."""
    from unlatent.pipelines.definition import load_pipeline
    from unlatent.pipelines.estimates import estimates, measure_rates
    from unlatent.pipelines.planning import plan_pipeline
    from unlatent.pipelines.runner import Execution

    execution = Execution(load_pipeline(pipeline), tuple(overrides or []))
    display.say(f"{execution.pipeline.name}: {execution.pipeline.about}")
    if measure:
        measure_rates(execution)
    display.show_table(plan_pipeline(execution))
    for line in estimates(execution):
        display.say(line)


@app.command(epilog="unlatent config train model=b data=imagefolder data.root=pictures")
def config(
    command: Annotated[str, typer.Argument(help="train, sweep, run, or any other command")],
    arguments: Annotated[list[str] | None, typer.Argument(help="What that command would be given")] = None,
) -> None:
    """Print the resolved config of any command, as YAML. Runs nothing."""
    from unlatent.pipelines.resolved import resolved_config

    known = [each.callback.__name__ for each in app.registered_commands if each.callback]
    if command not in known:
        raise ValueError(f"{command!r} is not one of the commands {', '.join(known)}")
    typer.echo(resolved_config(command, arguments or []), nl=False)


@app.command(epilog="unlatent wheel --out dist")
def wheel(out: Annotated[Path, typer.Option(help="Folder for the file")] = Path("dist")) -> None:
    """Write the package as it runs here as a wheel, for `ray job submit`, and print its path."""
    from unlatent.platform.shipping import write_wheel

    typer.echo(write_wheel(out))
