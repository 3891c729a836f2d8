"""Which decoding predict takes; what it does with the rest is in tests/inference."""

from __future__ import annotations

from pathlib import Path

import pytest

from mets3d.__main__ import main


@pytest.mark.parametrize("decoding", ["nowhere.json", ".", ""])
def test_a_decoding_that_is_no_file_says_what_to_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], decoding: str
) -> None:
    assert main(["predict", str(tmp_path), str(tmp_path), "--decoding", decoding]) == 2
    assert f"--decoding: {decoding!r} is no file; name one that `mets3d tune` wrote" in capsys.readouterr().err
