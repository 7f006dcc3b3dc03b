"""Beam, for the small graphs of tests, with a memory for what it works out again and again.

Nearly all the time of a stage over a few rows goes into reading the same signatures and parsing
the same options some hundred times. They depend on nothing but what is remembered here
with them. Processes that tests start have Beam as it is, and so have those that users start.
"""

import copy
import sys
from argparse import Namespace
from types import FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary


def remember() -> None:
    """Give Beam its memory, once it has been imported; until then there is nothing to do."""
    core: Any = sys.modules.get("apache_beam.transforms.core")
    state: Any = sys.modules.get("apache_beam.transforms.userstate")
    options: Any = sys.modules.get("apache_beam.options.pipeline_options")
    ready = "apache_beam.pipeline" in sys.modules
    if not ready or hasattr(core.get_function_args_defaults, "remembers"):
        return
    _remember_signatures(core)
    _remember_states(state)
    _remember_options(options.PipelineOptions)


def _remember_signatures(core: Any) -> None:
    read = core.get_function_args_defaults
    known = WeakKeyDictionary[FunctionType, dict[bool, tuple[list[str], list[Any]]]]()

    def remembered(function: Any) -> tuple[list[str], list[Any]]:
        bound = isinstance(function, MethodType)
        plain = function.__func__ if bound else function
        if not isinstance(plain, FunctionType):
            return read(function)  # type: ignore[no-any-return]
        found = known.setdefault(plain, {})
        if bound not in found:
            found[bound] = read(function)
        names, defaults = found[bound]
        return list(names), list(defaults)

    remembered.remembers = read  # type: ignore[attr-defined]
    core.get_function_args_defaults = remembered


def _remember_states(state: Any) -> None:
    read = state.get_dofn_specs
    known = WeakKeyDictionary[Any, tuple[set[Any], set[Any]]]()

    def remembered(function: Any) -> tuple[set[Any], set[Any]]:
        if function not in known:
            known[function] = read(function)
        states, timers = known[function]
        return set(states), set(timers)

    state.get_dofn_specs = remembered


def _remember_options(whole: Any) -> None:
    parse = whole.__init__
    known: dict[tuple[type, tuple[str, ...]], Any] = {}

    def remembered(self: Any, flags: Any = None, **overrides: Any) -> None:
        if type(self) is whole or overrides or not isinstance(flags, list | tuple):
            parse(self, flags, **overrides)
            return
        key = type(self), tuple(flags)
        if key not in known:
            known[key] = object.__new__(type(self))
            parse(known[key], flags)
        parsed = known[key].__dict__
        seen = Namespace(**_fresh(vars(parsed["_visible_options"])))
        every = _fresh(parsed["_all_options"])
        self.__dict__.update(_flags=flags, _visible_options=seen, _all_options=every)

    whole.__init__ = remembered


def _fresh(values: dict[str, Any]) -> dict[str, Any]:
    """The same values, and lists and mappings that may be changed."""
    return {n: copy.copy(v) if isinstance(v, list | dict) else v for n, v in values.items()}
