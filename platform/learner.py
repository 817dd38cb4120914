"""What a training step changes, and the step."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unlatent.models import flow
from unlatent.models.alignment import AlignedNetwork, Projector, Teacher, alignment_loss
from unlatent.models.clipping import clipped_step, gradient_norm
from unlatent.models.condition import Condition, replaced, rows_of, to_device
from unlatent.models.config import PixelTransformerConfig
from unlatent.models.network import PixelTransformer
from unlatent.models.precision import autocast
from unlatent.models.sharding import shard, shard_whole
from unlatent.platform import checkpoints
from unlatent.platform.averages import Averages
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.data_order import mix
from unlatent.platform.filling import fill, numbers_for, put_moments, put_part
from unlatent.platform.optimization import TrainConfig, clip_norm, make_optimizer
from unlatent.platform.spaces import Space, open_space
from unlatent.platform.spikes import NormGauge
from unlatent.platform.store import Store
from unlatent.platform.teachers import open_teacher

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

COUNTS = ("images_seen", "step", "skipped")


@dataclass
class Learner:
    """What a step changes and a checkpoint keeps, and what it learns from."""

    network: PixelTransformer
    model: nn.Module  # the network as a step calls it: with its projector, wrapped for data-parallel gradients
    averages: Averages
    optimizer: torch.optim.AdamW
    teacher: Teacher | None
    projector: Projector | None
    gauge: NormGauge
    nothing: Condition  # of no class, or no text: of one image
    space: Space
    images_seen: int = 0
    step: int = 0  # of the optimizer, those not taken among them
    skipped: int = 0  # of those, steps that were not taken

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.model.parameters()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside weights."""
        state = {name: getattr(self, name) for name in COUNTS}
        state |= {"optimizer": self.optimizer.state_dict(), "gauge": self.gauge.state()}
        return state | ({"projector": self.projector.state_dict()} if self.projector is not None else {})

    def load(self, store: Store, checkpoint: Checkpoint) -> None:
        """Goes on where a checkpoint was made."""
        fill(store, checkpoint, "raw", self.network)
        self.averages.load(store, checkpoint)
        moments: dict[int, dict[str, Tensor]] = {}
        for number in numbers_for(checkpoint, self.parameters()):
            state = checkpoints.load_state(store, checkpoint, number)
            put_moments(moments, self.optimizer, state["optimizer"]["state"], number, checkpoint.parts)
            if self.projector is not None:
                put_part(self.projector.state_dict(), state["projector"], number, checkpoint.parts)
            self.gauge.load(state["gauge"])
            for name in COUNTS:
                setattr(self, name, state[name])
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})


@dataclass(frozen=True)
class Losses:
    """Of one step on one worker, left on the device."""

    flow: Tensor
    grad_norm: Tensor  # before clipping
    refused: Tensor  # 1 where the step was not taken, for its gradient
    alignment: Tensor | None = None  # 1 - cosine, before its weight


def make_learner(
    shape: PixelTransformerConfig,
    config: TrainConfig,
    device: torch.device,
    mesh: "DeviceMesh | None" = None,
    nothing: Condition | None = None,
) -> Learner:
    """A new one: the same for the same seed. With a mesh, one that its processes hold together.

    `nothing` is how an encoder reads no text; other networks know by themselves.
    """
    torch.manual_seed(mix(config.seed, 0, 0))  # equal weights on every worker
    network = PixelTransformer(shape)
    on_gpu = device.type == "cuda"
    network.set_recompute(config.recompute or ("modulation" if on_gpu else "none"))
    averages = Averages(config, network)
    for each in (network, *averages.networks.values()):
        place(each, device, mesh)
    if config.compile or (config.compile is None and on_gpu):
        network.compile() if mesh is None else network.compile_blocks()
    gauge = NormGauge(config.spikes.factor, device)
    nothing = to_device(network.unconditional(1) if nothing is None else nothing, device)
    space = open_space(shape, device)
    if not config.alignment.active:
        optimizer = make_optimizer(config, network.parameters())
        return Learner(network, network, averages, optimizer, None, None, gauge, nothing, space)
    teacher = open_aligned_teacher(config, device)
    projector = Projector(shape.width, config.alignment.hidden_width or shape.width, teacher.width)
    place(projector, device, mesh)
    parameters = chain(network.parameters(), projector.parameters())
    model = AlignedNetwork(network, projector, config.alignment.block)
    optimizer = make_optimizer(config, parameters)
    return Learner(network, model, averages, optimizer, teacher, projector, gauge, nothing, space)


def place(module: PixelTransformer | Projector, device: torch.device, mesh: "DeviceMesh | None") -> None:
    """On a device, or on those of a mesh together."""
    if mesh is None:
        module.to(device)
    elif isinstance(module, PixelTransformer):
        shard(module, mesh)
    else:
        shard_whole(module, mesh)


def open_aligned_teacher(config: TrainConfig, device: torch.device) -> Any:
    assert config.alignment.teacher is not None
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    return open_teacher(config.alignment.teacher, config.alignment.teacher_patch, dtype).to(device)


def train_step(
    config: TrainConfig, learner: Learner, images: Tensor, condition: Condition, rank: int, rate: float
) -> Losses:
    """One optimizer step on this worker's share of a batch: uint8 (B, C, H, W) or latents, and what each is to show."""
    device = images.device
    generator = torch.Generator(device).manual_seed(mix(config.seed, learner.images_seen, rank))
    encoded = images.is_floating_point()  # latents that were made beforehand
    shape = images.shape[1:] if encoded else learner.space.shape(images.shape[1:])
    noise = torch.randn((len(images), *shape), generator=generator, device=device)  # (B, C, H, W)
    t = flow.sample_times(len(images), generator, config.shift, config.time_mean, config.time_std)
    dropped = torch.rand(len(images), generator=generator, device=device) < config.label_drop
    condition = replaced(condition, dropped, learner.nothing)
    if config.flip:
        images = mirrored(images, generator)
    data = images if encoded else learner.space.encode(images)

    for group in learner.optimizer.param_groups:
        group["lr"] = rate
    learner.optimizer.zero_grad(set_to_none=True)
    flow_loss, alignment = add_gradients(config, learner, data, noise, t, condition)
    grad_norm = gradient_norm(learner.parameters())
    refused = learner.gauge.refuse(grad_norm)
    clipped_step(learner.optimizer, grad_norm, clip_norm(config, learner.images_seen), refused)
    learner.averages.update(learner.network, learner.images_seen, learner.images_seen + config.batch_size)
    return Losses(flow_loss, grad_norm, refused, alignment)


def mirrored(images: Tensor, generator: torch.Generator) -> Tensor:  # (B, C, H, W)
    """Each image left to right, with probability ½."""
    chosen = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def add_gradients(
    config: TrainConfig, learner: Learner, data: Tensor, noise: Tensor, t: Tensor, condition: Condition
) -> tuple[Tensor, Tensor | None]:
    """Adds up the gradients of the batch's parts. Returns the means over the batch: of the flow, of the alignment."""
    flows, alignments = [], []
    size = len(data) // config.accumulate
    rows = [slice(start, start + size) for start in range(0, len(data), size)]
    parts = [(data[part], noise[part], t[part], rows_of(condition, part)) for part in rows]
    for number, part in enumerate(parts, start=1):
        share = len(part[0]) / len(data)
        with gradients_shared(learner.model, number == len(parts)):
            with autocast(data.device, config.precision):
                flow_loss, alignment = losses(learner, *part)
            total = flow_loss if alignment is None else flow_loss + config.alignment.weight * alignment
            (share * total).backward()
        flows.append(share * flow_loss.detach())
        alignments += [share * alignment.detach()] if alignment is not None else []
    return sum_of(flows), sum_of(alignments) if alignments else None


def gradients_shared(model: nn.Module, now: bool) -> contextlib.AbstractContextManager[None]:
    """Data-parallel workers exchange gradients at the end of a backward pass: needed in that of the last part alone."""
    if now or not isinstance(model, nn.parallel.DistributedDataParallel):
        return contextlib.nullcontext()
    return model.no_sync()


def sum_of(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).sum()


def losses(
    learner: Learner, data: Tensor, noise: Tensor, t: Tensor, condition: Condition
) -> tuple[Tensor, Tensor | None]:
    """Mean over the batch: of the flow, and of the alignment if there is a teacher."""
    noisy = flow.interpolate(data, noise, t)
    if learner.teacher is None:
        return flow.loss(learner.model(noisy, t, condition), data, noise).mean(), None
    velocity, projected, grid = learner.model(noisy, t, condition)
    aligned = alignment_loss(projected, grid, learner.teacher(data))
    return flow.loss(velocity, data, noise).mean(), aligned.mean()
