"""What tests of captioners share: tiny models, made once."""

from collections.abc import Callable

import pytest

from tests.recaption.tiny_captioners import save_captioner


@pytest.fixture(scope="session")
def tiny_captioner(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The name of a tiny model of a kind, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("captioners")
    made: dict[str, str] = {}

    def named(kind: str) -> str:
        if kind == "smolvlm":
            pytest.importorskip("num2words", reason="its processor spells numbers out")
        if kind not in made:
            made[kind] = save_captioner(folder / kind, kind, seed=1)
        return made[kind]

    return named
