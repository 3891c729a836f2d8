"""Cost of the validation while a run trains: CPU seconds of a case, its prediction and its scores, beside a step.

    .venv/bin/python benchmarks/validation.py [--rounds 5]

The quickstart's network and phantoms, of 64x64x48 voxels of 2.75 mm. A step is loaded, augmented and made as in
training. A case is predicted by windows, without and with a mirrored copy, and scored against its reference by each
rule set, where the prediction is the reference moved by a voxel. So is a phantom of 240x240x155 voxels of 1 mm.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from harness import Run, print_table, round_robin, save, shown, spread

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for train.py

from mets3d.config import Config, load  # noqa: E402
from mets3d.data.loader import batches  # noqa: E402
from mets3d.data.preprocess import preprocess  # noqa: E402
from mets3d.data.store import Store, open_store  # noqa: E402
from mets3d.evaluation.rules import RULE_SETS  # noqa: E402
from mets3d.phantoms.synth import synthesise  # noqa: E402
from mets3d.regions import scored_regions  # noqa: E402
from mets3d.training.session import Session, open_session  # noqa: E402
from mets3d.training.step import train_step  # noqa: E402
from mets3d.training.validation import HeldOutCases, case_scores  # noqa: E402

STEP, PREDICTION, MIRRORED = "a step", "prediction of a case", "prediction of a case, one mirrored copy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="validation-") as folder:
        measures = _measured(Path(folder), options.rounds)
    rows = {name: spread(row["cpu_s"]) for name, row in measures.items()}
    print_table(f"CPU seconds, {options.rounds} rounds", ["", "s"], [[name, shown(row)] for name, row in rows.items()])
    case = rows[PREDICTION]["median"] + rows[_scoring("brats2026")]["median"]
    print(f"\na case costs {case / rows[STEP]['median']:.2f} steps")
    save("validation", "quickstart", rows, torch.device("cpu"))


def _measured(folder: Path, rounds: int) -> dict[str, Any]:
    import train

    words = [f"--data.store={folder / 'store'}", f"--output={folder}", "--track.wandb=disabled", "--train.steps=1000"]
    config = load(["--config", str(ROOT / "configs" / "quickstart.yaml"), *words])
    synthesise(folder / "data", 10, 0, shape=(64, 64, 48), spacing_mm=(2.75, 2.75, 2.75))
    synthesise(folder / "full", 1, 0)
    store, full = folder / "store", folder / "full-store"
    preprocess(folder / "data", store, config.preprocess, data=config.data)
    preprocess(folder / "full", full, Config().preprocess, data=Config().data)
    accelerator = Accelerator(cpu=True)
    with open_session(train.compose(config, accelerator), accelerator) as session:
        contestants = {
            STEP: _stepping(session),
            **_predicting(session),
            **_scorings(open_store(store)),
            **{f"{name}, 240x240x155": run for name, run in _scorings(open_store(full)).items()},
        }
        return round_robin(contestants, rounds, torch.device("cpu"))


def _stepping(session: Session) -> Run:
    loaded = batches(session.job.samples, steps=range(1000), batch_size=session.job.config.train.batch_size)
    counted = itertools.count()
    return lambda: train_step(session, next(counted), next(loaded))


def _predicting(session: Session) -> dict[str, Run]:
    validation: Any = session.job.validate
    mirrored = session.job.config.model_copy(
        update={"validate_": session.job.config.validate_.model_copy(update={"mirror": (0,)})}
    )
    case = validation.store.read(validation.cases[0])

    def predict(held_out: HeldOutCases) -> None:
        session.network.eval()
        held_out.predicted(session.network, case)
        session.network.train()

    other = HeldOutCases(mirrored, session.accelerator, validation.store, validation.cases)
    return {PREDICTION: partial(predict, validation), MIRRORED: partial(predict, other)}


def _scorings(store: Store) -> dict[str, Run]:
    case = store.read(store.cases[0])
    expected, spacing_mm = case.labels().numpy(), case.entry.stored_spacing_mm
    predicted = np.roll(expected, 1, axis=0)
    return {
        _scoring(rules.name): partial(case_scores, predicted, expected, spacing_mm, scored_regions(), rules)
        for rules in RULE_SETS
    }


def _scoring(rules: str) -> str:
    return f"scores of a case by {rules}"


if __name__ == "__main__":
    main()
