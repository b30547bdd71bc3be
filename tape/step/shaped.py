"""A line read through a pydantic model, for stages whose lines have many keys."""

from difflib import get_close_matches
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from tapedeck.tape.step.common import BadLine, Line

Model = TypeVar("Model", bound=BaseModel)


def shaped(model: type[Model], line: Line) -> Model:
    """``line`` as a ``model``. Raises BadLine naming the key, its value and the nearest known key."""
    try:
        return model.model_validate(dict(line))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"])) or "the line"
        if first["type"] == "extra_forbidden":
            near = get_close_matches(path, list(model.model_fields), n=1, cutoff=0.0)
            raise BadLine(f"unknown key {path}", remedy=f"the nearest key is {near[0]!r}") from None
        if first["type"] == "missing":
            raise BadLine(f"{path} is missing", remedy="write null where it is unknown") from None
        raise BadLine(f"{path}: {first['msg']}", value=first["input"]) from None
