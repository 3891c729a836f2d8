"""Makes of a sweep's command and a run's values the words that `train.py` gets, as W&B's agent does."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mets3d.shipped import CONFIGS, TRAIN, names_in

DEFAULT = ("${env}", "${interpreter}", "${program}", "${args}")
VARIABLE = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")

Arguments = Mapping[str, Any]
MACROS: dict[str, Callable[[Arguments], list[str]]] = {
    "${args}": lambda arguments: [f"--{key}={value}" for key, value in arguments.items()],
    "${args_no_hyphens}": lambda arguments: [f"{key}={value}" for key, value in arguments.items()],
    "${args_no_equals}": lambda arguments: [
        word for key, value in arguments.items() for word in (f"--{key}", str(value))
    ],
    "${args_no_boolean_flags}": lambda arguments: [
        f"--{key}" if value is True else f"--{key}={value}" for key, value in arguments.items() if value is not False
    ],
    "${args_json}": lambda arguments: [json.dumps(dict(arguments))],
    "${args_append_hydra}": lambda arguments: [f"+{key}={value}" for key, value in arguments.items()],
    "${args_override_hydra}": lambda arguments: [f"++{key}={value}" for key, value in arguments.items()],
}


def training_words(command: Sequence[str], arguments: Arguments) -> list[str]:
    """Returns what stands behind the program, with macros replaced; a packaged configuration is found by its path.

    A variable of the environment that is not set leaves its name, as with the agent.
    """
    words: list[str] = []
    for word in command[program_place(command) + 1 :]:
        words += MACROS[word](arguments) if word in MACROS else [_with_variables(word)]
    return [_packaged(word) for word in words]


def program_place(command: Sequence[str]) -> int:
    """Returns the position of the program in a command, -1 where it is not there."""
    places = (place for place, word in enumerate(command) if word == "${program}" or Path(word).name == TRAIN)
    return next(places, -1)


def faults_of_command(command: Any, program: Any) -> list[str]:
    """Lists what is wrong with `command` and `program`: what runs here is `train.py`, with the values of each run."""
    if not isinstance(command, (list, tuple)) or not command:
        return [f"command: expected a list of words, found {command!r:.60}"]
    words = [str(word) for word in command]
    faults = []
    if "${program}" in words and Path(str(program)).name != TRAIN:
        faults.append(f"program: expected {TRAIN}, found {program!r}")
    elif program_place(words) < 0:
        faults.append(f"command: expected {TRAIN} or ${{program}} among its words, found {' '.join(words):.80}")
    behind = words[program_place(words) + 1 :]
    known = {*MACROS, *(word for word in behind if VARIABLE.search(word))}
    unknown = [word for word in behind if word.startswith("${") and word not in known]
    if unknown:
        faults.append(f"command: {', '.join(unknown)}: no macro behind {TRAIN}; expected ${{args}}")
    elif not any(word in MACROS for word in behind):
        faults.append("command: expected ${args} among its words, for without it no run gets its values")
    return faults


def _with_variables(word: str) -> str:
    return VARIABLE.sub(lambda found: os.environ.get(found[1], found[1]), word)


def _packaged(word: str) -> str:
    """Returns the name of a packaged configuration for its path in a checkout, where that file is not there."""
    name = word.removeprefix(f"{CONFIGS}/").removesuffix(".yaml")
    absent = word.startswith(f"{CONFIGS}/") and not Path(word).is_file()
    return name if absent and name in names_in(CONFIGS) else word
