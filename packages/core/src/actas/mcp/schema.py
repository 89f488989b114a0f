"""Plain dataclasses made from what people and models write, with every problem told at once.

Settings and tool parameters are declared as standard-library dataclasses, so that core and plug-ins
need no validation library. Here pydantic reads them: types, unknown keys, JSON schemas, and each
field's docstring as its description.
"""

import dataclasses
import types
import typing
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from actas.core import Action, InvalidParameters, JsonSchema, Secret
from actas.core.secrets import REFERENCE
from actas.mcp.json_parameters import TooManySteps, compiled

T = TypeVar("T")

_CONFIG = ConfigDict(
    extra="forbid",
    use_attribute_docstrings=True,
    arbitrary_types_allowed=True,
    hide_input_in_errors=True,
    allow_inf_nan=False,
)
_MOST_PROBLEMS = 5
"""Problems named to a model that sent bad parameters; it wrote the names, so they are cut too."""
_MOST_VALUES = 10_000
"""Values in one call's parameters, at any depth. More would keep everybody waiting while they are validated."""

_LONGEST_KEY = 64
"""Characters of one key that are repeated in a message."""
_ADAPTERS: dict[type[object] | JsonSchema, TypeAdapter[Any]] = {}  # Any: each class has its own


def adapter(cls: type[object] | JsonSchema) -> TypeAdapter[Any]:
    """The pydantic view of a dataclass: strict about keys, its docstrings as descriptions.

    Raises:
        TypeError: ``cls`` is no dataclass, or one of its fields has a type that is not there or that JSON cannot carry.
    """
    if cls in _ADAPTERS:
        return _ADAPTERS[cls]
    if isinstance(cls, JsonSchema) or not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls if isinstance(cls, JsonSchema) else cls.__name__} must be a dataclass")
    try:
        for each in _dataclasses_in(cls, set()):
            if "__pydantic_config__" not in vars(each):
                # pydantic reads its options from the class; a plain dataclass of a plug-in has none yet.
                type.__setattr__(each, "__pydantic_config__", _CONFIG)
        made = _ADAPTERS[cls] = TypeAdapter(cls)
    except PydanticUserError as error:
        raise TypeError(f"{cls.__name__}: {error.message}") from error
    except NameError as error:  # an annotation as text, of something that its module does not have
        raise TypeError(f"{cls.__name__}: {error}") from error
    return made


def check_declaration(declared: type[object] | JsonSchema) -> None:
    """Raises TypeError where ``declared`` cannot be the parameters of an action."""
    if isinstance(declared, JsonSchema):
        compiled(declared)
    else:
        adapter(declared)


def json_schema(cls: type[object] | JsonSchema) -> dict[str, Any]:  # Any: JSON Schema is open
    """JSON Schema 2020-12 of an action's parameters, as a tool's input: titles and a class's docstring are left out."""
    if isinstance(cls, JsonSchema):
        return dict(cls.document)
    schema = adapter(cls).json_schema()
    schema.pop("description", None)
    return cast("dict[str, Any]", _without_titles(schema))


def validate_parameters(action: Action, parameters: Mapping[str, object]) -> object:
    """The pipeline's validator: makes ``action.parameters`` from what a caller sent.

    Raises:
        InvalidParameters: naming the fields that do not fit, never a value.
    """
    if _more_values_than(_MOST_VALUES, parameters):
        raise InvalidParameters(
            f"The parameters have more than {_MOST_VALUES} values. Send fewer.", detail="too many values"
        )
    declared = action.parameters
    try:
        if isinstance(declared, JsonSchema):
            problems = compiled(declared).problems(parameters, _MOST_PROBLEMS + 1)
            if not problems:
                return parameters
        else:
            return adapter(declared).validate_python(parameters)
    except ValidationError as error:
        problems = _problems_in(error)
    except TooManySteps:
        problems = ["they would take too long to check; send fewer values"]
    except (ValueError, RecursionError):
        problems = ["the parameters are nested too deeply or are not JSON"]
    told = "; ".join(problems[:_MOST_PROBLEMS])
    more = f"; and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
    raise InvalidParameters(
        f"The parameters do not fit: {told}{more}. Compare them with the tool's schema.",
        detail=told,
    )


def _problems_in(error: ValidationError) -> list[str]:
    """pydantic tells all or nothing, and all of thousands takes longer than the validation did."""
    if error.error_count() > 100 * _MOST_PROBLEMS:
        return [f"there are {error.error_count()} problems"]
    return [f"{_path(problem['loc'])}: {_text(problem)}" for problem in error.errors(include_input=False)]


def _more_values_than(most: int, value: object) -> bool:
    waiting, count = [value], 0
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            inner: Collection[object] = cast("Mapping[str, object]", part).values()
        elif isinstance(part, list):
            inner = cast("list[object]", part)
        else:
            continue
        count += len(inner)
        if count > most:
            return True
        waiting.extend(inner)
    return False


class Problems(list[str]):
    """What is wrong with a configuration so far, each line with its path."""

    def add(self, path: str, text: str) -> None:
        """Note one problem at ``path``. Both may repeat keys that cannot be printed."""
        self.append(f"{path or 'configuration'}: {text}".encode(errors="backslashreplace").decode())


def read_settings(cls: type[T], written: object, path: str, problems: Problems) -> T | None:
    """Make ``cls`` from a part of a configuration.

    Notes everything that is wrong in ``problems`` and then returns None.
    """
    before = len(problems)
    try:
        made = adapter(cls).validate_python(rename(cls, written, path, problems))
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            where = _path(problem["loc"], path)
            problems.add(where, _text_for_an_operator(problem, where))
        return None
    return cast("T", made) if len(problems) == before else None


def rename(hint: object, written: object, path: str, problems: Problems) -> object:
    """``written`` with the field names of the dataclasses in ``hint``; unknown keys become problems.

    Keys may be written in snake_case or camelCase. Secrets are opened or wrapped here as the field's
    type asks, so that they pass validation without ever being in one of its messages.
    """
    if isinstance(written, str | Secret) and (_accepts(hint, str) or _accepts(hint, Secret)):
        return _secret_or_string(hint, written)
    for part in _alternatives(hint):
        if dataclasses.is_dataclass(part) and isinstance(written, Mapping):
            return _rename_fields(cast("type[object]", part), cast("Mapping[str, object]", written), path, problems)
        origin, arguments = typing.get_origin(part), typing.get_args(part)
        if origin is list and isinstance(written, str | Secret):
            # One string stands for a list of one, as in the claims `aud` and `scope`.
            return [rename(arguments[0], written, path, problems)]
        if origin in (list, tuple) and isinstance(written, list):
            items = cast("list[object]", written)
            return [rename(arguments[0], item, f"{path}[{index}]", problems) for index, item in enumerate(items)]
        if origin is dict and isinstance(written, Mapping):
            entries = cast("Mapping[str, object]", written)
            return {key: rename(arguments[1], value, _join(path, key), problems) for key, value in entries.items()}
    return written


def _secret_or_string(hint: object, written: str | Secret) -> str | Secret:
    if isinstance(written, Secret):
        return written if _accepts(hint, Secret) else written.reveal()
    return written if _accepts(hint, str) else Secret(written)


def _rename_fields(
    cls: type[object], written: Mapping[str, object], path: str, problems: Problems
) -> dict[str, object]:
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cast("Any", cls)) if field.init}  # Any: a dataclass
    by_spelling = {name.replace("_", "").lower(): name for name in fields}
    renamed: dict[str, object] = {}
    for key, value in written.items():
        key = str(key)
        name = key if key in fields else None if "_" in key else by_spelling.get(key.lower())
        if name is None:
            problems.add(_join(path, key), f"unknown key{_suggestion(key, fields, path)}")
        elif name in renamed:
            problems.add(_join(path, key), f"given twice, in two spellings of {name}")
        else:
            renamed[name] = rename(hints[name], value, _join(path, name), problems)
    return renamed


def _suggestion(key: str, known: Mapping[str, object], path: str) -> str:
    near = get_close_matches(key.lower(), list(known), n=1, cutoff=0.6)
    text = f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"
    return f"{text} (a name of your own goes under {_join(path, 'custom')})" if "custom" in known else text


def _accepts(hint: object, wanted: type) -> bool:
    return any(part is wanted for part in _alternatives(hint))


def _alternatives(hint: object) -> tuple[object, ...]:
    origin = typing.get_origin(hint)
    if origin is typing.Union or origin is types.UnionType:
        return tuple(alternative for part in typing.get_args(hint) for alternative in _alternatives(part))
    if origin is typing.Annotated:
        return _alternatives(typing.get_args(hint)[0])
    return (hint,)


def _dataclasses_in(hint: object, seen: set[object]) -> set[type[object]]:
    for part in _alternatives(hint):
        if dataclasses.is_dataclass(part) and part not in seen:
            seen.add(part)
            for inner in typing.get_type_hints(part).values():
                _dataclasses_in(inner, seen)
        for argument in typing.get_args(part):
            _dataclasses_in(argument, seen)
    return cast("set[type[object]]", seen)


def _without_titles(schema: object, *, names: bool = False) -> object:
    """``schema`` without the titles that pydantic makes of field names.

    ``names``: its keys are fields, not keywords.
    """
    if isinstance(schema, dict):
        keywords = cast("dict[str, object]", schema)
        return {
            key: _without_titles(value, names=not names and key in ("properties", "$defs"))
            for key, value in keywords.items()
            if names or key != "title"
        }
    if isinstance(schema, list):
        return [_without_titles(item) for item in cast("list[object]", schema)]
    return schema


def _text(problem: Mapping[str, Any]) -> str:  # Any: pydantic's ErrorDetails
    match problem["type"]:
        case "missing" | "missing_argument":
            return "is required"
        case "unexpected_keyword_argument":
            return "is not known"
        case _:
            text = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ")
            return text[:1].lower() + text[1:]


def _text_for_an_operator(problem: Mapping[str, Any], path: str) -> str:  # Any: pydantic's ErrorDetails
    """:func:`_text` in the words of a configuration, and how that is written which stands there in another form."""
    kind, is_table = problem["type"], isinstance(problem["input"], Mapping)
    of_secret = kind == "is_instance_of" and problem["ctx"]["class"] == Secret.__name__
    if kind == "dataclass_type":
        return "should be a table"
    if is_table and kind == "list_type":
        return f"should be a list; in TOML each table of it begins with [[{path}]]"
    text = "should be a string" if of_secret else _text(problem)
    return (
        f'{text}; a secret is written {{ "{REFERENCE}" = "NAME" }}'
        if is_table and (of_secret or kind == "string_type")
        else text
    )


def _path(location: tuple[int | str, ...], prefix: str = "") -> str:
    path = prefix
    for step in location:
        path = f"{path}[{step}]" if isinstance(step, int) else _join(path, step)
    return path or "parameters"


def _join(path: str, key: object) -> str:
    step = str(key)[:_LONGEST_KEY]
    return f"{path}.{step}" if path else step
