import pytest
from serving import serving


@pytest.fixture(scope="module")
def served():
    with serving() as running:
        yield running
