"""The long form of the fault tests, a line or a cell of a table for each fault made.

`python -m tests.faults day` has every stage meet every fault, `steps` makes very many steps; `kills`, `damage` and
`stops` are about training alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import tests.environment  # noqa: F401 - before anything that reads the environment

STAGES = ("preprocess", "train", "predict", "evaluate", "report")


def main() -> int:
    """Makes the faults of a table; 1 if anything is lost in it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("table", choices=("day", "steps", "kills", "damage", "stops"))
    parser.add_argument("--stride", type=int, default=1, help="of kills and refusals, make every Nth alone")
    parser.add_argument("--stage", choices=STAGES, help="of the day, this stage alone")
    parser.add_argument("--fault", default="", help="of the day, the faults alone that have these words")
    parser.add_argument("--jobs", type=int, default=2, help="of the day, so many kinds of fault at once")
    parser.add_argument("--steps", type=int, default=100_000, help="how many are made")
    parser.add_argument("--minutes", type=float, default=60, help="of the steps, the longest time they may take")
    parser.add_argument("--store", type=Path, help="a store to train on; by default one of phantoms is made")
    parser.add_argument("--json", action="store_true", help="of the kills, print one JSON object a line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mets3d-faults-") as name:
        folder = Path(name)
        store = options.store or _phantoms(folder)
        if options.table in ("day", "steps"):
            return _of_every_stage(options, store, folder)
        if options.table == "stops":
            from tests.faults.stops import table

            return table(store, folder)
        if options.table == "damage":
            from tests.faults.damage import damage_table

            return damage_table(store, folder)
        return _kills(options, store, folder)


def _of_every_stage(options: argparse.Namespace, store: Path, folder: Path) -> int:
    if options.table == "steps":
        from tests.faults.steps import many_steps

        return many_steps(store, folder, options.steps, 60 * options.minutes)
    from tests.faults.day import day

    return day(store, folder, stride=options.stride, stage=options.stage, words=options.fault, jobs=options.jobs)


def _kills(options: argparse.Namespace, store: Path, folder: Path) -> int:
    from tests.faults.kills import SCENARIOS, sweep

    started, bad, count = time.monotonic(), 0, 0
    for scenario in SCENARIOS:
        place = folder / scenario.name
        place.mkdir()
        for outcome in sweep(store, place, scenario, stride=options.stride):
            count += 1
            bad += bool(outcome.faults)
            if options.json:
                print(json.dumps(asdict(outcome)), flush=True)
            else:
                said = "; ".join(outcome.faults) or "nothing lost"
                print(f"{outcome.scenario:9} {outcome.number:4}  {outcome.place:90}  {said}", flush=True)
    print(f"{count} kills, {bad} lost something, {time.monotonic() - started:.0f} s", file=sys.stderr)
    return int(bad > 0)


def _phantoms(folder: Path) -> Path:
    from mets3d.config import Data, Preprocess
    from mets3d.data.preprocess import preprocess
    from mets3d.phantoms.synth import synthesise
    from tests.builders.cases import PHANTOM_SHAPE, PHANTOM_SPACING

    synthesise(folder / "data", 6, 5, shape=PHANTOM_SHAPE, spacing_mm=PHANTOM_SPACING)
    preprocess(folder / "data", folder / "store", Preprocess(spacing_mm=PHANTOM_SPACING), data=Data())
    return folder / "store"


if __name__ == "__main__":
    raise SystemExit(main())
