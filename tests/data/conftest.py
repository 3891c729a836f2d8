"""Phantom data sets, made once for all tests of this folder."""

from tests.phantoms import phantom_data as phantom_data
from tests.phantoms import phantom_store as phantom_store
