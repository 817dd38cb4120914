"""How near images come to their originals, pixel by pixel: MSE, PSNR, SSIM of each."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

WHITE = 255
WANG: dict[str, Any] = {
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
}  # Wang et al. 2004, section III.C


def mean_squared_error(originals: Tensor, images: Tensor) -> NDArray[np.float64]:  # uint8 (N, 3, H, W) -> (N,)
    """Of values from 0 to 1."""
    return ((originals.double() - images.double()) / WHITE).square().mean(dim=(1, 2, 3)).numpy()


def peak_signal_to_noise(errors: NDArray[np.float64]) -> NDArray[np.float64]:  # mean squared errors (N,) -> (N,)
    """In dB; infinite where nothing differs."""
    with np.errstate(divide="ignore"):
        return -10 * np.log10(errors)


def structural_similarity(originals: Tensor, images: Tensor) -> NDArray[np.float64]:  # uint8 (N, 3, H, W) -> (N,)
    """scikit-image's SSIM with the window of Wang et al. (Gaussian, σ 1.5), mean over colours. 1 where nothing differs.

    Raises ValueError where scikit-image is not installed, and for images smaller than its window of 11 pixels.
    """
    ssim = similarity_function()
    with ThreadPoolExecutor() as threads:
        found = threads.map(
            lambda a, b: ssim(a, b, channel_axis=0, data_range=WHITE, **WANG), originals.numpy(), images.numpy()
        )
        return np.array(list(found), np.float64)


def similarity_map(original: NDArray[np.uint8], image: NDArray[np.uint8]) -> NDArray[np.float64]:  # (3, H, W) -> (H, W)
    """The same SSIM at every pixel, of the window around it; windows at the border see the image mirrored there."""
    _, similarities = similarity_function()(original, image, channel_axis=0, data_range=WHITE, full=True, **WANG)
    return np.asarray(similarities, np.float64).mean(axis=0)


def similarity_function() -> Callable[..., Any]:
    try:
        from skimage.metrics import structural_similarity as ssim
    except ImportError:
        raise ValueError("SSIM needs the package scikit-image; pip install 'unlatent[autoencoders]' would do") from None
    return ssim
