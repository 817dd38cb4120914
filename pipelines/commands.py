"""The commands that name pipelines, and those about the program itself: the config of any command, its wheel."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from unlatent.platform import display, edit_commands, endpoint_commands, image_commands, table_commands, vae_commands
from unlatent.platform.benchmark_commands import benchmark
from unlatent.platform.commands import Overrides, app
from unlatent.platform.data_commands import data

GROUPS = (
    image_commands.commands,
    edit_commands.commands,
    endpoint_commands.commands,
    table_commands.commands,
    vae_commands.commands,
)
for group in GROUPS:
    app.add_typer(group)
app.add_typer(data, name="data")
app.add_typer(benchmark, name="benchmark")

Name = Annotated[str, typer.Argument(help="A pipeline in pipelines/, or a .yaml file")]


@app.command(epilog="unlatent run quickstart store=/data/store cluster.address=auto --force report")
def run(
    pipeline: Name,
    overrides: Overrides = None,
    force: Annotated[
        list[str] | None, typer.Option(help="Run this step even if it is done; may be given several times")
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(help="Steps at most at the same time; as the pipeline says, or one for each CPU, unless given"),
    ] = None,
) -> None:
    """Run a pipeline: what has been done is skipped, and what was cut off goes on."""
    from unlatent.pipelines.definition import load_pipeline
    from unlatent.pipelines.runner import run_pipeline

    run_pipeline(load_pipeline(pipeline), overrides or [], force or [], at_once)


@app.command(epilog="unlatent plan imagenet256 cluster.workers=8 --measure")
def plan(
    pipeline: Name,
    overrides: Overrides = None,
    force: Annotated[list[str] | None, typer.Option(help="As of `unlatent run`")] = None,
    measure: Annotated[
        bool, typer.Option(help="First time some steps of each network that is to be trained, where it would be")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON, a step a line")] = False,
) -> None:
    """Print a pipeline's steps, what would be skipped and why, what each needs, and how long. Runs none of them."""
    from unlatent.pipelines.definition import load_pipeline
    from unlatent.pipelines.estimates import estimates, measure_rates
    from unlatent.pipelines.execution import Execution
    from unlatent.pipelines.planning import as_json, as_table, plan_pipeline
    from unlatent.platform.rates import known_rates

    execution = Execution(load_pipeline(pipeline), tuple(overrides or []), tuple(force or []))
    if measure:
        measure_rates(execution)
    planned = plan_pipeline(execution)
    if json:
        rates = known_rates(execution.store)
        sys.stdout.writelines(f"{as_json(each, rates)}\n" for each in planned)
        return
    display.say(f"{execution.pipeline.name}: {execution.pipeline.about}")
    display.show_table(as_table(planned))
    for line in estimates(execution, {each.step: each.works for each in planned}):
        display.say(line)


@app.command(epilog="unlatent config train model=b data=imagefolder data.root=pictures")
def config(
    command: Annotated[str, typer.Argument(help="train, sweep, run, or another one")],
    arguments: Annotated[list[str] | None, typer.Argument(help="What that command would be given")] = None,
) -> None:
    """Print the resolved config of a command that takes overrides, as YAML. Runs nothing."""
    from unlatent.pipelines.resolved import resolved_config

    commands = [command for group in (app, *GROUPS) for command in group.registered_commands]
    known = [each.name or each.callback.__name__.replace("_", "-") for each in commands if each.callback]
    if command not in known:
        raise ValueError(f"{command!r} is not one of the commands {', '.join(known)}")
    typer.echo(resolved_config(command, arguments or []), nl=False)


@app.command(epilog="unlatent wheel --out dist")
def wheel(out: Annotated[Path, typer.Option(help="Folder for the file")] = Path("dist")) -> None:
    """Write the package as it runs here as a wheel, for `ray job submit`, and print its path."""
    from unlatent.platform.shipping import write_wheel

    typer.echo(write_wheel(out))
