"""A chat request, looked at as a whole before anything is generated: every refusal comes from here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeport.backends.local import conversation, prompts, tools
from homeport.backends.local.response_format import Form, form_of
from homeport.backends.local.sampling import consult, for_choice, sampling_of
from homeport.backends.local.tools import Offer
from homeport.backends.templates.chat_template import ChatTemplate
from homeport.backends.templates.tool_calls import ToolCallParser
from homeport.backends.text import Constraint, Sampling, TextEngine
from homeport.errors import UnsupportedParameter


@dataclass(frozen=True, slots=True)
class Plan:
    """samplings: one for each choice. certain: the engine's grammar makes every call of a tool well-formed."""

    prompt: Sequence[int]
    samplings: Sequence[Sampling]
    constraint: Constraint | None
    offer: Offer
    form: Form | None
    template: ChatTemplate
    certain: bool

    def parser(self) -> ToolCallParser | None:
        """One for each choice; None where nothing may be called."""
        if not self.offer.callable:
            return None
        limit = None if self.offer.parallel else 1
        return ToolCallParser(self.template.tool_format, self.offer.admits, certain=self.certain, limit=limit)


async def planned(request: Mapping[str, Any], model: str, engine: TextEngine, template: ChatTemplate) -> Plan:
    """request: its fields as they stand in the JSON, validated. Raises InvalidRequest and its kin."""
    offer = tools.offered(request, model)
    form = form_of(request.get("response_format"))
    if form and offer.callable and not offer.required:
        raise UnsupportedParameter(
            f"The model `{model}` cannot leave it open whether it calls a function or answers in a form. Set "
            "`tool_choice` to `none` or `required`, or leave `response_format` out.",
            param="response_format",
        )
    prompt = await _prompt(request, model, engine, template, offer, form)
    asked = request.get("max_completion_tokens") or request.get("max_tokens")
    card = engine.card
    room = prompts.room_for_chat(card.context_length, len(prompt), asked, card.default_answer)
    top_logprobs = (request.get("top_logprobs") or 0) if request.get("logprobs") else None
    sampling = sampling_of(request, max_tokens=room, top_logprobs=top_logprobs)

    calls = offer.constraint(template.tool_format)
    constraint: Constraint | None = calls
    if calls is None:
        constraint = form.constraint if form else None
    elif not offer.required and (not calls.opening or engine.refuses(sampling, calls)):
        # What may be called may also be read out of free text; what must be called needs the grammar. Without an
        # opening mark a grammar could not tell text from calls.
        constraint = None
    consult(engine, model, sampling, constraint, _names(offer))
    samplings = [for_choice(sampling, choice) for choice in range(request.get("n") or 1)]
    certain = bool(offer.callable) and constraint is not None
    return Plan(prompt, samplings, constraint, offer, form, template, certain)


async def count(request: Mapping[str, Any], model: str, engine: TextEngine, template: ChatTemplate) -> int:
    """Tokens of the prompt, however many the model can read. request, and what is raised: as of `planned`."""
    form = form_of(request.get("response_format"))
    return len(await _prompt(request, model, engine, template, tools.offered(request, model), form))


async def _prompt(
    request: Mapping[str, Any],
    model: str,
    engine: TextEngine,
    template: ChatTemplate,
    offer: Offer,
    form: Form | None,
) -> Sequence[int]:
    messages = conversation.plain(request["messages"], model)
    if form and form.instruction:
        messages = _instructed(messages, form.instruction)
    return await prompts.tokens_of(engine, template.render(messages, offer.tools))


def _names(offer: Offer) -> dict[str, str]:
    return {"tools": "functions", "tool_choice": "function_call"} if offer.older else {}


def _instructed(messages: list[dict[str, Any]], instruction: str) -> list[dict[str, Any]]:
    """The client's description of the form is meant for the model: it goes where instructions stand."""
    if messages and messages[0]["role"] == "system":
        first = {**messages[0], "content": f"{messages[0]['content']}\n\n{instruction}"}
        return [first, *messages[1:]]
    return [{"role": "system", "content": instruction}, *messages]
