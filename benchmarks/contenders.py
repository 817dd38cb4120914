"""The networks that are measured against each other, each as its own project trains and samples it.

All have the same weights, see the same batch, and are called alike: network(x, t, label).

B batch   C channels   H, W image
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from benchmarks.memory import optimizer_tensors
from benchmarks.plain import PlainPixelTransformer, require_paper
from unlatent.models import PixelTransformer, PixelTransformerConfig, SamplerConfig, flow, sample
from unlatent.models.clipping import clipped_step, gradient_norm
from unlatent.models.ema import update_ema
from unlatent.models.published import to_published

EMA_DECAY = 0.9999
LEARNING_RATE = 1e-4
CLIP_NORM = 1.0
OURS = "unlatent"
Network = TypeVar("Network", bound=nn.Module)


class Batch(NamedTuple):
    data: Tensor  # (B, C, H, W)
    noise: Tensor  # (B, C, H, W)
    t: Tensor  # (B,)
    label: Tensor  # (B,)


@dataclass(kw_only=True)
class Contender:
    """A network; what it is trained with is made when training begins."""

    name: str
    network: nn.Module
    draw: Callable[[nn.Module, Tensor, Tensor, Tensor, SamplerConfig], Tensor]  # noise, labels, null labels
    rows: Callable[[SamplerConfig], int]  # that the network sees for one image
    fused: bool | None  # AdamW in one kernel; None: as PyTorch chooses
    clipped: Callable[[torch.optim.AdamW, nn.Module], Tensor]  # an optimizer step; gives the norm before clipping
    average: Callable[[nn.Module, nn.Module], None]  # the mean, the network
    null_label: int
    dtype: torch.dtype  # of autocast; float32: none
    recomputes: bool = False  # some of the forward pass in the backward pass
    compiled: bool = field(default=False, init=False)
    ema: nn.Module | None = field(default=None, init=False)
    optimizer: torch.optim.AdamW | None = field(default=None, init=False)

    def autocast(self) -> torch.autocast:
        device = next(self.network.parameters()).device
        return torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32)

    def compile(self) -> None:
        """As each project's trainer does: both call this of the network's."""
        self.network.compile()
        self.compiled = True

    def begin_training(self) -> None:
        self.ema = deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=self.fused
        )

    def loss(self, batch: Batch) -> Tensor:
        batch = Batch(*(part.detach() for part in batch))  # ours marks its arguments, for the compiler, as of any size
        with self.autocast():
            velocity = self.network(flow.interpolate(batch.data, batch.noise, batch.t), batch.t, batch.label)
            return flow.loss(velocity, batch.data, batch.noise).mean()

    def step(self, batch: Batch, after_backward: Callable[[], None]) -> tuple[Tensor, Tensor]:
        """A whole training step: its loss, and the gradient's norm, left on the device."""
        assert self.optimizer is not None and self.ema is not None
        loss = self.loss(batch)
        loss.backward()
        after_backward()
        norm = self.clipped(self.optimizer, self.network)
        self.average(self.ema, self.network)
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach(), norm

    def state(self) -> Iterator[Tensor]:
        """What stays from step to step."""
        assert self.optimizer is not None and self.ema is not None
        networks = (self.network, self.ema)
        kept = (chain(network.parameters(), network.buffers()) for network in networks)
        return chain(chain.from_iterable(kept), optimizer_tensors(self.optimizer))

    @torch.no_grad()
    def images(self, noise: Tensor, label: Tensor, settings: SamplerConfig) -> Tensor:
        with self.autocast():
            return self.draw(self.network, noise, label, torch.full_like(label, self.null_label), settings)


def make_contenders(
    config: PixelTransformerConfig, device: torch.device, dtype: torch.dtype, recompute: str, published: Path | None
) -> list[Contender]:
    """Ours first. ValueError where a baseline cannot be this network, or `published` is not a checkout of its code."""
    require_paper(config)
    ours = PixelTransformer(config)
    weights = to_published(visible(ours).state_dict(), config)
    ours.set_recompute(recompute)
    baselines: dict[str, nn.Module] = {"plain": PlainPixelTransformer(config)}
    if published is not None:
        baselines["published"] = published_network(published, config)
    for network in baselines.values():
        network.load_state_dict(weights)

    make = partial(Contender, null_label=config.classes, dtype=dtype)
    contenders = [
        make(
            name=OURS,
            network=ours,
            draw=lambda network, noise, label, null, settings: sample(network, noise, label, settings, null),
            rows=SamplerConfig.network_evaluations,
            fused=True,
            clipped=clipped_in_one,
            average=partial(update_ema, decay=EMA_DECAY),
            recomputes=recompute != "none",
        )
    ]
    for name, network in baselines.items():
        average = SideStreamAverage(device) if device.type == "cuda" else average_in_two
        contenders.append(
            make(
                name=name,
                network=network,
                draw=doubled_ab2,
                rows=doubled_rows,
                fused=None,
                clipped=clipped_in_two,
                average=average,
            )
        )
    for contender in contenders:
        contender.network.to(device)
    return contenders


@torch.no_grad()
def visible(network: Network) -> Network:
    """Weights as of a network that has learnt something: none is zero, so that no part hides another's mistakes."""
    for weight in network.parameters():
        if weight.ndim > 1:
            weight.normal_(std=0.5 * weight.shape[1] ** -0.5)
        else:
            weight.add_(0.1 * torch.randn_like(weight))
    return network


def published_network(checkout: Path, config: PixelTransformerConfig) -> nn.Module:
    """That of the published code, which is run from where it lies."""
    if not (checkout / "pixdit_core" / "pixeldit_c2i.py").is_file():
        raise ValueError(
            f"published={checkout} has no pixdit_core/pixeldit_c2i.py; a checkout of PixelDiT's code would"
        )
    if (config.attention_width, config.attention_heads) != (config.width, config.heads):
        raise ValueError("the published class-conditional code has no attention of another width or other heads")
    sys.path.append(str(checkout))
    published = importlib.import_module("pixdit_core.pixeldit_c2i")
    return published.PixDiT(
        in_channels=config.channels,
        num_groups=config.heads,
        hidden_size=config.width,
        pixel_hidden_size=config.pixel_width,
        patch_depth=config.patch_depth,
        pixel_depth=config.pixel_depth,
        patch_size=config.patch_size,
        num_classes=config.classes,
        pit_adaln_post_modulation=config.modulation == "post",
    )


def clipped_in_one(optimizer: torch.optim.AdamW, network: nn.Module) -> Tensor:
    norm = gradient_norm(network.parameters())
    clipped_step(optimizer, norm, CLIP_NORM)
    return norm


def clipped_in_two(optimizer: torch.optim.AdamW, network: nn.Module) -> Tensor:
    """As the published trainer does: one pass to scale the gradients, then the step."""
    norm = nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
    optimizer.step()
    return norm


@torch.no_grad()
def average_in_two(ema: nn.Module, network: nn.Module) -> None:
    """As the published trainer does: one pass to scale the mean, one to add to it."""
    means: list[Tensor] = list(ema.parameters())
    weights: list[Tensor] = list(network.parameters())
    torch._foreach_mul_(means, EMA_DECAY)
    torch._foreach_add_(means, weights, alpha=1 - EMA_DECAY)


class SideStreamAverage:
    """The same on a stream of its own, as there on a GPU: the next step need not wait for it."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)

    def __call__(self, ema: nn.Module, network: nn.Module) -> None:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            average_in_two(ema, network)


def doubled_ab2(network: nn.Module, noise: Tensor, label: Tensor, null: Tensor, settings: SamplerConfig) -> Tensor:
    """As the published sampler does: both halves of a guided batch at every step, whether it is guided or not."""
    labels = torch.cat([null, label])
    x, before = noise, None
    for t, t_next in pairwise(settings.times()):
        without, with_label = network(torch.cat([x, x]), x.new_full((2 * len(x),), t), labels).chunk(2)
        velocity = without + (settings.guidance if settings.guides(t) else 1.0) * (with_label - without)
        slope = velocity if before is None else 1.5 * velocity - 0.5 * before
        x, before = x + (t_next - t) * slope, velocity
    return x


def doubled_rows(settings: SamplerConfig) -> int:
    return 2 * settings.steps
