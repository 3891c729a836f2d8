"""The runtime checker that jaxtyping applies to the package during tests."""

from beartype import BeartypeConf, beartype

# As type checkers read annotations: an int is accepted where a float is expected.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
