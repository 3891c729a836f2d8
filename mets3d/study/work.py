"""Does the work of one run in a process of its own: python -m mets3d.study.work '{"words": [...], ...}'.

It trains, or goes on, then predicts and scores the held-out cases. When the sweep dies, it gets a SIGTERM, and the
training its checkpoint.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mets3d.config import Config, Data
from mets3d.processes import signal_at_death_of_parent
from mets3d.rundir import RunDir


@dataclass(frozen=True)
class Work:
    """What a run needs: the words of `train.py`, its directory, the data set, and the launch file, None: by GPUs.

    trained: in an earlier call. test: the folder for the scores of test cases, which `data` then holds.
    """

    words: list[str]
    run: str
    data: str
    launch: str | None = None
    trained: bool = False
    test: str | None = None


def do(work: Work) -> int:
    """Trains, predicts and scores; returns the exit code. The last line that is printed says why it is not 0."""
    from mets3d.training.launcher import train

    code = 0 if work.trained else train(work.launch, work.words, program="mets3d sweep")
    if code:
        return code
    try:
        return score(Path(work.run), Path(work.data), None if work.test is None else Path(work.test))
    except (ValueError, OSError) as error:
        print(f"mets3d sweep: {error}", file=sys.stderr)
        return 1


def score(run: Path, data: Path, out: Path | None = None) -> int:
    """Predicts cases with a run and scores them; returns 1 where some cannot be predicted or scored.

    Those are the held-out cases, into the run. With `out`, a folder in the form of a run directory, all cases of the
    data set, into that.
    """
    from mets3d.console import progress_of
    from mets3d.inference.predict import predict

    place = RunDir(run if out is None else out)
    config = RunDir(run).load_config()
    reading = reading_of(config, unseen=out is not None)
    result = predict(
        run,
        data,
        None if out is None else place.predictions,
        held_out=out is None,
        on_error="skip",
        progress=progress_of("predict"),
    )
    problems = [
        *(f"{case}: {reason}" for case, reason in result.failures.items()),
        *_scored(place, config, data, reading),
    ]
    for problem in problems:
        print(f"mets3d sweep: {problem}", file=sys.stderr)
    return int(bool(problems))


def reading_of(config: Config, *, unseen: bool) -> Data:
    """Returns how the files of cases are read; of unseen ones without what is said of the training's own cases."""
    own = {"exclude": None, "overlay": None, "patients": None}
    return config.data.model_copy(update=own) if unseen else config.data


def _scored(place: RunDir, config: Config, data: Path, reading: Data) -> list[str]:
    """Writes the tables of scores by the run's rules; returns what could not be scored."""
    from mets3d.data.cases import find_cases
    from mets3d.evaluation.case import Scoring
    from mets3d.evaluation.evaluate import Tables, evaluate
    from mets3d.evaluation.folders import References
    from mets3d.files import write_text
    from mets3d.statistics.cohort import cohort_csv, cohort_table

    report = evaluate(
        place.predictions,
        References(
            data, partial(find_cases, data=reading), reading.patients, reading.labels or {}, reading.illegal_labels
        ),
        Tables(place.scores, place.lesions, place.froc),
        Scoring(config.validate_.rules, None, (2.0, 27.0, 100.0, 275.0)),
    )
    if report.rows:
        write_text(place.cohort, cohort_csv(cohort_table(report.rows, report.lesions)))
    return [str(problem) for problem in report.problems]


def main(text: str) -> int:
    """Does the work that a JSON object describes; ends with SIGTERM where the sweep is dead already."""
    if not signal_at_death_of_parent(signal.SIGTERM):
        return 128 + signal.SIGTERM
    return do(Work(**json.loads(text)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
