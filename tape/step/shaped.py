"""A line read through a pydantic model, for stages whose lines have many keys."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from tapedeck.tape.step.common import BadLine, Line, refuse_unknown

Model = TypeVar("Model", bound=BaseModel)


def shaped(model: type[Model], line: Line) -> Model:
    """``line`` as a ``model``. Raises BadLine naming the key, its value and the nearest known key."""
    for key in line:
        refuse_unknown(key, model.model_fields)
    try:
        return model.model_validate(dict(line))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"])) or "the line"
        if first["type"] == "extra_forbidden":
            raise BadLine(f"unknown key {path}", remedy="`tape step STAGE --help` lists the keys") from None
        if first["type"] == "missing":
            raise BadLine(f"{path} is missing", remedy="write null if it is unknown") from None
        if first["input"] is None:
            raise BadLine(f"{path} is null", remedy="this stage needs it") from None
        if first["type"] == "model_type":
            raise BadLine(f"{path} is not an object", value=first["input"]) from None
        raise BadLine(f"{path}: {first['msg']}", value=first["input"]) from None
