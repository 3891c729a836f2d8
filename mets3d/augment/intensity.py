"""Defines changes of the intensities, sequence by sequence: brightness, contrast, gamma, bias field.

Each changes the image of a batch in place, one volume (a sequence of a sample) after the other, as those of
`mets3d.augment.artefacts` do. Means and standard deviations are those inside the brain: over the whole patch, as
nnU-Net takes them, they would depend on how much of the patch is background, which is set to 0 afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mets3d.augment.artefacts import SHARE_OF_SEQUENCES, Range

PerSequence = tuple[float, ...]
LEAST_SPREAD = 1e-6  # of a range or standard deviation by which is divided: that of a constant sequence is 0
CONTROLS = 3  # of a bias field along each axis


@dataclass(frozen=True)
class Brightness:
    """A factor on the intensities of each sequence."""

    factors: PerSequence

    @classmethod
    def draw(
        cls, rng: np.random.Generator, sequences: int, brightness: float, brightness_range: Range
    ) -> Brightness | None:
        """Draws the factors with probability `brightness`."""
        return cls(_about_one(rng, brightness_range, sequences)) if rng.random() < brightness else None

    @classmethod
    def apply(
        cls,
        changes: Mapping[int, Brightness],
        image: Float[Tensor, "B C X Y Z"],
        brain: Bool[Tensor, "B 1 X Y Z"],  # noqa: ARG003 - the signature of a change of intensities
    ) -> Float[Tensor, "B C X Y Z"]:
        """Multiplies each sequence by its factor."""
        for sample, change in changes.items():
            for volume, factor in zip(image[sample], change.factors, strict=True):
                volume.mul_(factor)
        return image


@dataclass(frozen=True)
class Contrast:
    """A factor on each sequence's distance from its mean inside the brain."""

    factors: PerSequence

    @classmethod
    def draw(cls, rng: np.random.Generator, sequences: int, contrast: float, contrast_range: Range) -> Contrast | None:
        """Draws the factors with probability `contrast`."""
        return cls(_about_one(rng, contrast_range, sequences)) if rng.random() < contrast else None

    @classmethod
    def apply(
        cls, changes: Mapping[int, Contrast], image: Float[Tensor, "B C X Y Z"], brain: Bool[Tensor, "B 1 X Y Z"]
    ) -> Float[Tensor, "B C X Y Z"]:
        """Stretches each sequence about its mean and cuts it where the range of its intensities ended."""
        for sample, change in changes.items():
            inside = _inside(brain[sample, 0], image)
            for volume, factor in zip(image[sample], change.factors, strict=True):
                low, high = torch.aminmax(volume)
                shift = _mean(volume, inside) * (1 - factor)
                torch.add(shift, volume, alpha=factor, out=volume).clamp_min_(low).clamp_max_(high)
        return image


@dataclass(frozen=True)
class BrightnessShift:
    """A number added to the intensities of some sequences."""

    shifts: PerSequence  # 0: the sequence stays as it is

    @classmethod
    def draw(
        cls, rng: np.random.Generator, sequences: int, brightness_shift: float, brightness_shift_std: float
    ) -> BrightnessShift | None:
        """Draws with probability `brightness_shift` for half of the sequences a normally distributed number."""
        if rng.random() >= brightness_shift:
            return None
        chosen = rng.random(sequences) < SHARE_OF_SEQUENCES
        return cls(tuple((rng.normal(0, brightness_shift_std, size=sequences) * chosen).tolist()))

    @classmethod
    def apply(
        cls,
        changes: Mapping[int, BrightnessShift],
        image: Float[Tensor, "B C X Y Z"],
        brain: Bool[Tensor, "B 1 X Y Z"],  # noqa: ARG003 - the signature of a change of intensities
    ) -> Float[Tensor, "B C X Y Z"]:
        """Adds to each sequence its number."""
        for sample, change in changes.items():
            for volume, shift in zip(image[sample], change.shifts, strict=True):
                if shift:
                    volume.add_(shift)
        return image


@dataclass(frozen=True)
class Gamma:
    """A gamma curve on each sequence's range that keeps its mean and standard deviation inside the brain."""

    exponents: PerSequence

    @classmethod
    def draw(cls, rng: np.random.Generator, sequences: int, gamma: float, gamma_range: Range) -> Gamma | None:
        """Draws the exponents with probability `gamma`."""
        return cls(_about_one(rng, gamma_range, sequences)) if rng.random() < gamma else None

    @classmethod
    def apply(
        cls, changes: Mapping[int, Gamma], image: Float[Tensor, "B C X Y Z"], brain: Bool[Tensor, "B 1 X Y Z"]
    ) -> Float[Tensor, "B C X Y Z"]:
        """Bends each sequence's range, then restores its mean and standard deviation."""
        for sample, change in changes.items():
            _bend(image[sample], change.exponents, brain[sample, 0], inverted=False)
        return image


@dataclass(frozen=True)
class GammaInverted:
    """A gamma curve on the range of each sequence's negative: it does to bright values what Gamma does to dark ones."""

    exponents: PerSequence

    @classmethod
    def draw(
        cls, rng: np.random.Generator, sequences: int, gamma_inverted: float, gamma_range: Range
    ) -> GammaInverted | None:
        """Draws the exponents with probability `gamma_inverted`."""
        return cls(_about_one(rng, gamma_range, sequences)) if rng.random() < gamma_inverted else None

    @classmethod
    def apply(
        cls, changes: Mapping[int, GammaInverted], image: Float[Tensor, "B C X Y Z"], brain: Bool[Tensor, "B 1 X Y Z"]
    ) -> Float[Tensor, "B C X Y Z"]:
        """Bends the range of each sequence's negative, then restores mean and standard deviation."""
        for sample, change in changes.items():
            _bend(image[sample], change.exponents, brain[sample, 0], inverted=True)
        return image


@dataclass(frozen=True)
class BiasField:
    """A smooth factor on the intensities, as an uneven coil makes it, of each sequence its own.

    The logarithm of the factor is a polynomial of degree two along each axis of the patch, in Bernstein's form: its
    values are weighted means of the controls, and so within their range.
    """

    controls: tuple[PerSequence, ...]  # per sequence: CONTROLS^3 of them, Z fastest

    @classmethod
    def draw(
        cls, rng: np.random.Generator, sequences: int, bias_field: float, bias_field_strength: float
    ) -> BiasField | None:
        """Draws with probability `bias_field` logarithms between minus and plus `bias_field_strength`."""
        if rng.random() >= bias_field:
            return None
        drawn = rng.uniform(-bias_field_strength, bias_field_strength, size=(sequences, CONTROLS**3))
        return cls(tuple(map(tuple, drawn.tolist())))

    @classmethod
    def apply(
        cls,
        changes: Mapping[int, BiasField],
        image: Float[Tensor, "B C X Y Z"],
        brain: Bool[Tensor, "B 1 X Y Z"],  # noqa: ARG003 - the signature of a change of intensities
    ) -> Float[Tensor, "B C X Y Z"]:
        """Multiplies each sequence's distance from its least intensity.

        An image in units of standard deviations is 0 where it is of mean brightness; its least value is where a
        scanner would have measured about nothing, and that a field leaves alone.
        """
        x, y, z = (_bernstein(n, image) for n in image.shape[2:])
        for sample, change in changes.items():
            controls = torch.tensor(change.controls, dtype=image.dtype).to(image.device, non_blocking=True)
            for volume, control in zip(image[sample], controls, strict=True):
                planes = y @ (control.view(CONTROLS, CONTROLS, CONTROLS) @ z.T)
                field = (x @ planes.flatten(1)).view_as(volume).exp_()
                low = volume.amin()
                volume.sub_(low).mul_(field).add_(low)
        return image


INTENSITY = {
    "brightness": Brightness,
    "contrast": Contrast,
    "gamma_inverted": GammaInverted,
    "brightness_shift": BrightnessShift,
    "gamma": Gamma,
    "bias_field": BiasField,
}


class Inside(NamedTuple):
    """Weights of a sample's voxels, 1 in the brain and 0 elsewhere, their sum, and memory for products with them."""

    weights: Float[Tensor, "X Y Z"]
    voxels: Float[Tensor, ""]
    room: Float[Tensor, "X Y Z"]  # on a CPU, memory that is new for each volume would cost more than the arithmetic


def _about_one(rng: np.random.Generator, limits: Range, count: int) -> PerSequence:
    """Draws factors below 1 as often as above, and uniformly on either side, as nnU-Net does."""
    low, high = limits
    middle = min(max(1.0, low), high)
    below = (rng.random(count) < 0.5) if low < middle < high else np.full(count, low < middle)
    place = rng.random(count)
    drawn = np.where(below, low + place * (middle - low), middle + place * (high - middle))
    return tuple(drawn.tolist())


def _bend(
    image: Float[Tensor, "C X Y Z"], exponents: PerSequence, brain: Bool[Tensor, "X Y Z"], *, inverted: bool
) -> None:
    inside = _inside(brain, image)
    for volume, exponent in zip(image, exponents, strict=True):
        low, high = torch.aminmax(volume)
        end = high if inverted else low
        # The distance from the end of the range, at which the curve begins, its mean and its standard deviation.
        torch.sub(high, volume, out=volume) if inverted else volume.sub_(low)
        mean, std = _moments(volume, inside)
        # (distance / range) ^ exponent by logarithm and exponential, which take a quarter of the time of `pow`. Of 0 it
        # is exp(-inf), again 0.
        span = (high - low).clamp_min(LEAST_SPREAD).log()
        torch.add(span * -exponent, volume.log_(), alpha=exponent, out=volume).exp_()
        bent_mean, bent_std = _moments(volume, inside)
        scale = std / bent_std.clamp_min(LEAST_SPREAD)
        scale, mean = (-scale, end - mean) if inverted else (scale, end + mean)
        volume.mul_(scale).add_(mean - bent_mean * scale)


def _inside(brain: Bool[Tensor, "X Y Z"], like: Tensor) -> Inside:
    weights = brain.to(like.dtype)
    return Inside(weights, weights.sum().clamp_min(1), torch.empty_like(weights))


def _mean(volume: Float[Tensor, "X Y Z"], inside: Inside) -> Float[Tensor, ""]:
    return torch.mul(volume, inside.weights, out=inside.room).sum() / inside.voxels


def _moments(distance: Float[Tensor, "X Y Z"], inside: Inside) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Returns mean and standard deviation inside the brain of distances from the end of a range.

    From the sums of them and of their squares: measured from there, the mean is some standard deviations, not
    thousands, and the squares lose no digits to it.
    """
    weighed = torch.mul(distance, inside.weights, out=inside.room)
    mean = weighed.sum() / inside.voxels
    return mean, (weighed.mul_(distance).sum() / inside.voxels - mean.square()).clamp_min(0).sqrt()


def _bernstein(n: int, like: Tensor) -> Float[Tensor, "n 3"]:
    """Returns the Bernstein polynomials of degree two at n places from 0 to 1."""
    t = torch.linspace(0, 1, n, dtype=like.dtype, device=like.device)
    return torch.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], dim=1)
