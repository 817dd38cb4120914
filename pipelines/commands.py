"""The commands that name pipelines, and the config of any command."""

from typing import Annotated

import typer

from unlatent.platform import display
from unlatent.platform.commands import Overrides, app

Name = Annotated[str, typer.Argument(help="A pipeline in pipelines/, or a .yaml file")]


@app.command(epilog="unlatent run quickstart store=/data/store cluster.address=auto")
def run(pipeline: Name, overrides: Overrides = None) -> None:
    """Run a pipeline: what has been done is skipped, and what was cut off goes on."""
    from unlatent.pipelines.definition import load_pipeline
    from unlatent.pipelines.runner import run_pipeline

    run_pipeline(load_pipeline(pipeline), overrides or [])


@app.command(epilog="unlatent plan quickstart")
def plan(pipeline: Name, overrides: Overrides = None) -> None:
    """Print a pipeline's steps, what would be skipped and why, and what each needs. Runs nothing."""
    from unlatent.pipelines.definition import load_pipeline
    from unlatent.pipelines.planning import plan_pipeline

    definition = load_pipeline(pipeline)
    display.say(f"{definition.name}: {definition.about}")
    display.show_table(plan_pipeline(definition, overrides or []))


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
