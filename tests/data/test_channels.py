"""The channels of a network: their names, differences, what is missing, and a choice of what a store holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mets3d.config import Data, Preprocess
from mets3d.data import DataError
from mets3d.data.cases import SEQUENCES
from mets3d.data.check import check_case
from mets3d.data.fingerprint import best_threshold
from mets3d.data.loader import Samples
from mets3d.data.plan import Plan, read_plan, write_plan
from mets3d.data.prepare import prepare
from mets3d.data.preprocess import preprocess
from mets3d.data.reading import read_scan
from mets3d.data.store import Store, open_store
from mets3d.settings.channels import fault_of, sequences_of
from tests.builders.cases import make_case

SETTINGS = Preprocess()
NAMES = ("P-001-000", "P-002-000", "P-003-000")


def made(folder: Path, data: Data, missing: dict[str, tuple[str, ...]] | None = None) -> Store:
    """A store of three hand-made cases, of which some lack sequences."""
    for name in NAMES:
        make_case(folder / "data", name, volumes=dict.fromkeys((missing or {}).get(name, ())))
    preprocess(folder / "data", folder / "store", SETTINGS, data=data)
    return open_store(folder / "store", expected=(SETTINGS, data))


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        (["t1c-"], "'t1c-': expected a sequence, of letters and digits, or a difference of two"),
        (["-t1n"], "'-t1n': expected a sequence"),
        (["t1c-t1n-t2f"], "'t1c-t1n-t2f': expected a sequence"),
        (["t1 c"], "'t1 c': expected a sequence"),
        (["t1c-t1c"], "'t1c-t1c': a difference of a sequence and itself"),
        (["t1c", "foo-bar"], "'foo-bar': foo is no known sequence"),
        (["adc", "adc-dwi"], "'adc-dwi': dwi is no known sequence"),
        (["t1c", "t2f", "t1c"], "'t1c' twice"),
        (["t1c-t1n", "t1c-t1n"], "'t1c-t1n' twice"),
        (["flair"], "'flair': flair is called t2f here"),
        (["T1C"], "'T1C': T1C is called t1c here"),
        (["t1ce-t1"], "'t1ce-t1': t1ce is called t1c here"),
    ],
)
def test_bad_channels_are_refused_by_settings(channels: list[str], said: str) -> None:
    assert said in (fault_of(channels) or "")
    with pytest.raises(ValueError, match="sequences: "):
        Data(sequences=tuple(channels))


def test_channels_and_their_sequences() -> None:
    for channels in (
        SEQUENCES,
        ("t1c",),
        ("t2f", "t1c"),
        ("t1c-t1n",),
        ("adc", "t1c", "adc-t1c"),
        ("t1n-t1c", "t1c-t1n"),
    ):
        assert fault_of(channels) is None
        assert Data(sequences=channels).sequences == channels
    assert sequences_of(("t2f", "t1c-t1n", "t1c")) == ("t2f", "t1c", "t1n")


def test_a_plan_knows_differences_and_refuses_bad_names(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    plan = Plan(("t1c", "t1c-t1n"), (1.0, 1.0, 1.0), 0)
    write_plan(file, plan)
    assert read_plan(file) == plan
    file.write_text(file.read_text(encoding="utf-8").replace("t1c-t1n", "t1c-t1c"), encoding="utf-8")
    with pytest.raises(ValueError, match="sequences: expected a list of t1n"):
        read_plan(file)


# ---------------------------------------------------------------- two, derived, missing


def test_two_sequences_need_no_other(tmp_path: Path) -> None:
    data = Data(sequences=("t2f", "t1c"))
    store = made(tmp_path, data, dict.fromkeys(NAMES, ("t1n", "t2w")))
    assert store.plan.sequences == ("t2f", "t1c")
    case = make_case(tmp_path / "again", NAMES[0])
    image = store.read(NAMES[0]).image().numpy()
    assert image.shape[0] == 2
    brain = (image != 0).any(0)
    values = read_scan(case, "t1c").data[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(image[1][brain], ((values - values.mean()) / values.std()).reshape(-1), atol=2e-3)
    assert store.fingerprint["histogram"]["sequence"] == "t2f"
    assert [*store.fingerprint["intensity"]] == ["t1c", "t2f"]


def test_a_difference_is_that_of_the_normalised_sequences(tmp_path: Path) -> None:
    store = made(tmp_path, Data(sequences=("t1c", "t1c-t1n")), dict.fromkeys(NAMES, ("t2w", "t2f")))
    case = make_case(tmp_path / "again", NAMES[1])
    images = {name: read_scan(case, name) for name in ("t1n", "t1c")}
    t1n, t1c = prepare(images, None, (1.0, 1.0, 1.0), 0, cavity=False).image
    found = store.read(NAMES[1])
    np.testing.assert_array_equal(found.image()[0].numpy(), t1c)
    np.testing.assert_array_equal(found.image()[1].numpy(), (t1c.astype(np.float32) - t1n).astype(np.float16))
    assert found.entry.mean[1] is found.entry.std[1] is None
    assert [*store.fingerprint["intensity"]] == ["t1c"]
    assert store.fingerprint["histogram"]["sequence"] == "t1c"
    assert best_threshold(store.fingerprint, store.cases, [])["sequence"] == "t1c"


def test_what_is_missing_is_zero_and_recorded(tmp_path: Path) -> None:
    data = Data(sequences=("t1n", "t1c", "t2f", "t1c-t1n"), missing_sequences="zero")
    store = made(tmp_path, data, {NAMES[0]: ("t1c",), NAMES[1]: ("t2f", "t1n")})
    lacking, other, whole = (store.read(name) for name in NAMES)
    assert [case.entry.missing for case in (lacking, other, whole)] == [("t1c",), ("t1n", "t2f"), ()]
    there = [[bool(channel.any()) for channel in case.image()] for case in (lacking, other, whole)]
    assert there == [[True, False, True, False], [False, True, False, False], [True] * 4]
    assert lacking.entry.mean[1] is None
    assert store.index["cases"][NAMES[0]]["missing"] == ["t1c"]
    assert "missing" not in store.index["cases"][NAMES[2]]
    of_t1n = [store.read(name).entry.mean[0] for name in (NAMES[0], NAMES[2])]
    assert store.fingerprint["intensity"]["t1n"]["mean"] == pytest.approx(np.mean(of_t1n))  # type: ignore[arg-type]


def test_check_says_a_note_where_zeros_stand_for_what_is_missing(tmp_path: Path) -> None:
    case = make_case(tmp_path, volumes={"t1c": None, "t2w": None})
    refuse, zero = (check_case(case, Data(missing_sequences=how)) for how in ("refuse", "zero"))
    (error,) = [finding for finding in refuse if finding.what == "missing sequence"]
    (note,) = [finding for finding in zero if finding.what == "missing sequence"]
    assert (error.severity, note.severity) == ("error", "note")
    assert "t1c, t2w missing" in error.detail
    assert note.detail.endswith("zeros stand for it")
    assert not [finding for finding in zero if finding.severity == "error"]
    assert not [finding for finding in check_case(case, Data(sequences=("t1n", "t2f"))) if finding.severity != "note"]
    nothing = check_case(case, Data(sequences=("t1c", "t2w"), missing_sequences="zero"))
    assert [finding.severity for finding in nothing if finding.what == "missing sequence"] == ["error"]


# ---------------------------------------------------------------- a choice of what is stored


def test_a_store_of_four_serves_two(tmp_path: Path) -> None:
    every = made(tmp_path, Data())
    two = open_store(tmp_path / "store", expected=(SETTINGS, Data(sequences=("t2f", "t1c"))))
    assert two.plan.sequences == ("t2f", "t1c")
    assert two.digest == every.digest
    box = (slice(1, 6), slice(2, 4), slice(0, 3))
    stored = every.read(NAMES[0]).image(box)
    np.testing.assert_array_equal(two.read(NAMES[0]).image(box).numpy(), stored[[3, 1]].numpy())
    samples = Samples(tmp_path / "store", NAMES, patch=(4, 4, 4), seed=0, channels=("t2f", "t1c"))
    whole = Samples(tmp_path / "store", NAMES, patch=(4, 4, 4), seed=0)
    np.testing.assert_array_equal(samples[0, 0]["image"].numpy(), whole[0, 0]["image"][[3, 1]].numpy())
    assert samples.bytes == 64 * (2 * 2 + 1)
    assert open_store(tmp_path / "store", expected=(SETTINGS, Data(missing_sequences="zero"))).cases == [*NAMES]


def test_a_store_that_lacks_a_channel_or_has_holes_is_refused(tmp_path: Path) -> None:
    data = Data(sequences=("t1c", "t2f"), missing_sequences="zero")
    made(tmp_path, data, {NAMES[0]: ("t2f",)})
    with pytest.raises(DataError, match=r"data.sequences is .*t1c.*t2f.* in the store, .*t1n.* is expected"):
        open_store(tmp_path / "store", expected=(SETTINGS, Data(sequences=("t1n", "t1c"), missing_sequences="zero")))
    with pytest.raises(DataError, match=r"data.missing_sequences is zero in the store, refuse is expected"):
        open_store(tmp_path / "store", expected=(SETTINGS, Data(sequences=("t1c", "t2f"))))
    with pytest.raises(DataError, match=r"data.sequences is"):
        preprocess(
            tmp_path / "data", tmp_path / "store", SETTINGS, data=Data(sequences=("t1c",), missing_sequences="zero")
        )
