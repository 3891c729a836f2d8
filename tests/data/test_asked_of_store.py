"""What acts at preprocessing is looked at before a training, too: cases to leave out, and corrected references."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mets3d.config import Data, Preprocess
from mets3d.data import DataError
from mets3d.data.asked_of_store import check_asked
from mets3d.data.nifti import write_image
from mets3d.data.preprocess import preprocess
from mets3d.data.store import Store, open_store
from tests.builders.cases import RAS, make_case, two_lesions
from tests.builders.runs import train, write_config


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked") / "data"
    for name in ("A-000", "B-000", "C-000"):
        make_case(folder, name)
    write_image(folder.with_name("corrected") / "A-000-seg.nii.gz", np.minimum(two_lesions(), 2), RAS)
    folder.with_name("exclude.txt").write_text("C-000, moved\n", encoding="utf-8")
    return folder


def store_of(data: Path, place: Path, **settings: str) -> Store:
    preprocess(data, place, Preprocess(), data=Data(**settings))
    return open_store(place)


def test_a_store_made_without_them_is_refused(data: Path, tmp_path: Path) -> None:
    store = store_of(data, tmp_path / "store")
    exclude, overlay = data.with_name("exclude.txt"), data.with_name("corrected")
    assert check_asked(store, Data()) == []
    with pytest.raises(DataError, match=r"store holds 1 case that .*exclude.txt leaves out, C-000; .*preprocess"):
        check_asked(store, Data(exclude=str(exclude)))
    with pytest.raises(DataError, match=r"data.overlay: .*store was made without .*corrected; .*preprocess"):
        check_asked(store, Data(overlay=str(overlay)))
    for key in ("exclude", "overlay"):
        with pytest.raises(FileNotFoundError, match=rf"data.{key}: .*nowhere: is not there, and .*without it"):
            check_asked(store, Data(**{key: str(tmp_path / "nowhere")}))
    (tmp_path / "wrong.txt").write_text("Z-000", encoding="utf-8")
    with pytest.raises(DataError, match="no case is named 'Z-000'"):
        check_asked(store, Data(exclude=str(tmp_path / "wrong.txt")))


def test_a_store_made_with_them_is_used_also_where_they_are_gone(data: Path, tmp_path: Path) -> None:
    asked = {"exclude": str(data.with_name("exclude.txt")), "overlay": str(data.with_name("corrected"))}
    store = store_of(data, tmp_path / "store", **asked)
    assert store.cases == ["A-000", "B-000"]
    assert check_asked(store, Data(**asked)) == []
    assert check_asked(store, Data()) == []
    (tmp_path / "copy.txt").write_text("C-000", encoding="utf-8")  # another file that leaves the same cases out
    assert check_asked(store, Data(exclude=str(tmp_path / "copy.txt"))) == []
    gone = {key: str(tmp_path / "another machine" / key) for key in asked}
    assert check_asked(store, Data(**gone)) == [
        f"data.{key}: {store.path} was made with {asked[key]}, and {gone[key]} is not looked at" for key in asked
    ]


@pytest.mark.parametrize("key", ["exclude", "overlay"])
def test_a_training_ends_with_one_message_before_anything_is_written(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    assert train(write_config(tmp_path, phantom_store), f"--data.{key}={tmp_path / 'nowhere'}") == 2
    assert f"data.{key}: {tmp_path / 'nowhere'}: is not there, and" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
