"""The type checker of the test run: beartype, where an int is a float too, as for every static checker."""

from beartype import BeartypeConf, beartype

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
