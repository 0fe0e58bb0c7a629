"""What is wrong with the settings of a driver: what operators could not understand, mistype or give away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from surfaces_core._program.checkup.findings import Finding

SECRET = re.compile(
    r"(\A|_)(pass(word|phrase|wd)|secret|token|credentials?|(api|access|private|recovery|signing|secret)_?key)\Z"
)


def judged(about: str, model: type[BaseModel], place: str = "settings") -> Iterator[Finding]:
    """Every fault of a model and of those inside it."""
    if model.model_config.get("extra") != "forbid":
        said = f"{place} takes unknown keys, so a typing error passes unseen"
        yield Finding(level="wrong", about=about, said=said, remedy="derive it from surfaces_core.Settings")
    for name, field in model.model_fields.items():
        yield from _field(about, f"{place}.{name}", name, field)


def _field(about: str, place: str, name: str, field: FieldInfo) -> Iterator[Finding]:
    if not field.description:
        said = f"{place} has no description"
        yield Finding(level="wrong", about=about, said=said, remedy="give it Field(description=…) of one sentence")
    types = list(_types(field.annotation))
    if SECRET.search(name) and str in types:
        said = f"{place} sounds like a secret and is plain text"
        yield Finding(level="wrong", about=about, said=said, remedy="make it a pydantic.SecretStr, which no log prints")
    for inner in dict.fromkeys(types):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from judged(about, inner, place)


def _types(annotation: Any) -> Iterator[Any]:
    """Every type that an annotation is made of."""
    inner = get_args(annotation)
    if not inner:
        yield annotation
    for each in inner:
        yield from _types(each)
