"""The endpoint for a Ray Serve that is run from a config file, by `serve deploy` or as KubeRay's RayService.

import_path: unlatent.platform.serving.service:build_app
"""

import os
from dataclasses import replace

from pydantic import BaseModel, Field
from ray import serve

from unlatent.models.editing import EditConfig
from unlatent.platform.places import Places
from unlatent.platform.rollout import hand_over
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.serving.deployment import application
from unlatent.platform.store import Store

TOKEN = "UNLATENT_TOKEN"  # the environment variable that holds it


class ServiceArgs(BaseModel, extra="forbid"):
    """`args` of the application."""

    store: str
    serve: ServeConfig = Field(default_factory=ServeConfig)  # host and port are the config file's http_options
    edit: EditConfig = Field(default_factory=EditConfig)
    places: Places = Field(default_factory=Places)  # of encoder and autoencoder on the nodes
    open_to_all: bool = False  # answers without a token


class OwnArgs(BaseModel, extra="forbid"):
    """The same where our own command deploys it, which has chosen the checkpoint and keeps the token."""

    store: str
    serve: ServeConfig
    edit: EditConfig
    places: Places
    checkpoint: str
    token_digest: str | None


def build_app(args: ServiceArgs) -> serve.Application:
    """The endpoint on the checkpoint that the arguments name, or the best.

    Raises ValueError for one without a token, unless it is to be open, and where no checkpoint can be served.
    """
    token = os.environ.get(TOKEN) or None
    if args.serve.token:
        raise ValueError(f"args.serve.token: a config file is no place for a secret; set {TOKEN} in the environment")
    if not token and not args.open_to_all:
        raise ValueError(f"{TOKEN} is not set: anyone could use the endpoint; set it, or args.open_to_all=true")
    config = replace(args.serve, token=None if args.open_to_all else token)
    return hand_over(Store(args.store), config, args.edit, args.places)


def build(args: OwnArgs) -> serve.Application:
    return application(Store(args.store), args.serve, args.edit, args.places, args.token_digest, args.checkpoint)
