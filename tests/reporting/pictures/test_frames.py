import numpy as np
import pytest

from mets3d.reporting.pictures.frames import Frame, radiological, whole_frame, zoom_frame


def test_the_patients_right_is_on_the_left_and_anterior_is_up():
    plane = np.zeros((6, 4), int)
    plane[5, 3] = 1  # RAS: the highest X is right, the highest Y anterior
    plane[0, 0] = 2
    shown = radiological(plane)
    assert shown.shape == (4, 6)
    assert shown[0, 0] == 1
    assert shown[-1, -1] == 2


def test_frames_cut_beyond_the_image():
    shown = np.arange(12).reshape(3, 4)
    assert Frame(1, 1, 2, 2).cut(shown).tolist() == [[5, 6], [9, 10]]
    assert Frame(-1, 2, 3, 4).cut(shown).tolist() == [[0, 0, 0, 0], [2, 3, 0, 0], [6, 7, 0, 0]]
    assert not Frame(9, 9, 2, 2).cut(shown).any()


def test_the_whole_frame_holds_the_brain_in_a_square_of_mm():
    brain = np.zeros((60, 100), bool)
    brain[10:50, 20:80] = True
    frame = whole_frame(brain, (2.0, 1.0))  # 80 mm x 60 mm
    assert frame.rows * 2.0 == pytest.approx(84, abs=2)
    assert frame.columns == pytest.approx(84, abs=1)
    assert frame.row <= 10
    assert frame.row + frame.rows >= 50
    assert whole_frame(np.zeros((8, 8), bool), (1.0, 1.0)).rows >= 8


def test_the_zoom_is_as_close_as_the_lesion_allows():
    mask = np.zeros((200, 200), bool)
    mask[100:106, 40:46] = True
    near = zoom_frame(mask, (1.0, 1.0))
    assert (near.rows, near.columns) == (32, 32)
    assert near.row + 16 == 103
    assert near.column + 16 == 43
    mask[90:150, 40:100] = True  # 60 mm wide: fits into three quarters of 96 mm, not of 64 mm
    assert zoom_frame(mask, (1.0, 1.0)).rows == 96
    mask[:] = False
    mask[0, 0] = True  # at the image's corner
    assert zoom_frame(mask, (1.0, 2.0)) == Frame(-16, -8, 32, 16)


def test_the_zoom_goes_where_most_of_the_mask_is():
    mask = np.zeros((300, 300), bool)
    mask[20:24, 20:24] = True
    mask[200:210, 220:230] = True
    frame = zoom_frame(mask, (1.0, 1.0))
    assert frame.cut(mask).sum() == 100
