"""What may be called, and whether it must: `tools` and `tool_choice`, or the older `functions` and `function_call`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeport.backends.local import schemas
from homeport.backends.local.schemas import Place
from homeport.backends.templates.formats import ToolFormat
from homeport.backends.text import ToolCalls
from homeport.errors import InvalidRequest, UnsupportedParameter

ANY_OBJECT: dict[str, object] = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Offer:
    """tools: what the prompt describes, as OpenAI writes it. callable: name -> schema of the arguments, of those that
    may be called. strict: those whose arguments must follow it. older: answered in the form of `functions`."""

    tools: Sequence[Mapping[str, Any]] = ()
    callable: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    strict: Mapping[str, Callable[[object], bool]] = field(default_factory=dict)
    required: bool = False
    parallel: bool = True
    older: bool = False

    def constraint(self, form: ToolFormat) -> ToolCalls | None:
        if not self.callable:
            return None
        return ToolCalls(
            tools=self.callable,
            required=self.required,
            parallel=self.parallel,
            opening=form.opening,
            closing=form.closing,
            separator=form.separator,
            argument_key=form.argument_key,
        )

    def admits(self, name: str, arguments: dict[str, object]) -> bool:
        """Is this text of the model a call? Of a known tool, and with the right arguments where it is strict."""
        if name not in self.callable:
            return False
        return name not in self.strict or self.strict[name](arguments)


def offered(request: Mapping[str, Any], model: str) -> Offer:
    """request: its fields as they stand in the JSON. Raises InvalidRequest, UnsupportedParameter."""
    older = bool(request.get("functions"))
    if older:
        tools = [{"type": "function", "function": function} for function in request["functions"]]
        choice = request.get("function_call") or "auto"
        if isinstance(choice, Mapping):
            choice = {"type": "function", "function": choice}
        where = "functions[{}]"
    else:
        tools = list(request.get("tools") or ())
        choice = request.get("tool_choice") or "auto"
        where = "tools[{}].function"
    if not tools and choice not in ("auto", "none"):
        raise InvalidRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    if not tools or choice == "none":
        return Offer()  # not described: then they cannot be called
    described: list[Mapping[str, Any]] = []
    strict: set[str] = set()
    for at, tool in enumerate(tools):
        if tool["type"] != "function":
            raise UnsupportedParameter(
                f"The model `{model}` calls functions only. Write a custom tool as a function with one string.",
                param=f"tools[{at}]",
            )
        function = tool["function"]
        described.append({"type": "function", "function": checked(function, where.format(at))})
        if function.get("strict"):
            strict.add(function["name"])
    chosen, required = _chosen(choice, described, "function_call" if older else "tool_choice", model)
    named = isinstance(choice, Mapping) and choice.get("type") == "function"  # it is called once
    functions = [tool["function"] for tool in chosen]
    return Offer(
        tools=chosen,
        callable={function["name"]: function["parameters"] for function in functions},
        strict={f["name"]: schemas.validator(f["parameters"]) for f in functions if f["name"] in strict},
        required=required,
        parallel=not older and not named and request.get("parallel_tool_calls") is not False,
        older=older,
    )


def checked(function: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What the prompt says of it: name, description and parameters. where: it stands in the request.

    Raises InvalidRequest: its parameters are no schema of an object, or break OpenAI's rules for strict ones.
    """
    parameters = function.get("parameters") or ANY_OBJECT
    place = Place(f"function '{function['name']}'", f"{where}.parameters", "invalid_function_parameters")
    if parameters.get("type") != "object":
        raise place.error(
            "schema must be a JSON Schema of 'type: \"object\"', got " + f"'type: \"{parameters.get('type')}\"'."
        )
    schemas.check(parameters, place, strict=bool(function.get("strict")))
    description = function.get("description")
    said = {} if description is None else {"description": description}
    return {"name": function["name"], **said, "parameters": parameters}


def _chosen(
    choice: Any, tools: Sequence[Mapping[str, Any]], param: str, model: str
) -> tuple[Sequence[Mapping[str, Any]], bool]:
    """The tools that are left, and whether one of them must be called."""
    if choice in ("auto", "required"):
        return tools, choice == "required"
    known = {tool["function"]["name"]: tool for tool in tools}
    if choice["type"] == "allowed_tools":
        allowed = choice["allowed_tools"]
        names = [_name(tool, model) for tool in allowed["tools"]]
        required = allowed["mode"] == "required"
    else:
        names, required = [_name(choice, model)], True
    for name in names:
        if name not in known:
            raise InvalidRequest(
                f"Invalid value for '{param}': {name!r} is not among the functions given.", param=param
            )
    return [known[name] for name in dict.fromkeys(names)], required


def _name(choice: Mapping[str, Any], model: str) -> str:
    if choice.get("type") != "function":
        raise UnsupportedParameter(f"The model `{model}` calls functions only.", param="tool_choice")
    return str(choice["function"]["name"])
