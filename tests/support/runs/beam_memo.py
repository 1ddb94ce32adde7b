"""Beam inspects every method of every DoFn anew for each pipeline; here once a process.

Hundreds of small jobs of one process spend half of their time on this. What is kept depends only on a function, a class
or the flags of a pipeline, which do not change.
"""

import bz2
import inspect
import weakref
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from apache_beam.internal import cloudpickle_pickler
from apache_beam.options.pipeline_options import PipelineOptions, TypeOptions
from apache_beam.transforms import core, userstate
from apache_beam.typehints import decorators


def keep_what_beam_inspects() -> None:
    """Patches Beam in this process."""
    signature = by_function(decorators.get_signature)
    for module in (decorators, core):
        module.get_signature = signature
    core.get_function_args_defaults = by_function(core.get_function_args_defaults)
    userstate.get_dofn_specs = _by_class(userstate.get_dofn_specs)
    PipelineOptions.view_as = _views_of_types(PipelineOptions.view_as)
    # Most of what a pipeline packs is the same in the next one, and bz2 takes longer than pickling.
    cloudpickle_pickler.bz2 = SimpleNamespace(
        compress=lru_cache(2_000)(bz2.compress), decompress=lru_cache(2_000)(bz2.decompress)
    )


def by_function(inspected: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same answers for plain functions and methods; other callables are looked at each time."""
    # Functions that are written in other functions end with them.
    kept: weakref.WeakKeyDictionary[Any, dict[bool, Any]] = weakref.WeakKeyDictionary()

    def answer(function: Any) -> Any:
        bound = inspect.ismethod(function)
        plain = function.__func__ if bound else function
        if not inspect.isfunction(plain):
            return inspected(function)
        answers = kept.setdefault(plain, {})
        if bound not in answers:
            answers[bound] = inspected(function)
        return answers[bound]

    return answer


def _by_class(specs: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """State and timers of a DoFn are written in its class, unless it wraps a function."""
    kept: dict[type, Any] = {}

    def answer(dofn: Any) -> Any:
        if isinstance(dofn, core.CallableWrapperDoFn):
            return specs(dofn)
        if type(dofn) not in kept:
            kept[type(dofn)] = specs(dofn)
        return kept[type(dofn)]

    return answer


def _views_of_types(view_as: Callable[..., Any]) -> Callable[..., Any]:
    """Every check of a type asks for the options of types, which parses all flags again."""

    def view(options: PipelineOptions, cls: type[PipelineOptions]) -> Any:
        if cls is not TypeOptions:
            return view_as(options, cls)
        key = "_kept_type_options"
        if key not in options.__dict__:
            options.__dict__[key] = view_as(options, cls)
        return options.__dict__[key]

    return view
