"""PixelDiT as one would write it down from the paper (Yu et al. 2025, arXiv 2511.20645), with no thought of speed.

The class-conditional network alone: complex numbers for RoPE, a layer for every matrix, shift and scale as they are
printed, and whatever types autocast leaves. Its parameters have the names of published checkpoints.

B batch   c channels   H, W image   L patches per image   P pixels per patch   D patch width   C pixel width
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlatent.models import PixelTransformerConfig

# What the paper's network is, apart from its sizes.
PAPER = {"condition": "class", "norm": "rms", "position": "rope", "adaln": "pixel", "prediction": "velocity"}


class PlainPixelTransformer(nn.Module):
    """The velocity of a noisy image. ValueError for a configuration that is not the paper's network."""

    rope: Tensor
    positions: Tensor

    def __init__(self, config: PixelTransformerConfig) -> None:
        super().__init__()
        require_paper(config)
        patch, width, size = config.patch_size, config.width, config.image_size
        self.config = config
        self.s_embedder = nn.ModuleDict({"proj": nn.Linear(config.channels * patch**2, width)})
        self.t_embedder = TimeEmbedding(width)
        self.y_embedder = nn.ModuleDict({"embedding_table": nn.Embedding(config.classes + 1, width)})
        self.pixel_embedder = nn.ModuleDict({"proj": nn.Linear(config.channels, config.pixel_width)})
        self.patch_blocks = nn.ModuleList(PatchBlock(width, config.heads) for _ in range(config.patch_depth))
        self.pixel_blocks = nn.ModuleList(PixelBlock(config) for _ in range(config.pixel_depth))
        self.final_layer = nn.ModuleDict(
            {"norm": RMSNorm(config.pixel_width), "linear": nn.Linear(config.pixel_width, config.channels)}
        )
        self.register_buffer("rope", complex_rope(width // config.heads, config.grid), persistent=False)
        self.register_buffer("positions", sincos(config.pixel_width, size), persistent=False)

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:  # (B, c, H, W), (B,), (B,) -> (B, c, H, W)
        patch, grid, count = self.config.patch_size, self.config.grid, len(x)
        time = self.t_embedder(t)[:, None]  # (B, 1, D)
        condition = F.silu(time + self.y_embedder["embedding_table"](label)[:, None])
        patches = F.unfold(x, patch, stride=patch).transpose(1, 2)  # (B, L, c * P)
        s = self.s_embedder["proj"](patches)  # (B, L, D)
        for block in self.patch_blocks:
            s = block(s, condition, self.rope)
        s = F.silu(time + s).flatten(0, 1)  # (B * L, D)

        pixels = self.pixel_embedder["proj"](x.permute(0, 2, 3, 1)) + self.positions  # (B, H, W, C)
        pixels = pixels.view(count, grid, patch, grid, patch, -1).transpose(2, 3)
        pixels = pixels.reshape(count * grid**2, patch**2, -1)  # (B * L, P, C)
        for block in self.pixel_blocks:
            pixels = block(pixels, s, self.rope, count)
        output = self.final_layer["linear"](self.final_layer["norm"](pixels))  # (B * L, P, c)
        columns = output.view(count, grid**2, patch**2, -1).permute(0, 3, 2, 1).flatten(1, 2)  # (B, c * P, L)
        return F.fold(columns, x.shape[2:], patch, stride=patch)


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)
        return normed.to(x.dtype) * self.weight


class TimeEmbedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:  # (B,) -> (B, D)
        frequencies = torch.exp(-math.log(10) * torch.arange(128, device=t.device) / 128)
        angle = t[:, None] * frequencies
        return self.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_norm = RMSNorm(width // heads)
        self.k_norm = RMSNorm(width // heads)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rope: Tensor) -> Tensor:  # (B, L, A) -> (B, L, A)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)  # (B, L, h, A / h) each
        q, k = turn(self.q_norm(q), rope), turn(self.k_norm(k), rope)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, h, L, A / h) each
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = 8 * width // 3
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)
        self.w3 = nn.Linear(width, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class PatchBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = RMSNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = RMSNorm(width)
        self.mlp = SwiGLU(width)
        self.adaLN_modulation = nn.Sequential(nn.Linear(width, 6 * width))

    def forward(self, s: Tensor, condition: Tensor, rope: Tensor) -> Tensor:  # (B, L, D), (B, 1, D) -> (B, L, D)
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(condition).chunk(6, dim=-1)
        s = s + gate1 * self.attn(self.norm1(s) * (1 + scale1) + shift1, rope)
        return s + gate2 * self.mlp(self.norm2(s) * (1 + scale2) + shift2)


class PixelBlock(nn.Module):
    def __init__(self, config: PixelTransformerConfig) -> None:
        super().__init__()
        self.post = config.modulation == "post"
        width, attention, values = config.pixel_width, config.attention_width, config.patch_size**2 * config.pixel_width
        self.norm1 = RMSNorm(width)
        self.compress_to_attn = nn.Linear(values, attention)
        self.attn = Attention(attention, config.attention_heads)
        self.expand_from_attn = nn.Linear(attention, values)
        self.norm2 = RMSNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("fc2", nn.Linear(4 * width, width))
        self.adaLN_modulation = nn.Sequential(nn.Linear(config.width, (4 if self.post else 6) * values))

    def forward(self, x: Tensor, s: Tensor, rope: Tensor, count: int) -> Tensor:  # (B * L, P, C), (B * L, D)
        vectors = self.adaLN_modulation(s).unflatten(-1, (x.shape[1], -1))  # (B * L, P, 6 * C)
        if self.post:
            scale1, shift1, scale2, shift2 = vectors.chunk(4, dim=-1)
            x = x + self.attend(self.norm1(x), rope, count) * (1 + scale1) + shift1
            return x + self.mlp(self.norm2(x)) * (1 + scale2) + shift2
        shift1, scale1, gate1, shift2, scale2, gate2 = vectors.chunk(6, dim=-1)
        x = x + gate1 * self.attend(self.norm1(x) * (1 + scale1) + shift1, rope, count)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)

    def attend(self, x: Tensor, rope: Tensor, count: int) -> Tensor:  # (B * L, P, C) -> (B * L, P, C)
        tokens = self.compress_to_attn(x.flatten(1)).unflatten(0, (count, -1))  # (B, L, A)
        return self.expand_from_attn(self.attn(tokens, rope)).view_as(x)


def turn(x: Tensor, rope: Tensor) -> Tensor:  # (B, L, h, A / h), (L, 1, A / 2h)
    """Multiplies pairs of neighbouring values, taken as complex numbers."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rope).flatten(-2).type_as(x)


def complex_rope(head_width: int, grid: int) -> Tensor:  # (L, 1, head_width / 2)
    """Column and row by turns, positions from 0 to 16."""
    frequencies = 10_000.0 ** -(torch.arange(0, head_width, 4) / head_width)
    angle = torch.linspace(0, 16, grid)[:, None] * frequencies  # (grid, head_width / 4)
    columns, rows = angle[None].expand(grid, -1, -1), angle[:, None].expand(-1, grid, -1)
    both = torch.stack([columns, rows], dim=-1).flatten(0, 1).flatten(1)[:, None]
    return torch.polar(torch.ones_like(both), both)


def sincos(width: int, size: int) -> Tensor:  # (size, size, width)
    frequencies = 10_000.0 ** -(torch.arange(width // 4) / (width // 4))
    angle = torch.arange(size)[:, None] * frequencies
    waves = torch.cat([angle.sin(), angle.cos()], dim=-1)  # (size, width / 2)
    return torch.cat([waves[None].expand(size, -1, -1), waves[:, None].expand(-1, size, -1)], dim=-1)


def require_paper(config: PixelTransformerConfig) -> None:
    for name, value in PAPER.items():
        if getattr(config, name) != value:
            raise ValueError(f"{name}={getattr(config, name)!r} is not written out here; {value!r} would do")
    if not config.pixel_depth or not config.compaction.attention or config.window != config.patch_size:
        raise ValueError("a plain network needs pixel blocks with attention, one token a patch")
