"""Options checked against a model: the first problem as one line with its place; never a value."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from surfaces_core._config.sources import Place, Source
from surfaces_core.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


def check_keys(source: Source, place: Place, data: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse keys that are not known, naming the nearest that are."""
    strange = [name for name in data if name not in known]
    if strange:
        raise together(source.error((*place, name), _unknown(name, known)) for name in strange)


def as_meant(source: Source, data: Mapping[str, Any], known: Sequence[str]) -> tuple[Source, dict[str, Any]]:
    """The same with slips in its keys corrected, so that what stands behind them can be checked, too."""
    lines, meant = dict(source.lines), dict(data)
    for name in [name for name in data if name not in known]:
        for near in difflib.get_close_matches(name, [key for key in known if key not in meant], n=1):
            meant[near] = meant.pop(name)
            lines |= {(near, *place[1:]): line for place, line in lines.items() if place[:1] == (name,)}
    return replace(source, lines=lines), meant


def is_secret(info: FieldInfo) -> bool:
    """Whether a setting holds a secret."""
    return SecretStr in (info.annotation, *get_args(info.annotation))


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"unknown key, did you mean {near[0]}?" if near else f"unknown key; known are {', '.join(sorted(known))}"


def validate(model: type[M], options: Mapping[str, Any], source: Source, place: Place, also: Sequence[str] = ()) -> M:
    """Check options against a model; never shows a value. `also` are keys that stand beside the model's own.

    Raises `ConfigError` for the first problem, with the `others`.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        # a misspelt key is also a missing one: name the slip, not what it caused
        slips = [detail for detail in found if detail["type"] == "extra_forbidden"]
        caused = ("extra_forbidden", "missing") if slips else ()
        details = slips + [detail for detail in found if detail["type"] not in caused]
        raise together(
            source.error((*place, *detail["loc"]), _problem(detail, model, also)) for detail in details
        ) from None


def all_of(steps: Iterable[Callable[[], object]]) -> None:
    """Take every step, though others fail. Raises `ConfigError` for the first problem, with the `others`."""
    problems: list[ConfigError] = []
    for step in steps:
        try:
            step()
        except ConfigError as error:
            problems += each(error)
    if problems:
        raise together(problems)


def together(problems: Iterable[ConfigError]) -> ConfigError:
    """The first of several problems, which alone knows all the others."""
    first, *others = problems
    for other in others:
        other.others = ()
    first.others = tuple(others)
    return first


def each(error: ConfigError) -> tuple[ConfigError, ...]:
    """A problem and those that were found with it."""
    return (error, *(other for found in error.others for other in each(found)))


def _problem(detail: ErrorDetails, model: type[BaseModel], also: Sequence[str]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return _unknown(str(detail["loc"][-1]), [*_inner(model, detail["loc"][:-1]).model_fields, *also])
        case "tuple_type" | "list_type" | "set_type":
            return "must be a list"
        case "path_type":
            return "must be a path"
        case "string_pattern_mismatch":
            described = model.model_fields[str(detail["loc"][-1])].description if len(detail["loc"]) == 1 else None
            return f"is not of this form: {described}" if described else "is not of the form that it must have"
        case "missing":
            return "missing; this setting has no default"
        case "value_error":
            return str(detail["ctx"]["error"])
        case _:
            return (detail["msg"][:1].lower() + detail["msg"][1:]).replace("input should", "must", 1)


def _inner(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    for part in loc:
        annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return model
