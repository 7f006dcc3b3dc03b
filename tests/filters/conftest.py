"""What tests of scorers share: tiny models, made once."""

import pytest

from tests.filters.tiny_models import KINDS, save_model


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The name of a tiny model of every kind."""
    folder = tmp_path_factory.mktemp("models")
    return {kind: save_model(folder / kind, kind) for kind in KINDS}
