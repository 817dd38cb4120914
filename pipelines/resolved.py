"""The resolved config of any command, for reading."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import yaml

from unlatent.pipelines.definition import load_pipeline
from unlatent.pipelines.execution import Execution
from unlatent.platform.config import compose_config
from unlatent.platform.tuning.plan import plan_sweep


def resolved_config(command: str, arguments: Sequence[str]) -> str:
    """YAML. For a sweep: its definition, its trials and what was left out. For a pipeline: the config of each step."""
    if command in {"run", "plan", "sweep"} and not arguments:
        raise ValueError(f"`unlatent config {command}` needs a definition's name, as `unlatent {command}` does")
    if command in {"run", "plan"}:
        execution = Execution(load_pipeline(arguments[0]), tuple(arguments[1:]))
        content: dict[str, Any] = {step: asdict(config) for step, config in execution.configs.items()}
    elif command == "sweep":
        sweep = plan_sweep(arguments[0], arguments[1:])
        content = {
            "config": asdict(sweep.config),
            "sweep": asdict(sweep.definition),
            "trials": {trial.run_id: trial.knobs for trial in sweep.trials},
            "left_out": sweep.pruned,
        }
    else:
        content = asdict(compose_config([text for text in arguments if "=" in text]))
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
