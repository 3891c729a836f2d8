"""The names of the package itself."""

import mets3d


def test_dir_lists_the_public_names() -> None:
    assert dir(mets3d) == sorted(mets3d.__all__)
    assert set(dir(mets3d)) == {"Predictor", "__version__", "view"}
    for name in mets3d.__all__:
        assert getattr(mets3d, name)
