"""Trains the base loss and the base loss with each boundary term on the same heads, and asks which is better.

    .venv/bin/python benchmarks/study.py data                        # once
    .venv/bin/python benchmarks/study.py all --arms inner --jobs 2   # weights of the terms, on the inner split
    .venv/bin/python benchmarks/study.py weights                     # benchmarks/results/study/weights.json
    .venv/bin/python benchmarks/study.py all --jobs 2                # the study; resumable
    .venv/bin/python benchmarks/study.py table                       # docs/study.md

Subcommands, all with `--work DIR` (default runs/study):

    data            30 + 10 heads to train on and 40 to be scored, at 1.5 mm, and their store
    run ARM SEED    one training, its predictions of the held-out heads and their scores: results/ARM-SEED/
    all             every run of `--arms` that has no result yet, seed after seed; by default the study without `inner`
                    arms; before them the starts, until so many seeds have one that counts
    weights         chooses the weight of each term by the runs on the inner split
    table           keeps the results in benchmarks/results/study and writes what docs/study.md shows
    arms            lists the arms

A run that was killed goes on from its checkpoint. Each process has one thread. Results of another machine are taken
over by copying their folders into benchmarks/results/study. docs/study.md says what is compared, and how to ask the
same of BraTS-METS.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # train.py, and the package where it is not installed

from study_arms import TRIED_SEEDS, arms, start_of
from study_data import Place, make_data
from study_run import Request, counts, finish, finish_all

ARMS = arms()
INNER = "inner"


def main() -> int:
    options = _options()
    place = Place(options.work)
    start = time.time()
    if options.command == "arms":
        for name, arm in ARMS.items():
            print(f"{name:28} {arm.seeds} seeds  {arm.mode:8} {arm.what}")
        return 0
    if options.command in ("table", "weights"):
        import study_table

        return study_table.choose_weights(place) if options.command == "weights" else study_table.make_tables(place)
    make_data(place, jobs=options.jobs, tiny=options.tiny)
    if options.command == "data":
        return 0
    until = start + 60 * options.minutes if options.minutes else None

    def request(name: str, seed: int) -> Request:
        return Request(place, name, ARMS[name], seed, options.device, until, options.tiny)

    if options.command == "run":
        return finish(request(options.arm, options.seed))
    return _finish_arms(_chosen(options.arms), request, options.jobs)


def _finish_arms(names: Sequence[str], request: Callable[[str, int], Request], jobs: int) -> int:
    """Finishes the starts of arms until enough seeds count, then the arms. Returns the exit code."""
    needed: dict[str, int] = {}  # by mode
    for name in names:
        needed[ARMS[name].mode] = max(needed.get(ARMS[name].mode, 0), ARMS[name].seeds)
    counted: dict[str, list[int]] = {mode: [] for mode in needed}
    tried = dict(needed)
    while short := [mode for mode in needed if len(counted[mode]) < needed[mode]]:
        starts = [request(start_of(mode), seed) for mode in short for seed in range(tried[mode])]
        if finish_all(starts, jobs):
            return 1
        for mode in short:
            counted[mode] = [each.seed for each in starts if each.arm.mode == mode and counts(each)][: needed[mode]]
            print(f"{mode}: of {tried[mode]} seeds {len(counted[mode])} count, {counted[mode]}", flush=True)
            tried[mode] += needed[mode] - len(counted[mode])
            if tried[mode] > TRIED_SEEDS:
                raise SystemExit(
                    f"{mode}: {needed[mode]} of {TRIED_SEEDS} starts were to learn every region; too few did"
                )
    # Seed after seed, so that what is finished is a whole comparison at any time.
    wanted = [
        request(name, counted[ARMS[name].mode][place])
        for place in range(max(needed.values()))
        for name in names
        if ARMS[name].depth and place < ARMS[name].seeds
    ]
    return finish_all(wanted, jobs)


def _chosen(words: list[str] | None) -> list[str]:
    """Returns the arms that are named, `inner` being those of the inner split; None: all others."""
    inner = [name for name, arm in ARMS.items() if arm.inner]
    if words is None:
        return [name for name in ARMS if name not in inner]
    unknown = [word for word in words if word not in ARMS and word != INNER]
    if unknown:
        raise SystemExit(f"--arms: {', '.join(unknown)}: expected {', '.join([INNER, *ARMS])}")
    return list(dict.fromkeys(name for word in words for name in (inner if word == INNER else [word])))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("data", "run", "all", "weights", "table", "arms"):
        command = commands.add_parser(name)
        command.add_argument("--work", type=Path, default=Path("runs/study"), metavar="DIR", help="folder to work in")
        if name in ("weights", "table", "arms"):
            continue
        if name == "run":
            command.add_argument("arm", choices=ARMS, metavar="ARM")
            command.add_argument("seed", type=int)
        if name == "all":
            command.add_argument("--arms", nargs="+", metavar="ARM", help="names, or `inner`")
        command.add_argument("--jobs", type=int, default=1, help="processes")
        command.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
        command.add_argument("--minutes", type=float, help="begin nothing later than this, and stop what runs")
        command.add_argument("--tiny", action="store_true", help="a few small cases and steps, to try the whole line")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
