"""Every integration test ends with a recount of its database."""

from collections.abc import AsyncIterator

import pytest
from tests.integration.support import check_invariants


@pytest.fixture
async def database_url(database_url: str) -> AsyncIterator[str]:
    """A fresh database that must keep its promises until the end of the test."""
    yield database_url
    await check_invariants(database_url)
