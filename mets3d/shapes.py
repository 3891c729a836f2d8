"""Defines the axis alphabet, tensor aliases and the one output type of every network mode.

B batch, C sequence (input channel), R region or label channel, X Y Z voxels, Q query, N token, E embedding, L lesion.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from mets3d.products import mix

Image = Float[Tensor, "B C X Y Z"]
Logits = Float[Tensor, "B R X Y Z"]
Probabilities = Float[Tensor, "B R X Y Z"]
Masks = Bool[Tensor, "B R X Y Z"]
MaskLogits = Float[Tensor, "B Q X Y Z"]
Keys = Int64[Tensor, " B"]  # of samples, for `mets3d.ops.keyed`
QueryClasses = Literal["product", "claimed"]


def raised(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Returns half types as fp32, and fp32 and fp64 as they are."""
    return values if values.dtype == torch.float64 else values.float()


class Lesions(NamedTuple):
    """The lesion that each voxel of a region belongs to, 0 outside; on the host the largest number is known."""

    numbers: Integer[Tensor, "B R X Y Z"]
    most: int


@dataclass(frozen=True)
class QueryOutput:
    """One prediction of the query decoder."""

    class_logits: Float[Tensor, "B Q K"]  # K = R + 1, last column: no object
    mask_embedding: Float[Tensor, "B Q E"]


@dataclass(frozen=True)
class PixelEmbedding:
    """A per-voxel embedding [B, E, X, Y, Z], kept as the 1x1x1 convolution of fewer channels that makes it.

    The product of a mask embedding with it, sum_e m_e (W f + b)_e, equals (m W) f + m b: with 32 features and 192
    embedding channels that is six times less arithmetic, and the embedding itself is never stored.
    """

    features: Float[Tensor, "B C X Y Z"]
    weight: Float[Tensor, "E C"]
    bias: Float[Tensor, " E"]

    @cached_property
    def tensor(self) -> Float[Tensor, "B E X Y Z"]:
        """Makes the embedding itself, on first use, in fp32 (fp64 stays)."""
        with torch.autocast(self.features.device.type, enabled=False):
            dense = torch.einsum("ec,bcxyz->bexyz", raised(self.weight), raised(self.features))
            return dense + raised(self.bias)[:, None, None, None]

    def product(self, mask_embedding: Float[Tensor, "B Q E"]) -> MaskLogits:
        """Returns the mask logits of queries in fp32 (fp64 stays)."""
        with torch.autocast(self.features.device.type, enabled=False):
            embedding = raised(mask_embedding)
            folded = embedding @ raised(self.weight)
            masks = mix(folded, raised(self.features).flatten(2))
            masks += (embedding @ raised(self.bias))[..., None]  # in place: the product is not needed again
            return torch.unflatten(masks, 2, self.features.shape[2:])


@dataclass
class SegOutput:
    """The output of every network mode. Full-resolution products are made on first use, in fp32, and kept.

    logits: full-resolution head of the CNN, or None in the query modes.
    deep: logits at 1/2, 1/4, ... resolution, finest first; empty without deep supervision.
    queries: predictions of the query decoder from the raw queries to the final one; empty without a query decoder.
    """

    activation: Literal["sigmoid", "softmax"]
    logits: Logits | None = None
    deep: tuple[Tensor, ...] = ()
    queries: tuple[QueryOutput, ...] = ()
    pixels: PixelEmbedding | None = None
    _mask_logits: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @property
    def pixel_embedding(self) -> Float[Tensor, "B E X Y Z"] | None:
        """Returns the per-voxel embedding; None without a query decoder."""
        return None if self.pixels is None else self.pixels.tensor

    def mask_logits(self, index: int) -> MaskLogits:
        """Returns the mask logits of prediction `index`, [B, Q, X, Y, Z]; -1 is the final prediction.

        Raises ValueError for an output without a query decoder.
        """
        if self.pixels is None:
            raise ValueError("mask_logits: this output has no query decoder; use logits")
        index = range(len(self.queries))[index]
        if index not in self._mask_logits:
            self._mask_logits[index] = self.pixels.product(self.queries[index].mask_embedding)
        return self._mask_logits[index]

    @cached_property
    def probabilities(self) -> Probabilities:
        """Makes the region probabilities in [0, 1] that losses use, fp32 (fp64 stays).

        Sigmoid of the logits for regions, softmax for labels. In query modes the sum over queries of class probability
        times mask probability. It can exceed 1, as it does nearly everywhere at random initialisation. It is bounded in
        value, and the gradient passes as if it were not: otherwise such voxels could never be corrected. Regions are
        clamped; labels, which exclude each other, are divided by their sum where that exceeds 1, as a clamp would make
        two of them equal and change which is the likeliest.
        """
        if not self.queries:
            assert self.logits is not None
            logits = raised(self.logits)
            return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(1)
        score = self.score
        return score + (self._bounded(score) - score).detach()

    def region_probabilities(self, classes: QueryClasses = "product") -> Probabilities:
        """Returns the probabilities in [0, 1] that prediction uses: `probabilities`, or with `claimed` other weights.

        The product counts a doubt about the class as a doubt about every voxel. A query with class probability 0.45
        brings a mask of 0.95 down to 0.43, below any default threshold, and the lesion is lost whole. `claimed` takes
        the classes as decided: a query claims its most likely class ("no object" included), and its weight is its class
        probability over the highest of those that claim the same region, so that the surest mask counts in full:
        min(1, sum_{q claims r} m_q(v) p_q(r) / max_{q' claims r} p_q'(r)). A region that no query claims, as in a
        window without it, keeps the product.

        Labels are divided by their sum where it exceeds 1, as in `probabilities`, which changes no argmax.
        """
        return self._bounded(self._claimed()) if self.queries and classes == "claimed" else self.probabilities

    def _bounded(self, scores: Float[Tensor, "B R X Y Z"]) -> Probabilities:
        """Returns scores in [0, 1]: regions clamped, labels over their sum where that exceeds 1."""
        if self.activation == "sigmoid":
            return scores.clamp(max=1)
        return scores / scores.sum(1, keepdim=True).clamp(min=1)

    def _claimed(self) -> Float[Tensor, "B R X Y Z"]:
        weights = self._class_probabilities()
        regions = weights[..., :-1]
        claims = weights.argmax(-1, keepdim=True) == torch.arange(regions.shape[-1], device=regions.device)
        highest = torch.where(claims, regions, 0).amax(1, keepdim=True)
        claimed = torch.where(claims, regions / highest.clamp_min(torch.finfo(regions.dtype).tiny), 0)
        return self._weighted_masks(torch.where(highest > 0, claimed, regions))

    @property
    def score(self) -> Float[Tensor, "B R X Y Z"]:
        """Sums over the queries the product of class probability (without "no object") and mask probability."""
        return self._weighted_masks(self._class_probabilities()[..., :-1])

    def _class_probabilities(self) -> Float[Tensor, "B Q K"]:
        with torch.autocast(self.queries[-1].class_logits.device.type, enabled=False):
            return raised(self.queries[-1].class_logits).softmax(-1)

    def _weighted_masks(self, weights: Float[Tensor, "B Q R"]) -> Float[Tensor, "B R X Y Z"]:
        with torch.autocast(weights.device.type, enabled=False):
            masks = self.mask_logits(-1)
            return torch.unflatten(mix(weights.transpose(1, 2), masks.sigmoid().flatten(2)), 2, masks.shape[2:])
