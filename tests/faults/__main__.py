"""The long form of the fault tests: python -m tests.faults kills [--stride N]; a line for each fault that is made."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import tests.environment  # noqa: F401 - before anything that reads the environment


def main() -> int:
    """Runs the table that is asked for; 1 if anything is lost in it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("table", choices=sorted(TABLES))
    parser.add_argument("--stride", type=int, default=1, help="make every Nth kill alone")
    parser.add_argument("--store", type=Path, help="a store to train on; by default one of phantoms is made")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mets3d-faults-") as folder:
        return TABLES[options.table](options, Path(folder))


def kills(options: argparse.Namespace, folder: Path) -> int:
    """A training killed at each of its file-system operations."""
    from tests.faults.kills import SCENARIOS, sweep

    store = options.store or _phantoms(folder)
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
                said = "; ".join(outcome.faults) or "equal"
                print(f"{outcome.scenario:9} {outcome.number:4}  {outcome.place:90}  {said}", flush=True)
    print(f"{count} kills, {bad} lost something, {time.monotonic() - started:.0f} s", file=sys.stderr)
    return int(bad > 0)


def _phantoms(folder: Path) -> Path:
    from mets3d.config import Preprocess
    from mets3d.data.preprocess import preprocess
    from mets3d.phantoms.synth import synthesise
    from tests.builders.cases import PHANTOM_SHAPE, PHANTOM_SPACING

    synthesise(folder / "data", 6, 5, shape=PHANTOM_SHAPE, spacing_mm=PHANTOM_SPACING)
    preprocess(folder / "data", folder / "store", Preprocess(spacing_mm=PHANTOM_SPACING), cavity=False)
    return folder / "store"


TABLES = {"kills": kills}

if __name__ == "__main__":
    raise SystemExit(main())
