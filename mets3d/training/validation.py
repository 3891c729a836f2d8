"""Scores whole held-out cases, window by window; the cases are shared over the processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mets3d.config import Config
from mets3d.data.store import Store
from mets3d.inference.sliding import window_probabilities
from mets3d.regions import Target
from mets3d.training.stop import StopWish


class HeldOutCases:
    """The mean whole-volume Dice of each region over the held-out cases, on the store's grid.

    Dice of a case is 1 where prediction and reference are both empty and 0 where one of them is.
    """

    def __init__(self, config: Config, accelerator: Accelerator, store: Store, cases: Sequence[str]):
        self.config, self.accelerator, self.store = config, accelerator, store
        self.target = Target(config.data.target, config.data.cavity)
        self.cases = list(cases)[: config.validate_.cases]

    def __call__(self, network: nn.Module, wish: StopWish) -> Mapping[str, float] | None:
        """Returns `dice/REGION` and `dice/mean`, empty without a case; None if a signal or an error came.

        All ranks call it. An error is kept in `wish`, so that no other rank waits for the one that has it.
        """
        regions = [region.name for region in self.target.regions]
        device = self.accelerator.device
        sums = torch.zeros(len(regions) + 2, device=device)  # Dice of each region, cases, interrupted ranks
        for name in self.cases[self.accelerator.process_index :: self.accelerator.num_processes]:
            if not wish:
                with wish.noting(Exception):
                    sums[: len(regions)] += self._dice(network, name, device)
                    sums[-2] += 1
                    continue
            sums[-1] += 1
            break
        total = self.accelerator.reduce(sums).tolist()
        if total[-1]:
            return None
        if not total[-2]:
            return {}
        means = [value / total[-2] for value in total[: len(regions)]]
        scores = {f"dice/{region}": mean for region, mean in zip(regions, means, strict=True)}
        return {**scores, "dice/mean": sum(means) / len(means)}

    def _dice(self, network: nn.Module, name: str, device: torch.device) -> Tensor:
        case = self.store.read(name)
        whole = tuple(slice(0, n) for n in case.shape)
        probabilities = window_probabilities(
            network,
            case.image(whole).to(device),
            patch=self.config.data.patch,
            overlap=self.config.predict.overlap,
            window_batch=self.config.predict.window_batch,
            query_classes=self.config.predict.query_classes,
        ).to(device)
        predicted = self.target.decode(probabilities, self.config.predict.threshold)
        labels = case.labels(whole).to(device)
        scores = []
        for region in self.target.regions:
            found, real = region.mask(predicted), region.mask(labels)
            sizes = found.sum() + real.sum()
            scores.append(torch.where(sizes > 0, 2 * (found & real).sum() / sizes.clamp_min(1), 1.0))
        return torch.stack(scores)
