"""The endpoint as an application of Ray Serve: started, given another checkpoint, ended.

It is deployed by Serve's config, as `serve deploy` does: with that alone the checkpoint can change while replicas run.
"""

import contextlib
import io
import logging
import socket
import time
import urllib.request
from dataclasses import asdict, replace
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayActorError
from ray.serve._private.client import ServeControllerClient
from ray.serve._private.common import ReplicaState
from ray.serve.config import HTTPOptions
from ray.serve.context import _get_global_client
from ray.serve.exceptions import DeploymentUnavailableError, RayServeException
from ray.serve.schema import LoggingConfig, ServeDeploySchema

from unlatent.models.editing import EditConfig
from unlatent.platform.placement import Need, require
from unlatent.platform.places import AS_TRAINED, Places
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.serving.endpoint import Endpoint, State
from unlatent.platform.store import Store

NAME = "unlatent"  # of the application
DEPLOYMENT = "Endpoint"
QUIET = LoggingConfig(log_level="ERROR", enable_access_log=False)
SHORT_REQUESTS = 64  # for the page, /health and refusals, beside the images that are made or waited for
LONGEST_ABSENCE_S = 60  # of all replicas, where one that has died is being replaced

AppConfig = dict[str, Any]  # as in a config file for `serve deploy`


def application(
    store: Store, config: ServeConfig, edit: EditConfig, places: Places, token_digest: str | None, checkpoint: str
) -> serve.Application:
    """What Ray Serve is to run, on that checkpoint unless its own config names another."""
    rows = config.max_rows + config.max_queued_rows
    deployment = serve.deployment(
        serve.ingress()(Endpoint),
        name=DEPLOYMENT,
        user_config={"checkpoint": checkpoint},
        ray_actor_options={"num_cpus": config.cpus, "num_gpus": config.gpus},
        max_ongoing_requests=rows + SHORT_REQUESTS,
        max_queued_requests=rows,
        backpressure_config={"status_code": 429, "retry_after_s": 1},
        graceful_shutdown_timeout_s=config.deadline_s,
        **replicas(config),
    )
    return deployment.bind(store, config, edit, places, token_digest)


def replicas(config: ServeConfig) -> dict[str, Any]:
    if config.max_replicas is None:
        return {"num_replicas": config.replicas}
    bounds = {"min_replicas": config.replicas, "max_replicas": config.max_replicas}
    return {"autoscaling_config": {**bounds, "target_ongoing_requests": config.max_rows}}


def start(
    config: ServeConfig,
    store: Store,
    checkpoint: str,
    edit: EditConfig | None = None,
    places: Places = AS_TRAINED,
) -> str:
    """Serves a checkpoint, and returns the endpoint's address once it is ready.

    Ray must be running. Raises ValueError for a port that is taken, replicas that no machine has
    room for, and a checkpoint that cannot be loaded.
    """
    require_free_port(config.host, config.port)
    require("the endpoint", config.replicas, Need(config.cpus, config.gpus))
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start("HeadOnly", HTTPOptions(host=config.host, port=config.port), logging_config=QUIET)
    args = {
        "store": store.root,
        "serve": asdict(replace(config, host="127.0.0.1", token=None)),  # what listens is not the replicas'
        "edit": asdict(edit or EditConfig()),
        "places": asdict(places),
        "checkpoint": checkpoint,
        "token_digest": config.token_digest,
    }
    try:
        deploy({**own_code(), "name": NAME, "import_path": "unlatent.platform.serving.service:build", "args": args})
        wait_until_it_runs(config.start_s)
        require_all_answer(checkpoint, config.start_s)
        wait_until_ready(url_of(config))
    except BaseException:
        stop()
        raise
    return url_of(config)


def own_code() -> AppConfig:
    """What brings this package to a cluster's nodes, where this process has sent it there."""
    modules = ray.get_runtime_context().runtime_env.get("py_modules")
    return {"runtime_env": {"py_modules": modules}} if modules else {}


def switch(checkpoint: str, timeout_s: float | None = None) -> None:
    """Rolls a checkpoint out to all replicas of the endpoint that runs; no request is lost meanwhile.

    They have `timeout_s` for it; None: as long as the endpoint's own config gives them. Raises ValueError where no
    endpoint runs, and where the checkpoint can't be served: then the one before goes on.
    """
    config = running()
    timeout_s = start_s_of(config) if timeout_s is None else timeout_s
    before = answering(start_s_of(config))
    try:
        deploy(with_checkpoint(config, checkpoint))
        require_all_answer(checkpoint, timeout_s)
    except BaseException:  # Ctrl-C too
        if checkpoint in named(running()):  # and not what somebody else has rolled out meanwhile
            deploy(with_checkpoint(config, before))
        raise


def answering(loaded_within_s: float) -> str:
    """The checkpoint that the replicas answer with, once they have loaded what they are loading."""
    deadline = time.monotonic() + LONGEST_ABSENCE_S
    while not (found := states(loaded_within_s)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no replica of the endpoint answers after {LONGEST_ABSENCE_S} s")
        time.sleep(0.1)
    return found[0].checkpoint or found[0].wanted


def require_all_answer(checkpoint: str, timeout_s: float) -> None:
    """Waits until every replica has loaded a checkpoint.

    Raises ValueError for what one of them cannot serve, TimeoutError where it takes longer.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = states(timeout_s)
        if len(found) == replicas_to_hear() and all(state.wanted == checkpoint for state in found):
            if problem := next((state.problem for state in found if state.problem), None):
                raise ValueError(problem)
            if all(state.checkpoint == checkpoint for state in found):
                return
        time.sleep(0.1)  # Serve has not told them yet
    raise TimeoutError(
        f"{checkpoint} does not answer from all replicas after {timeout_s:g} s; a larger serve.start_s gives it longer"
    )


def states(timeout_s: float) -> list[State]:
    """Of every replica that is in service, once each has loaded what it was told to, or could not."""
    try:
        found: list[State] = serve.get_app_handle(NAME).broadcast("settled").results(timeout_s=timeout_s)
    except (DeploymentUnavailableError, RayActorError):  # none is in service just now, or one died on asking
        return []
    return found


def replicas_to_hear() -> int:
    """How many replicas are in service, or are being told of another checkpoint; 1 or more."""
    by_state = serve.status().applications[NAME].deployments[DEPLOYMENT].replica_states
    return max(1, by_state.get(ReplicaState.RUNNING, 0) + by_state.get(ReplicaState.UPDATING, 0))


def deploy(application: AppConfig) -> None:
    """Gives Ray Serve an application's config, in the place of one of its name; others stay as they are."""
    others = [config for config in configs() if config["name"] != application["name"]]
    controller().deploy_apps(ServeDeploySchema.model_validate({"applications": [*others, application]}))


def controller() -> ServeControllerClient:
    """Of the Ray Serve that runs: what its REST API calls, for which a dashboard would have to run as well.

    Raises ValueError where none does.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        return _get_global_client(raise_if_no_controller_running=True)
    except RayServeException:
        raise ValueError("no endpoint runs on this cluster; `unlatent serve` starts one") from None


def configs() -> list[AppConfig]:
    """What is deployed by config."""
    details = controller().get_serve_details()["applications"].values()
    return [each["deployed_app_config"] for each in details if each["deployed_app_config"]]


def cluster_address() -> str:
    """Of the Ray that this process is in, host:port."""
    return ray.get_runtime_context().gcs_address


def running() -> AppConfig:
    """The config of the endpoint that runs. Raises ValueError where none does."""
    for config in configs():
        if config["name"] == NAME:
            return config
    raise ValueError("no endpoint runs on this cluster; `unlatent serve` starts one")


def start_s_of(config: AppConfig) -> float:
    """How long the replicas of an endpoint with that config have to load a checkpoint."""
    return float(config.get("args", {}).get("serve", {}).get("start_s", ServeConfig().start_s))


def named(config: AppConfig) -> list[str]:
    """The checkpoint that an endpoint's config names, if it does: at first the code has chosen."""
    deployments = config.get("deployments") or []
    return [each["user_config"]["checkpoint"] for each in deployments if each.get("user_config")]


def with_checkpoint(config: AppConfig, checkpoint: str) -> AppConfig:
    """The same but for the checkpoint, which alone restarts nothing."""
    deployments = config.get("deployments") or []
    own = next((each for each in deployments if each["name"] == DEPLOYMENT), {"name": DEPLOYMENT})
    others = [each for each in deployments if each["name"] != DEPLOYMENT]
    return config | {"deployments": [*others, own | {"user_config": {"checkpoint": checkpoint}}]}


def wait_until_it_runs(timeout_s: float) -> None:
    """Until Ray Serve has replicas of it, which may still be loading. Raises ValueError where it cannot have any."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        overview = serve.status().applications.get(NAME)
        if overview and overview.status == "RUNNING":
            return
        if overview and overview.status == "DEPLOY_FAILED":
            raise ValueError(f"the endpoint does not start: {overview.message.strip().splitlines()[-1]}")
        time.sleep(0.1)
    raise TimeoutError(f"the endpoint does not run after {timeout_s:g} s")


def stop() -> None:
    """Ends the endpoint, and Ray Serve with it."""
    with contextlib.redirect_stdout(io.StringIO()):  # of Ray, which reports the end of Serve's controller as a failure
        serve.shutdown()


def require_free_port(host: str, port: int) -> None:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise ValueError(f"serve.port={port} on {host}: {error.strerror}; another serve.port would do") from None


def url_of(config: ServeConfig) -> str:
    """Where a client on this machine finds the endpoint."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    return f"http://[{here}]:{config.port}" if ":" in here else f"http://{here}:{config.port}"


def wait_until_ready(url: str, timeout_s: float = 30) -> None:
    """The replica is ready before Serve's own HTTP server has heard of it."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            urllib.request.urlopen(f"{url}/ready", timeout=5).close()
            return
        except OSError:  # nothing listens yet, or it answers 404 or 503
            if time.monotonic() > deadline:
                raise TimeoutError(f"{url} is not ready after {timeout_s:g} s") from None
            time.sleep(0.1)
