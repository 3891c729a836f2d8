"""Predicts cases in a pipeline: reads the next and writes the previous one during each computation.

So three cases are in memory at once, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar

from mets3d.data import Progress
from mets3d.data.cases import Case
from mets3d.inference import outputs
from mets3d.inference.channels import Channels
from mets3d.inference.decoding import decode
from mets3d.inference.decoding_plan import DecodingPlan
from mets3d.inference.ensemble import Ensemble, Loaded
from mets3d.rundir import DECODED_BY, TUNED_BY, PredictionsDir

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Reads, computes and writes cases, one of them in each step at a time."""

    ensemble: Ensemble
    plan: DecodingPlan
    folder: PredictionsDir
    recipe: str
    probabilities: bool

    def run(self, cases: Sequence[Case], progress: Progress) -> tuple[list[str], dict[str, str]]:
        """Predicts the cases. Returns the names of those that were written, and why the others were not."""
        outcome = _Outcome(len(cases), progress)
        writing: tuple[Case, Future[None]] | None = None
        with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
            coming = [reader.submit(self.read, case) for case in cases[:1]]
            for case, following in zip_longest(cases, cases[1:]):
                loaded = outcome.of(case, coming.pop().result)
                if following is not None:
                    coming.append(reader.submit(self.read, following))
                channels = None if loaded is None else outcome.of(case, self.ensemble.probabilities, loaded.prepared)
                outcome.settle(writing)
                writing = None
                if loaded is not None and channels is not None:
                    writing = case, writer.submit(self.write, case, channels, loaded)
                del loaded, channels  # the writer's alone now
            outcome.settle(writing)
        return outcome.written, outcome.failures

    def read(self, case: Case) -> Loaded:
        """Reads a case, and then removes what an earlier prediction has left of it."""
        loaded = self.ensemble.read(case)
        outputs.forget_case(self.folder, case.name)  # not before: what cannot be read costs no earlier prediction
        return loaded

    def write(self, case: Case, channels: Channels, loaded: Loaded) -> None:
        """Decodes a case and writes its files and its record, or none of them."""
        target = self.ensemble.target
        within, inside = channels.inside()
        own = self.plan.of(case.name, case.patient)
        decoded = decode(inside, target, own.decoding, loaded.spacing_mm, within=within)
        try:
            place, soft = (loaded.grid, target, loaded.spacing_mm), self.probabilities
            files = outputs.write_case(self.folder, case.name, channels, decoded, *place, probabilities=soft)
            told = {DECODED_BY: own.how, TUNED_BY: self.plan.rules}
            outputs.finish_record(self.folder, case, self.recipe, files, told)
        except BaseException:
            outputs.forget_case(self.folder, case.name)
            raise


class _Outcome:
    """Names of the cases that were written so far and reasons of those that failed, which stop no other case."""

    def __init__(self, cases: int, progress: Progress):
        self.cases, self.progress = cases, progress
        self.written: list[str] = []
        self.failures: dict[str, str] = {}

    def of(self, case: Case, step: Callable[..., Result], *arguments: Any) -> Result | None:
        """Returns what the step returns; None where it raises, and the reason is kept."""
        try:
            return step(*arguments)
        except Exception as error:
            self.failures[case.name] = _reason(error)
            self._report(case)
            return None

    def settle(self, writing: tuple[Case, Future[None]] | None) -> None:
        """Waits until a case is written."""
        if writing is None:
            return
        case, future = writing
        self.of(case, future.result)
        if case.name not in self.failures:
            self.written.append(case.name)
            self._report(case)

    def _report(self, case: Case) -> None:
        self.progress(len(self.written) + len(self.failures), self.cases, case.name)


def _reason(error: Exception) -> str:
    if isinstance(error, (ValueError, OSError)):
        return str(error)
    advice = "; lower predict.window_batch" if type(error).__name__ == "OutOfMemoryError" else ""
    return f"{type(error).__name__}: {error}{advice}"
