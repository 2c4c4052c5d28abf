"""One broker with logins for all tests of rights and logins."""

from collections.abc import Iterator

import pytest

from tests.kafka.broker import Broker
from tests.kafka.install import Unavailable

from .roles import Secure, prepare


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """Topics and roles with their default names."""
    broker = Broker(secure=True)
    try:
        broker.start()
        prepared = prepare(broker, tmp_path_factory.mktemp("roles"))
        yield prepared
        prepared.kill()
    except Unavailable as error:
        pytest.fail(str(error), pytrace=False)
    finally:
        broker.remove()
