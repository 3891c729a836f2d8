"""Finds out why steps were skipped: the data, or the learning rate and precision.

Each sample of a step has a fault, a number that travels with the others of the step: its image is not finite, or the
loss of its micro-batch. From these, case and place follow by the sample's key, on every process alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mets3d.data.loader import Samples, rank_of
from mets3d.training.progress import Progress
from mets3d.wording import agreed, counted

LOSS, IMAGE = 1.0, 2.0
NAMED_AFTER = 3  # skipped steps
AUGMENTED = "where augmentation made it so, as the lines of these steps say, narrow its ranges under `augment`"


def faults_of(image: Float[Tensor, "B C X Y Z"], loss: Float[Tensor, ""]) -> Float[Tensor, " B"]:
    """Returns the fault of each sample of a micro-batch: IMAGE, LOSS or 0. It stays on the device."""
    # The sum is finite where all values are, and needs one pass and no copy of the image.
    whole = torch.isfinite(image.sum((1, 2, 3, 4)))
    return torch.where(whole, torch.where(torch.isfinite(loss), 0.0, LOSS), IMAGE)


def fault_name(index: int) -> str:
    """Returns the name of the fault of sample `index` of the global batch among the numbers of a step."""
    return f"fault/{index}"


@dataclass(frozen=True)
class Fault:
    """A sample that made a step fail, and whether its image is what was not finite."""

    index: int
    case: str
    origin: tuple[int, int, int]
    rank: int
    image: bool


@dataclass(frozen=True)
class Skipped:
    """A skipped step, counted from 0, and its faulty samples: those with a bad image, or else those of a bad loss.

    gradient: there were none, so that the gradient was not finite; it may be that of any sample of the batch.
    """

    step: int
    faults: tuple[Fault, ...]
    gradient: bool = False

    @property
    def data(self) -> bool:
        """Returns whether an image was not finite."""
        return any(fault.image for fault in self.faults)

    @property
    def cases(self) -> list[str]:
        """Returns the cases of the faulty samples, each once."""
        return sorted({fault.case for fault in self.faults})

    def __str__(self) -> str:
        samples = ", ".join(f"{f.case} from voxel {f.origin} (sample {f.index}, rank {f.rank})" for f in self.faults)
        if self.data:
            why = f"the image is not finite of {samples}"
        elif not self.gradient:
            why = f"the images are finite, the loss is not, of the micro-batch with {samples}"
        else:
            why = f"images and loss are finite, the gradient is not, of the batch with {samples}"
        return f"step {self.step + 1} skipped, it changed no weight: {why}"


def take_faults(numbers: dict[str, float]) -> dict[int, float]:
    """Takes the faults out of the numbers of a step; returns those of samples that have one, by index."""
    names = [name for name in numbers if name.startswith(fault_name(0)[:-1])]
    found = {int(name.rpartition("/")[2]): numbers.pop(name) for name in names}
    return {index: fault for index, fault in found.items() if fault > 0}


def explain(step: int, faults: Mapping[int, float], samples: Samples, split: Mapping[str, int]) -> Skipped:
    """Returns what made a step fail. split: batch_size, processes and accumulation of the launch."""
    # The mean over processes has divided the numbers.
    image = {index: fault * split["processes"] > (LOSS + IMAGE) / 2 for index, fault in faults.items()}
    chosen = [index for index, bad in image.items() if bad] or list(image) or range(split["batch_size"])
    found = []
    for index in chosen:
        case, origin = samples.place((step, index))
        found.append(Fault(index, case.name, origin, rank_of(index, **split), image.get(index, False)))
    return Skipped(step, tuple(found), gradient=not faults)


def in_store(skipped: Skipped, samples: Samples) -> list[str]:
    """Says for each bad image whether the store holds it, or augmentation made it. Raises OSError for a lost file."""
    lines = []
    for fault in skipped.faults:
        if fault.image:
            bad = int((~torch.isfinite(samples[skipped.step, fault.index]["image"])).sum())
            where = (
                f"{counted(bad, 'value')} there {agreed(bad, 'is', 'are')} NaN or infinite in the store"
                if bad
                else "augmentation made it so"
            )
            lines.append(f"  {fault.case} from voxel {fault.origin}: {where}")
    return lines


def count(progress: Progress, skipped: Skipped) -> None:
    """Adds a skipped step to the counts of a run."""
    progress.diverged += not skipped.data
    counts = progress.bad_images if skipped.data else progress.suspects
    for case in skipped.cases:
        counts[case] = counts.get(case, 0) + 1


def named_cases(progress: Progress) -> list[str]:
    """Names the cases that caused at least three skipped steps, each with what to do.

    A case with finite images is a suspect only if it belongs to every step that failed with finite images.
    """
    lines = [
        f"{case} caused {counted(times, 'skipped step')}: its image is not finite. Look at it with `mets3d "
        "check` and preprocess "
        f"again, or leave the case out; {AUGMENTED}"
        for case, times in sorted(progress.bad_images.items())
        if times >= NAMED_AFTER
    ]
    return lines + [
        f"{case} belongs to all {times} steps that were skipped with finite images: look at its intensities"
        for case, times in sorted(progress.suspects.items())
        if times >= NAMED_AFTER and times == progress.diverged
    ]


def verdict(row: Sequence[Skipped]) -> str:
    """Returns whether the data or learning rate and precision ended a run, from the skipped steps in a row."""
    steps = sum(skipped.data for skipped in row)
    if 2 * steps > len(row):
        cases = sorted({case for skipped in row if skipped.data for case in skipped.cases})
        return (
            f"It is the data: in {steps} of them an image is not finite, of {', '.join(cases)}. Look at them with "
            f"`mets3d check` and preprocess again, or leave the cases out; {AUGMENTED}"
        )
    cases = sorted({case for skipped in row for case in skipped.cases})
    among = f", among them of {counted(len(cases), 'case')}" if cases else ""
    return (
        f"It is the learning rate or the precision: the images are finite in {len(row) - steps} of them{among}. Lower "
        "optim.lr, or try --precision=no; train.debug_non_finite=true names the first layer"
    )
