"""Phantom data sets, made once for all tests of this folder."""

from tests.builders import cases as phantoms

phantom_data = phantoms.phantom_data
phantom_store = phantoms.phantom_store
