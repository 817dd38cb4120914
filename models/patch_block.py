"""Works out what is in the image, one token a patch; with a text, one token of that at a time beside it.

B batch   L patches per image   T text tokens   D width
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlatent.models.attention import Attention, Heads, attend
from unlatent.models.config import PixelTransformerConfig
from unlatent.models.modulation import gated, make_norm, modulate, zero_linear


class SwiGLU(nn.Module):
    """An MLP whose hidden values are gated; its three matrices weigh as much as two of hidden width 4D."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = swiglu_hidden(width)
        self.gate_and_widen = nn.Linear(width, 2 * hidden, bias=False)  # both at once: one reading of the input
        self.narrow = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, wide = self.gate_and_widen(x).chunk(2, dim=-1)
        return self.narrow(F.silu(gate) * wide)


def swiglu_hidden(width: int) -> int:
    return 8 * width // 3


class PatchBlock(nn.Module):
    """Attention between tokens, then an MLP on each. A new block of a class-conditional network is the identity."""

    def __init__(self, config: PixelTransformerConfig) -> None:
        super().__init__()
        make_linear = zero_linear if config.condition == "class" else nn.Linear  # both as published
        self.modulation = make_linear(config.width, 6 * config.width)
        self.norm_attend = make_norm(config.norm, config.width)
        self.attend = Attention(config.width, config.heads, config.norm)
        self.norm_mlp = make_norm(config.norm, config.width)
        self.mlp = SwiGLU(config.width)

    def vectors(self, condition: Tensor) -> tuple[Tensor, ...]:  # (B, 1, D) -> six times (B, 1, D)
        return self.modulation(condition).chunk(6, dim=-1)

    def project(self, s: Tensor, vectors: tuple[Tensor, ...], rope: Tensor | None) -> Heads:
        shift, scale, *_ = vectors
        return self.attend.project(modulate(self.norm_attend(s), shift, scale), rope)

    def finish(self, s: Tensor, mixed: Tensor, vectors: tuple[Tensor, ...]) -> Tensor:
        """Takes in what attention has mixed, (B, L, D), and goes through the MLP."""
        _, _, gate_attend, shift, scale, gate = vectors
        s = gated(s, gate_attend, self.attend.out(mixed))
        return gated(s, gate, self.mlp(modulate(self.norm_mlp(s), shift, scale)))

    def forward(self, s: Tensor, condition: Tensor, rope: Tensor | None) -> Tensor:  # (B, L, D), (B, 1, D)
        vectors = self.vectors(condition)
        return self.finish(s, attend(self.project(s, vectors, rope)), vectors)


class JointBlock(nn.Module):
    """Image and text, each with weights of its own, see each other in one attention (MM-DiT, arXiv 2403.03206).

    After the last block nothing reads the text. Published weights of what would still be done to it there are kept,
    so that they can be given back, but never used.
    """

    def __init__(self, config: PixelTransformerConfig, last: bool) -> None:
        super().__init__()
        self.image, self.text, self.last = PatchBlock(config), PatchBlock(config), last
        if last:
            for unread in (self.text.attend.norm_q, self.text.attend.out, self.text.norm_mlp, self.text.mlp):
                unread.requires_grad_(False)

    def forward(
        self,
        s: Tensor,  # (B, L, D)
        text: Tensor,  # (B, T, D)
        condition: Tensor,  # (B, 1, D)
        rope: Tensor | None,
        rope_text: Tensor | None,
        mask: Tensor | None,  # (B, T + L)
    ) -> tuple[Tensor, Tensor]:  # (B, L, D), (B, T, D)
        for_image, for_text = self.image.vectors(condition), self.text.vectors(condition)
        of_image, of_text = self.image.project(s, for_image, rope), self.text.project(text, for_text, rope_text)
        q, k, v = (torch.cat(pair, dim=1) for pair in zip(of_text, of_image, strict=True))
        mixed_text, mixed = attend((q, k, v), mask).split([text.shape[1], s.shape[1]], dim=1)
        s = self.image.finish(s, mixed, for_image)
        return s, text if self.last else self.text.finish(text, mixed_text, for_text)
