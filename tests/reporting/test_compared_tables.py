"""Tables of `mets3d compare`: runs become arms, score tables stay methods."""

import numpy as np
import pytest

from mets3d.__main__ import main
from mets3d.reporting.compared_tables import compared_tables

TERM = {"loss": {"boundary": "blob"}}
CASES = ("A", "B", "C", "D", "E", "F")


@pytest.fixture
def runs(make_run, scores_of):
    made, tables = [], {}
    for arm, own in (("base", {}), ("term", TERM)):
        for seed in (0, 1):
            tables[arm, seed] = scores_of(CASES, 2 * seed + (arm == "term"))
            made.append(make_run(f"{arm}{seed}", cases=CASES, scores=tables[arm, seed], settings={"seed": seed, **own}))
    return made, tables


def test_runs_become_arms_and_the_spread_over_seeds_is_printed(runs, tmp_path, capsys):
    made, tables = runs
    assert main(["compare", *map(str, made), "--scores", "dice"]) == 0
    text = capsys.readouterr().out
    assert "base: 2 runs (seeds 0, 1; fold 0)" in text
    assert text.count(" minus ") == 1 + 1  # one pair, and its ranks
    assert "loss.boundary=blob minus base" in text
    assert "no arms of one study" not in text
    by_seed = np.array([[tables["base", seed][case, "ET"]["dice"] for case in CASES] for seed in (0, 1)]).mean(1)
    (line,) = [line.split() for line in text.splitlines() if line.split()[:3] == ["base", "ET", "dice"]]
    assert line[3:5] == [f"{by_seed.mean():.3f}", f"{by_seed.std(ddof=1):.3f}"]


def test_what_differs_beyond_the_arms_is_printed(runs, make_run, scores_of, capsys):
    made, _ = runs
    longer = make_run("longer", cases=CASES, scores=scores_of(CASES, 9), settings={"train": {"steps": 80}})
    assert main(["compare", *map(str, [*made, longer]), "--scores", "dice"]) == 0
    text = capsys.readouterr().out
    assert "These are no arms of one study:" in text
    assert "different numbers of training steps (base, loss.boundary=blob: 40; train.steps=80: 80)" in text


def test_names_and_tables_keep_runs_apart(runs):
    made, _ = runs
    assert [*compared_tables(made, [*"abcd"]).scores] == [*"abcd"]
    assert [*compared_tables([run / "scores.csv" for run in made]).scores] == ["base0", "base1", "term0", "term1"]
    assert [*compared_tables(made[::2]).scores] == ["base0", "term0"]
    mixed = compared_tables([*made[:2], made[2] / "scores.csv"])
    assert [*mixed.scores] == ["base", "term0"]
    assert [*mixed.arms] == ["base"]


def test_one_arm_alone_is_refused(runs, capsys):
    made, _ = runs
    assert main(["compare", *map(str, made[:2])]) == 2
    assert "found 2 runs (seeds 0, 1; fold 0) of one" in capsys.readouterr().err
