"""What can be known of a running cluster before Ray joins it: whether it answers, takes our token, and is of our kind.

Ray would try for minutes where nothing answers, and writes a line a second where a token is not taken.
"""

import json
import logging
from platform import python_version
from typing import Any

TOKEN = "RAY_AUTH_MODE=token with RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token)"


def find_cluster(address: str) -> str:
    """The host:port of a cluster that this process can join.

    Raises ValueError, in one line, for one that does not answer, wants another token, runs another Ray or Python, or
    has no node on this machine.
    """
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    from ray._private.services import canonicalize_bootstrap_address_or_die, find_node_ids

    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # it tells that a token is in use
    if address == "auto" or is_here(address):  # a token is shown unasked to a cluster of this machine alone
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        found = canonicalize_bootstrap_address_or_die(address)
    except ConnectionError:
        raise ValueError(f"cluster.address={address}: no Ray runs on this machine; give host:port") from None
    except (OSError, ValueError):
        raise ValueError(f"cluster.address={address} is no host:port that is known here") from None
    require_same_kind(address, ask_head(address, found))
    if not find_node_ids():
        raise ValueError(
            f"cluster.address={address}: this machine is no node of that cluster; `ray start --address={found} "
            "--num-cpus=0` makes it one, or `ray job submit` runs the command on it"
        )
    return found


def is_here(address: str) -> bool:
    """Whether a cluster's head is on this machine."""
    from ray.util import get_node_ip_address

    return address.rpartition(":")[0] in ("127.0.0.1", "localhost", get_node_ip_address())


def ask_head(address: str, found: str, timeout_s: float = 10) -> dict[str, Any]:
    """What a cluster's head says of itself.

    Raises ValueError where nothing answers or the token is not taken.
    """
    import grpc
    from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY
    from ray._private.grpc_utils import init_grpc_channel
    from ray._private.ray_constants import KV_NAMESPACE_CLUSTER
    from ray.core.generated.gcs_service_pb2 import InternalKVGetRequest
    from ray.core.generated.gcs_service_pb2_grpc import InternalKVGcsServiceStub
    from ray.exceptions import AuthenticationError

    question = InternalKVGetRequest(key=CLUSTER_METADATA_KEY, namespace=KV_NAMESPACE_CLUSTER)
    try:
        with init_grpc_channel(found) as channel:
            answer = InternalKVGcsServiceStub(channel).InternalKVGet(question, timeout=timeout_s)
    except AuthenticationError:
        raise ValueError(
            f"cluster.address={address}: RAY_AUTH_MODE=token is set and no token is; set {TOKEN}"
        ) from None
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise ValueError(f"cluster.address={address} wants a token, and not the one given; set {TOKEN}") from None
        raise ValueError(
            f"cluster.address={address}: no Ray answers there; give the host and port of its head (`ray start` says "
            "them, 6379 unless told), and see that a firewall lets this machine through"
        ) from None
    if not answer.value:
        raise ValueError(f"cluster.address={address}: its head is still starting; try again in some seconds")
    about: dict[str, Any] = json.loads(answer.value)
    return about


def require_same_kind(address: str, head: dict[str, Any]) -> None:
    """Raises ValueError for another Ray, or another minor version of Python: Ray can't join it."""
    import ray

    theirs = head["ray_version"], minor(head["python_version"])
    ours = ray.__version__, minor(python_version())
    if theirs != ours:
        raise ValueError(
            f"cluster.address={address} runs Ray {theirs[0]} on Python {theirs[1]}, this command Ray {ours[0]} on "
            f"Python {ours[1]}; run it from an environment with the cluster's, or the cluster from an image with these"
        )


def minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
