from mets3d.phantoms.names import MOST, is_phantom, phantom_name


def test_a_phantom_is_known_by_its_name_and_a_patient_is_none():
    assert phantom_name(0) == "BraTS-MET-90001-000"
    assert phantom_name(MOST - 1) == "BraTS-MET-99999-000"
    assert all(map(is_phantom, (phantom_name(0), phantom_name(MOST - 1))))
    others = ("BraTS-MET-00001-000", "BraTS-MET-90000-000", "BraTS-MET-90001-001", "90001", "XBraTS-MET-90001-000")
    assert not any(map(is_phantom, others))
