"""Trains our networks and nnU-Net v2 itself on the same hard phantoms, and each change of the recipe alone.

    .venv/bin/python -m pip install --no-deps -r benchmarks/requirements.txt    # for the arm `nnunet`
    .venv/bin/python benchmarks/recipe.py data                                  # once
    .venv/bin/python benchmarks/recipe.py all --jobs 2                          # resumable
    .venv/bin/python benchmarks/recipe.py table                                 # benchmarks/results/recipe.json

Subcommands, all with `--work DIR` (default runs/recipe):

    data            48 training and 12 held-out heads at 1.5 mm, our store, and nnU-Net's own preprocessing of them
    run ARM SEED    one training, its predictions of the held-out heads and their scores: results/ARM-SEED.json
    all             every run of `--arms` that has no result yet; by default the groups `compare` and `ablate`
    table           what docs/recipe.md shows, of the results of one or more folders and of those kept before
    arms            lists the arms and what each changes

A run that was killed goes on: ours from its checkpoint, nnU-Net's from its own. Each process has one thread. On a
machine without nnU-Net, `all --ours` makes the data anew from its key, which gives the same heads, and leaves nnU-Net
out; its results are merged by `table --work DIR HERE`. docs/recipe.md says what is compared.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # train.py, and the package where it is not installed

from recipe_arms import ARMS, GROUPS, SCALES
from recipe_data import Place, make_data
from recipe_run import Request, finish, finish_all


def main() -> int:
    options = _options()
    place = Place(options.work)
    start = time.time()
    if options.command == "arms":
        for name, arm in ARMS.items():
            print(f"{name:28} {arm.what}")
        return 0
    if options.command == "table":
        from recipe_table import make_tables

        make_tables([place, *map(Place, options.more)])
        return 0
    make_data(place, jobs=options.jobs, nnunet=not options.ours, tiny=options.tiny)
    if options.command == "data":
        return 0
    until = start + 60 * options.minutes if options.minutes else None
    if options.command == "run":
        arms, seeds = [options.arm], [options.seed]
    else:
        arms, seeds = _chosen(options.arms), options.seeds or []
    requests = [
        Request(place, arm, seed, options.device, until, options.tiny)
        for arm in arms
        if not (options.ours and ARMS[arm].side == "nnunet")
        for seed in seeds or range(SCALES[ARMS[arm].scale].seeds)
    ]
    if options.command == "run":
        return finish(requests[0])
    return finish_all(requests, options.jobs)


def _chosen(words: list[str]) -> list[str]:
    """Returns the arms of groups and names, each once. Raises SystemExit for a name that is none."""
    unknown = [word for word in words if word not in ARMS and word not in GROUPS]
    if unknown:
        raise SystemExit(f"--arms: {', '.join(unknown)}: expected {', '.join([*GROUPS, *ARMS])}")
    return list(dict.fromkeys(name for word in words for name in GROUPS.get(word, (word,))))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("data", "run", "all", "table", "arms"):
        command = commands.add_parser(name)
        command.add_argument("--work", type=Path, default=Path("runs/recipe"), metavar="DIR", help="folder to work in")
        if name == "table":
            command.add_argument("more", type=Path, nargs="*", metavar="HERE", help="more folders with results")
            continue
        if name == "run":
            command.add_argument("arm", choices=ARMS, metavar="ARM")
            command.add_argument("seed", type=int)
        if name == "all":
            command.add_argument(
                "--arms",
                nargs="+",
                default=["compare", "ablate"],
                metavar="ARM",
                help="names or groups; a third group is `long`, for a GPU",
            )
            command.add_argument("--seeds", type=int, nargs="+", help="by default those that each arm is to have")
        command.add_argument("--jobs", type=int, default=1, help="processes")
        command.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
        command.add_argument("--ours", action="store_true", help="without nnU-Net")
        command.add_argument("--minutes", type=float, help="begin nothing later than this, and stop what runs")
        command.add_argument("--tiny", action="store_true", help="a few small cases and steps, to try the whole line")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
