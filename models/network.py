"""PixelDiT (Yu et al. 2025, arXiv 2511.20645): a diffusion transformer on raw pixels, at two levels.

The patch level decides what is where, and the pixel level draws it.

B batch   c channels   H, W image   L patches per image   T text tokens   D width
"""

from functools import partial
from typing import Any, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlatent.models.byte_text import ByteEmbedding, byte_text
from unlatent.models.compilation import at_most, sparing
from unlatent.models.condition import TOKEN_BYTES, Condition, Text, as_text, to_device
from unlatent.models.config import PixelTransformerConfig, listed
from unlatent.models.decoders import PatchDecoder, PixelDecoder
from unlatent.models.embeddings import (
    PositionTable,
    TextEmbedding,
    TimeEmbedding,
    label_embedding,
    rope_line,
    rope_tokens,
    sincos_tokens,
)
from unlatent.models.layout import patch_vectors
from unlatent.models.patch_block import JointBlock, PatchBlock
from unlatent.models.recomputation import RECOMPUTATIONS, run

MOST_SIZES = 64  # of images, for which a compiled network may have graphs
SHORTEST_REST = 0.05  # of the way from noise to data, over which predicted data are turned into a velocity


class PixelTransformer(nn.Module):
    """The velocity (data - noise) of a noisy image. A new network that predicts velocities says 0.

    It takes images of any sides that the patch divides; those of its configuration are quickest.
    """

    rope_text: Tensor | None

    def __init__(self, config: PixelTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute_blocks = False
        self.embed_patch = nn.Linear(config.channels * config.patch_size**2, config.width)
        nn.init.xavier_uniform_(self.embed_patch.weight)
        nn.init.zeros_(self.embed_patch.bias)
        self.embed_time = TimeEmbedding(config.width, config.time_scale)
        self.rope = self.position = None
        if config.position == "rope":
            make = partial(rope_tokens, config.width // config.heads, 1)
            self.rope = PositionTable(make, config.grid, config.grid)
        else:
            self.position = PositionTable(partial(sincos_tokens, config.width, 1, 1), config.grid, config.grid)
        self._build_condition()
        self.decoder = PixelDecoder(config) if config.pixel_depth else PatchDecoder(config)

    def _build_condition(self) -> None:
        config, depth, rope_text = self.config, self.config.patch_depth, None
        if config.condition == "class":
            self.null_label = config.classes
            self.embed_label = label_embedding(config.classes, config.width)
            self.patch_blocks = nn.ModuleList(PatchBlock(config) for _ in range(depth))
        else:
            self.embed_bytes = ByteEmbedding(config.text.width) if config.text.learned else None
            self.embed_text = TextEmbedding(config.text.width, config.width, config.text.tokens)
            self.patch_blocks = nn.ModuleList(JointBlock(config, last=n == depth) for n in range(1, depth + 1))
            if config.position == "rope":
                rope_text = rope_line(config.width // config.heads, config.text.tokens)
        self.register_buffer("rope_text", rope_text, persistent=False)

    @overload
    def forward(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor: ...

    @overload
    def forward(self, x: Tensor, t: Tensor, condition: Condition, features: int) -> tuple[Tensor, Tensor]: ...

    def forward(
        self, x: Tensor, t: Tensor, condition: Condition, features: int | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:  # (B, c, H, W), (B,), condition -> (B, c, H, W)
        """The velocity; and what the patch block of number `features` (the first is 1) says, (B, L, D), if given.

        `t` runs from 0 (noise) to 1 (data). Raises ValueError for sides that the patch does not divide.
        """
        self._require_sides(x)
        if features is not None and not 1 <= features <= self.config.patch_depth:
            raise ValueError(f"features={features} is none of the {self.config.patch_depth} patch blocks")
        rows, columns = (side // self.config.patch_size for side in x.shape[2:])
        time = self.embed_time(t)[:, None]  # (B, 1, D)
        s = self.embed_patch(patch_vectors(x, self.config.patch_size))  # (B, L, D)
        if self.position is not None:
            s = s + self.position(rows, columns).flatten(1, 2).to(s.dtype)
        rope = self.rope(rows, columns) if self.rope is not None else None
        s, kept = self._through_patch_blocks(s, time, condition, rope, features)
        output = self._decode(x, t, s, time)
        return output if kept is None else (output, kept)

    def _through_patch_blocks(
        self, s: Tensor, time: Tensor, condition: Condition, rope: Tensor | None, features: int | None
    ) -> tuple[Tensor, Tensor | None]:
        """What the last block says, and what the one asked for says."""
        kept = None
        if self.config.condition == "class":
            assert isinstance(condition, Tensor)
            vector = F.silu(time + self.embed_label(condition)[:, None])
        else:
            vector = F.silu(time)
            text, rope_text, mask = self._read_text(as_text(condition), s)
        for number, block in enumerate(self.patch_blocks, start=1):
            if self.config.condition == "class":
                s = run(block, s, vector, rope, again=self.recompute_blocks)
            else:
                s, text = run(block, s, text, vector, rope, rope_text, mask, again=self.recompute_blocks)
            kept = s if number == features else kept
        return s, kept

    def _read_text(self, given: Text, s: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Text tokens (B, T, D), their positions, and which of text and patches may be seen, (B, T + L)."""
        width = TOKEN_BYTES if self.embed_bytes else self.config.text.width
        if given.tokens.ndim != 3 or given.tokens.shape[2] != width:
            said = f"text.width={self.config.text.width} and text.encoder={self.config.text.encoder}"
            raise ValueError(f"text tokens of shape {tuple(given.tokens.shape)} are not (B, T, {width}), with {said}")
        count = given.tokens.shape[1]
        if count > self.config.text.tokens:
            raise ValueError(f"a text of {count} tokens is longer than text.tokens={self.config.text.tokens}")
        rope = self.rope_text[:, :count] if self.rope_text is not None else None
        mask = given.mask if self.config.text.mask_padding else None
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones(s.shape[:2])], dim=1)
        tokens = self.embed_bytes(given.tokens) if self.embed_bytes else given.tokens
        return self.embed_text(tokens), rope, mask

    def _decode(self, x: Tensor, t: Tensor, s: Tensor, time: Tensor) -> Tensor:
        output = self.decoder(x, s, time)
        if self.config.prediction == "data":
            rest = (1 - t).clamp(min=SHORTEST_REST)[:, None, None, None]
            output = (output - x) / rest
        return output

    @property
    def blocks(self) -> list[nn.Module]:
        """Those of the patch level, then those of the pixel level."""
        return [*self.patch_blocks, *(self.decoder.blocks if isinstance(self.decoder, PixelDecoder) else [])]

    def compile(self) -> None:
        """From here on, runs as one graph in training and one in sampling, for images of a size in batches of any."""
        super().compile(fullgraph=True, backend=sparing, **at_most(MOST_SIZES, of_its_own=True))

    def compile_blocks(self) -> None:
        """From here on, every block runs as a graph of its own: a sharded network puts weights together in between."""
        for block in self.blocks:
            whole: dict[str, Any] = {"fullgraph": True, "backend": sparing, **at_most(MOST_SIZES)}
            block.forward = torch.compile(block.forward, dynamic=False, **whole)

    def __call__(self, x: Tensor, t: Tensor, condition: Condition, **asked: int) -> Any:
        if self._compiled_call_impl is not None and not torch.compiler.is_compiling():
            for tensor in (x, t, *(condition if isinstance(condition, Text) else [condition])):
                if tensor is not None:
                    torch._dynamo.mark_dynamic(tensor, 0)  # else the first size would get a graph of its own
            torch._dynamo.mark_static(x, [2, 3])  # positions are worked out for the sides, which are few
        return super().__call__(x, t, condition, **asked)

    def _require_sides(self, x: Tensor) -> None:
        patch, (height, width) = self.config.patch_size, x.shape[2:]
        if height % patch or width % patch:
            raise ValueError(f"an image of {height} x {width} is not a whole number of patches of patch_size={patch}")

    def unconditional(self, rows: int) -> Condition:
        """The condition of no class, or of no text, for so many images.

        Of texts that an encoder has read before the network, that encoder's of no text is it.
        """
        device = self.embed_patch.weight.device
        if self.config.condition == "class":
            return torch.full((rows,), self.null_label, device=device)
        assert self.config.text.learned, "an encoder outside knows how it reads no text"
        return to_device(byte_text([""] * rows, self.config.text.tokens), device)

    def set_recompute(self, what: str) -> None:
        """What is computed again in the backward pass, to save memory: see `recomputation`. At first nothing is."""
        if what not in RECOMPUTATIONS:
            raise ValueError(f"recompute={what!r} is not known; {listed(RECOMPUTATIONS)} would do")
        self.recompute_blocks = what == "blocks"
        if isinstance(self.decoder, PixelDecoder):
            self.decoder.set_recompute(what != "none")
