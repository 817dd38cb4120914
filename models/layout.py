"""How an image is cut into patches, and a patch into windows.

The pixels of a patch are kept window by window, row by row inside each, so that merging a window's pixels into one
attention token is a view. The windows then stand patch by patch, not row by row across the image; attention does
not mind, as long as the table of positions is cut in the same way.

B batch   C channels   L patches per image   P pixels per patch
"""

from torch import Tensor


def split(image: Tensor, patch: int, window: int) -> Tensor:  # (B, C, H, W) -> (B, L, P, C)
    """Patches in row-major order, the windows of a patch too, and the pixels of a window too."""
    per_patch = patch // window
    axes = image.unflatten(3, (-1, per_patch, window)).unflatten(2, (-1, per_patch, window))
    # (B, C, patch row, window row, row, patch column, window column, column)
    return axes.permute(0, 2, 5, 3, 6, 4, 7, 1).flatten(3, 6).flatten(1, 2)


def join(pixels: Tensor, patch: int, window: int, rows: int) -> Tensor:  # (B, L, P, C) -> (B, C, H, W)
    """Undoes `split` for an image of `rows` rows of patches."""
    per_patch = patch // window
    axes = pixels.unflatten(2, (per_patch, per_patch, window, window)).unflatten(1, (rows, -1))
    # (B, patch row, patch column, window row, window column, row, column, C)
    return axes.permute(0, 7, 1, 3, 5, 2, 4, 6).flatten(5, 7).flatten(2, 4)


def patch_vectors(image: Tensor, patch: int) -> Tensor:  # (B, C, H, W) -> (B, L, C * P)
    """Every patch as one vector, channel by channel: the order of published weights."""
    axes = image.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))  # (B, C, patch row, row, patch column, column)
    return axes.permute(0, 2, 4, 1, 3, 5).flatten(3, 5).flatten(1, 2)
