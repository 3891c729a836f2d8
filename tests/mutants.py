"""Changes the code in one place at a time and counts the changes that no test sees: `make mutants`, by mutmut.

`python -m tests.mutants --each 60` draws so many changes (mutants) of each package, the same for the same seed. Each
runs with the fast tests that come through its function, in a process that has imported everything. One that lives on
is given to mypy, and then to all fast tests of the package and of what shows its results in a new process, which also
sees what is computed while a module is imported. A table says how many were killed, with Wilson's interval of the share
of all mutants, of which there are some 14,400 (`--each 0`). What was tried is kept in `runs/mutants`, a copy of the
code, until that is deleted: the command given again goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from mets3d.statistics.intervals import wilson_interval

ROOT = Path(__file__).parents[1]
MUTMUT = ROOT / "runs" / "mutmut"  # where `make mutants` installs it
COPY = ROOT / "runs" / "mutants"
# The packages, and the folders of tests that see a mutant which lives on after its own package's.
PACKAGES: dict[str, tuple[str, ...]] = {
    "losses": ("losses",),
    "ops": ("ops", "losses"),
    "evaluation": ("evaluation", "statistics", "verbs/test_evaluate.py"),
    "statistics": ("statistics", "reporting/test_*.py", "verbs"),
}
NEEDS_A_GPU = ("norm_triton", "mask_sums_triton")  # kernels whose tests carry the mark gpu, all of them
ANY = f"{wilson_interval.__module__}.x_{wilson_interval.__name__}__mutmut_1"  # a mutant, for mutmut wants one
BATCH = 40  # mutants that one call of mutmut tries
FAST = "not slow and not gpu"
# jaxtyping's own plug-in refuses a process that has imported the package before.
OPTIONS = ["-q", "-x", "-m", FAST, "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
KILLED, TYPES, LIVES = "killed by a test", "seen by mypy", "seen by nothing"
# How the tests of a mutant ended. Above 30 are mutmut's numbers, below 0 signals: of its time limit, of a crash.
LIVE, DEAD = (0, 5, 33), (1, 3, 24, 36, -24, -11, -9, -6)
Codes = dict[str, int | None]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--each", type=int, default=60, help="mutants drawn of each package; 0 takes all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=tuple(PACKAGES), help="of this package alone")
    parser.add_argument("--jobs", type=int, default=2, help="mutants that are tried at once")
    options = parser.parse_args()
    if not COPY.exists():
        copy_code()
    jobs = ("--max-children", str(options.jobs))
    run("mutmut", "run", *jobs, ANY)  # writes the mutants, and sees which tests come through which function
    results: dict[str, Counter[str]] = {}
    for package in [options.only] if options.only else PACKAGES:
        drawn = draw(codes(package), options.each, f"{options.seed}/{package}")
        for first in range(0, len(drawn), BATCH):
            now = codes(package)
            left = [name for name in drawn[first : first + BATCH] if now[name] is None]
            if left:
                run("mutmut", "run", *jobs, *left)
            say(f"{package}: {min(first + BATCH, len(drawn))} of {len(drawn)}")
        ended = codes(package)
        results[package] = Counter(outcome(package, name, ended[name]) for name in drawn)
    print(table(results))
    return 0


def copy_code() -> None:
    """Copies what git would, and tells mutmut there what to change and how to test it."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    files = [name for name in names if (ROOT / name).is_file()]
    for name in files:
        (COPY / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, COPY / name)
    settings = {
        "source_paths": ["mets3d"],
        "only_mutate": [f"mets3d/{package}/*" for package in PACKAGES],
        "do_not_mutate": [f"mets3d/ops/{name}.py" for name in NEEDS_A_GPU],
        "also_copy": sorted({name.split("/")[0] for name in files} - {"mets3d", "tests", "pyproject.toml"}),
        "process_isolation": "forkserver",
        "pytest_add_cli_args_test_selection": [f"tests/{package}" for package in PACKAGES],
        "pytest_add_cli_args": OPTIONS,
        "timeout_multiplier": 5.0,
        "timeout_constant": 20.0,  # seconds, on a machine that has much else to do
    }
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    with (COPY / "pyproject.toml").open("a", encoding="utf-8") as stream:
        stream.write(f"\n[tool.mutmut]\n{lines}")


def codes(package: str) -> Codes:
    """Returns every mutant of a package and how its tests ended, None where they were not run."""
    found: Codes = {}
    for path in sorted((COPY / "mutants" / "mets3d" / package).rglob("*.meta")):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def draw(names: Codes, count: int, seed: str) -> list[str]:
    """Returns so many of the names by chance, all of them for 0 or where there are fewer."""
    ordered = sorted(names)
    return random.Random(seed).sample(ordered, min(count, len(ordered))) if count else ordered


def outcome(package: str, name: str, code: int | None) -> str:
    """Returns what came of a mutant; one that lives on after mutmut's tests is tried further, once."""
    if code in DEAD:
        return KILLED
    if code not in LIVE:
        raise SystemExit(f"mutmut gave the exit code {code} for {name}, of which nothing is known")
    record = COPY / "tried" / f"{name}.txt"
    if not record.exists():
        difference = run("mutmut", "show", name)
        found = further(package, name)
        say(f"{found}: {difference}")
        record.parent.mkdir(exist_ok=True)
        record.write_text(f"{found}\n{difference}", encoding="utf-8")
    return record.read_text(encoding="utf-8").partition("\n")[0]


def further(package: str, name: str) -> str:
    """Gives mypy, then more fast tests than mutmut did, the code with a mutant applied."""
    changed = COPY / f"{name.rpartition('.')[0].replace('.', '/')}.py"
    changed = changed if changed.exists() else changed.with_suffix("") / "__init__.py"
    original, times = changed.read_bytes(), changed.stat()
    try:
        run("mutmut", "apply", name)
        if python("mypy", str(changed.relative_to(COPY))).returncode:
            return TYPES
        files = [str(file) for area in PACKAGES[package] for file in sorted((COPY / "tests").glob(area))]
        return KILLED if python("pytest", *OPTIONS, *files).returncode else LIVES
    finally:
        changed.write_bytes(original)
        os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))  # else mutmut mutates the file anew


def table(results: dict[str, Counter[str]]) -> str:
    """Returns a Markdown table of what came of the mutants of each package."""
    head = ("package", "drawn", KILLED, TYPES, LIVES, "killed or seen, %", "95 % interval")
    rows = [f"| {' | '.join(head)} |", "|---|" + "---|" * 6]
    for package, count in {**results, "all": sum(results.values(), Counter[str]())}.items():
        share, of = 1 - count[LIVES] / count.total(), count.total()
        low, high = wilson_interval(share, of)
        parts = " | ".join(str(count[part]) for part in (KILLED, TYPES, LIVES))
        rows.append(f"| {package} | {of} | {parts} | {100 * share:.1f} | {100 * low:.1f} to {100 * high:.1f} |")
    return "\n".join(rows)


def run(module: str, *words: str) -> str:
    """Runs a module of Python in the copy and returns what it prints; a fault of it ends this program."""
    done = python(module, *words)
    if done.returncode:
        said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        raise SystemExit(f"{module} {words[0]} ended with {done.returncode}:\n{said}")
    return done.stdout


def python(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(COPY), str(MUTMUT)]), "OMP_NUM_THREADS": "1"}
    if module == "mutmut":
        environment["PYTHONPATH"] = str(MUTMUT)  # it mutates a copy of its own, in the folder `mutants`
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, cwd=COPY, env=environment, capture_output=True, text=True, check=False)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
