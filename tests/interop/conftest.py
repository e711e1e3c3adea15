"""What tests with real servers share."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.interop.matrix_gateway import MatrixGateway


@pytest_asyncio.fixture
async def gateways() -> AsyncIterator[list[MatrixGateway]]:
    """Gateways that are stopped at the end."""
    made: list[MatrixGateway] = []
    yield made
    for gateway in made:
        await gateway.stop()
