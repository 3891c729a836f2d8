"""Makes the pages of the reference that follow from the code, as Markdown: settings, commands, files, columns."""

from __future__ import annotations

import argparse
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence

from mets3d import rundir
from mets3d.columns import Column
from mets3d.config.dump import to_yaml
from mets3d.config.keys import help_text, kinds, leaves
from mets3d.evaluation.lesion_columns import LESIONS_TABLE
from mets3d.evaluation.rules import RULE_SETS
from mets3d.evaluation.scores import BY_SIZE, KEY_COLUMNS, SCORES, TEXT_COLUMNS, Score
from mets3d.inference.note_fields import NOTE_FIELDS
from mets3d.log_names import EVERY_LINE, fields_of_train, fields_of_validation
from mets3d.settings import Config, Section
from mets3d.settings.effects import RULES
from mets3d.verbs.table import Verb, parser_of, verb_table

# ---------------------------------------------------------------- settings


def settings_page() -> str:
    """Returns a table of every setting with its kind, default and meaning, and when some of them act."""
    rows = list(leaves())
    sections = {field.alias or name: field for name, field in Config.model_fields.items()}
    parts = [
        "# Settings",
        (
            f"All {len(rows)} settings. In a file they are YAML, a section a block; on the command line they are "
            "`--section.key=value`, one word, where lists have brackets: `--data.patch=[96,96,64]`. `null` is none. "
            "`mets3d train --config base --print-config` prints the same as a file."
        ),
        "## Without a section",
        _settings_table(key for key, _, _ in rows if "." not in key),
    ]
    for name, field in sections.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            meaning = field.description or ""
            parts += [f"## {name}", f"{meaning[:1].upper()}{meaning[1:]}."]
            parts += [_settings_table(key for key, _, _ in rows if key.startswith(f"{name}."))]
    return "\n\n".join([*parts, *_effects()]) + "\n"


def _settings_table(keys: Iterable[str]) -> str:
    kind_of = kinds()
    known = {key: (default, meaning) for key, default, meaning in leaves()}
    rows = [
        (f"`{key}`{{ #{key} }}", _code(kind_of[key]), _code(_plain(known[key][0])), _text(known[key][1]))
        for key in keys
    ]
    return _table(("setting", "kind", "default", "meaning"), rows)


def _effects() -> Iterator[str]:
    yield "## Settings that act under a condition"
    yield (
        "A setting that differs from its default and has no effect is said in a line when a training starts. `*` "
        "stands for all that begin so."
    )
    rows = [
        (", ".join(f"`{key}`" for key in rule.keys), f"no effect {_text(rule.why.replace('{', '').replace('}', ''))}")
        for rule in RULES
    ]
    yield _table(("settings", "have"), rows)


def _plain(value: object) -> str:
    """Returns a default as the command line would have it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_plain(part) for part in value) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# ---------------------------------------------------------------- commands


def commands_page() -> str:
    """Returns a section for every verb with its usage and arguments, and one for train.py."""
    verbs = verb_table()
    parsers = _subparsers(parser_of(verbs))
    parts = [
        "# Commands",
        (
            "`mets3d VERB --help` prints the same; `python -m mets3d` is the same command. "
            "[Exit codes](exit-codes.md) are 0, 1 and 2 for all of them."
        ),
        _table(("verb", "does"), [(f"[`{name}`](#{name})", _text(verb.SUMMARY)) for name, verb in verbs.items()]),
    ]
    for name, verb in verbs.items():
        parts += _verb(name, verb, parsers[name])
    start, _, _ = help_text("train.py").partition("\n  --name=")
    parts += [
        "## train.py {#train.py}",
        (
            "Trains in the process that calls it, as `accelerate launch` does; `mets3d train` starts it through a "
            "launcher that passes signals on. Every [setting](settings.md) is an option."
        ),
        _block(start.strip()),
    ]
    return "\n\n".join(parts) + "\n"


def _verb(name: str, verb: Verb, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## {name}"
    yield f"{verb.SUMMARY[:1].upper()}{_text(verb.SUMMARY[1:])}."
    yield _block(_usage(parser))
    rows = [(_invocation(action), _help(parser, action)) for action in parser._actions if action.dest != "help"]
    if parser.epilog:
        words, _, meaning = parser.epilog.partition("  ")
        rows.append((f"`{words.strip()}`", _text(meaning)))
    yield _table(("argument", "meaning"), rows)


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    choices = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(choices or {})


def _usage(parser: argparse.ArgumentParser) -> str:
    """Returns the usage, wrapped alike whatever the width of a terminal is."""
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=96)  # type: ignore[assignment]
    usage = parser.format_usage().removeprefix("usage: ")
    return re.sub(r"\n +", "\n    ", usage).strip()


def _invocation(action: argparse.Action) -> str:
    formatter = argparse.HelpFormatter("mets3d")
    return f"`{formatter._format_action_invocation(action)}`"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = argparse.HelpFormatter(parser.prog)
    return _text(formatter._expand_help(action) if action.help else "")


# ---------------------------------------------------------------- files


def files_page() -> str:
    """Returns the files of a run, of its parts and of what is made from it, as `mets3d.rundir` defines them."""
    parts = [
        "# Files",
        (
            "What is written, and where. All of it is whole or absent: a file gets its name once its content is on the "
            "disk. Text is UTF-8, tables are CSV with a header, numbers have full precision. "
            "`mets3d/rundir.py` is the one place with these names; this page is made from it."
        ),
        "## A run directory",
        _layout(rundir.__doc__ or ""),
    ]
    titles = {
        "CheckpointDir": "A checkpoint",
        "ValidationDir": "A validation",
        "PredictionsDir": "A folder of predictions",
        "ExportDir": "An exported folder",
        "ReportDir": "A report",
        "ExploreDir": "The page of a data set",
    }
    for name, title in titles.items():
        kind = getattr(rundir, name)
        layout = _layout(inspect.getdoc(kind) or "")
        parts += [f"## {title}", f"{_first_sentence(kind)}", layout or _names(kind)]
    return "\n\n".join([*parts, *_configuration()]) + "\n"


def _layout(docstring: str) -> str:
    """Returns the table of files in a docstring as a block: its paragraph whose lines have two columns."""
    for paragraph in docstring.split("\n\n"):
        lines = [line for line in paragraph.splitlines() if not line.endswith("/")]  # the folder itself
        if len([line for line in lines if re.search(r"\S {2,}\S", line)]) > 1:
            return _block(textwrap.dedent("\n".join(lines)))
    return ""


def _names(kind: type) -> str:
    found = [value.name for value in vars(kind).values() if isinstance(value, rundir.Inside)]
    return ", ".join(f"`{name}`" for name in found)


def _first_sentence(kind: type) -> str:
    return _text((inspect.getdoc(kind) or "").partition("\n")[0])


def _configuration() -> Iterator[str]:
    yield "## A configuration"
    yield (
        "`config.yaml` of a run, and what `--config` reads. Every key may be left out but those that a file above it "
        "names; `base:` is a file that this one is laid over. The complete one, with the defaults:"
    )
    yield _block(to_yaml(Config()).rstrip())


# ---------------------------------------------------------------- scores


def scores_page() -> str:
    """Returns every column of scores.csv with its name, unit, meaning, direction and the rule sets that give it."""
    names = [rules.name for rules in RULE_SETS]
    rows = [
        (f"`{score.column}`", score.name, score.unit, score.meaning, score.better or "", _given(score, names))
        for score in SCORES
    ]
    parts = [
        "# Columns of scores.csv",
        (
            "One row a case and region, and no summary rows. No value is an empty cell. How the rule sets differ is in "
            "[evaluation](../evaluation.md)."
        ),
        "## Text",
        _columns("column", (*KEY_COLUMNS, *TEXT_COLUMNS)),
        "## Scores",
        _table(
            ("column", "name", "unit", "meaning", "better is", "rule sets"),
            ([_text(cell) for cell in row] for row in rows),
        ),
        "## By size of the lesion",
        (
            "CLASS is `below_2`, `2_to_27`, `27_to_100`, `100_to_275` or `from_275`, in mm³, or as `--size-edges` "
            "parts them. All rule sets give these columns."
        ),
        _columns("column", (Column(f"{score.column}_CLASS", f"{score.meaning}; in this class") for score in BY_SIZE)),
    ]
    return "\n\n".join(parts) + "\n"


def columns_page() -> str:
    """Returns every column of lesions.csv and every field of metrics.jsonl and predict.json, with unit and meaning."""
    parts = [
        "# Columns and fields",
        "What the files of a run hold, made from what writes them. [scores.csv](scores.md) has a page of its own.",
        "## lesions.csv",
        "One row a lesion of the reference, and one a false lesion, in each case and region.",
        _columns("column", LESIONS_TABLE),
        "## metrics.jsonl",
        (
            "One JSON object a line. A number that is not finite is `null`. Words in capitals stand for what the run "
            "has there: LABEL for each region, or each label of a softmax; TERM for the name of a boundary term."
        ),
        "### Every line",
        _columns("field", EVERY_LINE),
        "### A line of a training step",
        _columns("field", fields_of_train()),
        "### A line of a validation",
        (
            "What the rules give no value is left out. `all/` stands where all cases are scored beside a subset "
            "(`validate.all_every`)."
        ),
        _columns("field", fields_of_validation()),
        "## predict.json",
        "One JSON object in a folder of predictions. It is there from the start and complete after the last case.",
        _columns("field", NOTE_FIELDS),
    ]
    return "\n\n".join(parts) + "\n"


def _columns(head: str, columns: Iterable[Column]) -> str:
    rows = ((f"`{column.name}`", _text(column.unit), _text(column.meaning)) for column in columns)
    return _table((head, "unit", "meaning"), rows)


def _given(score: Score, names: Sequence[str]) -> str:
    given = [rules.name for rules in RULE_SETS if score.given_by(rules)]
    return "all" if given == list(names) else ", ".join(given)


# ---------------------------------------------------------------- Markdown


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _block(text: str) -> str:
    return f"```text\n{text}\n```"


def _code(text: str) -> str:
    return f"`{text}`"


def _text(text: str) -> str:
    """Escapes what Markdown would read as something else."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else re.sub(r"([|<*_\[\]])", r"\\\1", part) for part in parts)


PAGES: dict[str, Callable[[], str]] = {
    "reference/settings.md": settings_page,
    "reference/commands.md": commands_page,
    "reference/files.md": files_page,
    "reference/scores.md": scores_page,
    "reference/columns.md": columns_page,
}
