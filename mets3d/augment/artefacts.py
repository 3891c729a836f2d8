"""Defines changes that a scanner makes: noise, blur, low resolution.

Each changes the image of a batch in place, one volume (a sequence of a sample) after the other: numbers that were drawn
then go along as arguments of a kernel, nothing is gathered or scattered, and no volume sees what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

Range = tuple[float, float]
Sigmas = tuple[float, float, float]  # of the axes, in voxels
# Of nnU-Net, v1 and v2 alike: a sequence of a sample that is blurred or coarsened is left alone as often as not.
SHARE_OF_SEQUENCES = 0.5


@dataclass(frozen=True)
class Noise:
    """Gaussian noise, independent in every voxel and sequence, of one strength in all sequences."""

    std: float
    seed: int  # of the device's own generator: the noise itself is too large to draw on the host

    @classmethod
    def draw(cls, rng: np.random.Generator, noise: float, noise_std: float) -> Noise | None:
        """Draws with probability `noise` a standard deviation of at most `noise_std`, and a seed."""
        if rng.random() >= noise:
            return None
        return cls(std=float(rng.uniform(0, noise_std)), seed=int(rng.integers(2**62)))

    @classmethod
    def apply(
        cls,
        changes: Mapping[int, Noise],
        image: Float[Tensor, "B C X Y Z"],
        brain: Bool[Tensor, "B 1 X Y Z"],  # noqa: ARG003 - the signature of a change of intensities
    ) -> Float[Tensor, "B C X Y Z"]:
        """Adds noise that depends on the seed and the shape alone."""
        noise = torch.empty_like(image[0, 0])
        for sample, change in changes.items():
            generator = torch.Generator(image.device).manual_seed(change.seed)
            for volume in image[sample]:
                volume.add_(noise.normal_(generator=generator), alpha=change.std)
        return image


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur of some sequences, with a width of its own along each axis."""

    sigmas: tuple[Sigmas | None, ...]  # per sequence; None: it stays as it is

    @classmethod
    def draw(cls, rng: np.random.Generator, sequences: int, blur: float, blur_sigma: Range) -> Blur | None:
        """Draws with probability `blur` for half of the sequences standard deviations within `blur_sigma`."""
        if rng.random() >= blur:
            return None
        chosen = rng.random(sequences) < SHARE_OF_SEQUENCES
        drawn = rng.uniform(*blur_sigma, size=(sequences, 3)).tolist()
        return cls(tuple((x, y, z) if own else None for own, (x, y, z) in zip(chosen, drawn, strict=True)))

    @classmethod
    def apply(
        cls,
        changes: Mapping[int, Blur],
        image: Float[Tensor, "B C X Y Z"],
        brain: Bool[Tensor, "B 1 X Y Z"],  # noqa: ARG003 - the signature of a change of intensities
    ) -> Float[Tensor, "B C X Y Z"]:
        """Convolves with a Gaussian that is cut at three standard deviations; beyond the patch is its mirror image."""
        for sample, change in changes.items():
            for volume, sigmas in zip(image[sample], change.sigmas, strict=True):
                if sigmas is not None:
                    _along_axes(volume, [_blurring(n, s, volume) for n, s in zip(volume.shape, sigmas, strict=True)])
        return image


@dataclass(frozen=True)
class LowResolution:
    """Some sequences as if they had been acquired in larger voxels."""

    zooms: tuple[float | None, ...]  # per sequence: voxels a side, as a share of those before; None: it stays as it is

    @classmethod
    def draw(
        cls, rng: np.random.Generator, sequences: int, low_resolution: float, low_resolution_zoom: Range
    ) -> LowResolution | None:
        """Draws with probability `low_resolution` for half of the sequences a factor within `low_resolution_zoom`."""
        if rng.random() >= low_resolution:
            return None
        chosen = rng.random(sequences) < SHARE_OF_SEQUENCES
        drawn = rng.uniform(*low_resolution_zoom, size=sequences).tolist()
        return cls(tuple(zoom if own else None for own, zoom in zip(chosen, drawn, strict=True)))

    @classmethod
    def apply(
        cls,
        changes: Mapping[int, LowResolution],
        image: Float[Tensor, "B C X Y Z"],
        brain: Bool[Tensor, "B 1 X Y Z"],  # noqa: ARG003 - the signature of a change of intensities
    ) -> Float[Tensor, "B C X Y Z"]:
        """Takes the nearest voxels of a coarser grid and interpolates linearly between them."""
        for sample, change in changes.items():
            for volume, zoom in zip(image[sample], change.zooms, strict=True):
                if zoom is not None:
                    _along_axes(volume, [_coarsening(n, max(1, round(n * zoom)), volume) for n in volume.shape])
        return image


ARTEFACTS = {"noise": Noise, "blur": Blur, "low_resolution": LowResolution}


def _along_axes(volume: Float[Tensor, "X Y Z"], operators: Sequence[Tensor]) -> None:
    """Multiplies a volume with a matrix [in, out] along each axis, in place.

    A dense product does more arithmetic than a short convolution, but it is the arithmetic for which both kinds of
    device are built: on a core it takes a fraction of the time, on a GPU it is three kernels.
    """
    x, y, z = operators
    moved = (x.T @ volume.flatten(1)).view_as(volume)
    torch.matmul(y.T @ moved, z, out=volume)


def _blurring(n: int, sigma: float, like: Tensor) -> Float[Tensor, "n n"]:
    """Returns the blur of n voxels as a matrix [in, out]: the blurred unit vectors."""
    # nnU-Net v2's number of taps is the odd number nearest to 6 sigma + 0.5. A mirror image is at most n - 1 wide.
    radius = min(int(3 * sigma + 0.25), n - 1)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = torch.from_numpy(taps / taps.sum()).to(like.dtype).to(like.device, non_blocking=True)
    units = torch.eye(n, dtype=like.dtype, device=like.device)
    return F.pad(units, (radius, radius), mode="reflect").unfold(1, len(taps), 1) @ kernel


def _coarsening(n: int, coarse: int, like: Tensor) -> Float[Tensor, "n n"]:
    """Returns the way of n voxels to a coarse grid and back as a matrix [in, out]."""
    units = torch.eye(n, dtype=like.dtype, device=like.device)[None]
    return F.interpolate(F.interpolate(units, size=coarse, mode="nearest-exact"), size=n, mode="linear")[0]
