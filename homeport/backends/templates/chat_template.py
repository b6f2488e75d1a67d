"""A conversation becomes a prompt: the model's own chat template, or ours, rendered into segments that know whose text
they are."""

import hashlib
from collections.abc import Callable, Mapping, Sequence

from homeport.backends.templates import hermes
from homeport.backends.templates.formats import HERMES, MISTRAL, ToolFormat, native
from homeport.backends.templates.marks import Fences, Segment, Veils, beginnings, free_characters, plain
from homeport.backends.templates.sandbox import TemplateFailed, TemplateRefused, compiled, render
from homeport.backends.text import ModelCard
from homeport.errors import HomeportError, InvalidRequest

Messages = Sequence[Mapping[str, object]]

CHATML = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

# A template we replace: a mark that stands in it, ours, and why.
REPLACED = (
    # It puts a system message of its own before every conversation without one, and the 135M model then answers worse
    # ("capital of France" goes wrong; without it the answer is Paris).
    ("You are a helpful AI assistant named SmolLM", CHATML),
)


class ChatTemplate:
    """Renders OpenAI's messages, already brought to the roles system, user, assistant and tool with plain text content.

    tool_format: how this model's calls are written and parsed. Raises TemplateFailed for a source that does not work.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "", add_bos: bool = False) -> None:
        self.source = source
        self._template = compiled(source)
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self._add_bos = bos if add_bos else ""
        self._suspicious = beginnings((bos, eos))
        self._native_tools = native(source)
        self.tool_format: ToolFormat = self._native_tools or HERMES
        self._takes_system = self._probe()

    @classmethod
    def of(cls, card: ModelCard) -> "ChatTemplate":
        """The model's own template, unless we know better; ChatML for weights that bring none."""
        source = card.chat_template or CHATML
        for mark, ours in REPLACED:
            if mark in source:
                source = ours
        return cls(source, bos=card.bos, eos=card.eos, add_bos=card.add_bos)

    def render(self, messages: Messages, tools: Messages = ()) -> list[Segment]:
        """The prompt, ending where the assistant is to go on.

        messages: {"role", "content": text}, with "tool_calls" ({"id", "type", "function": {"name", "arguments": object,
        or text that is none}}) or "tool_call_id"; tools: {"type": "function", "function": {"name", "description",
        "parameters"}}. A segment that is not special is the client's text. Raises InvalidRequest when the template
        forbids these messages.
        """
        strings = list(_strings([messages, tools]))
        if all(self._suspicious.isdisjoint(text) for text in strings):
            return self._with_bos([Segment(self._text(messages, tools, plain), True)])
        free = free_characters([*strings, self.source], max(2, len(self._suspicious)))
        fences = Fences(self._suspicious, free)
        segments = fences.split(self._text(messages, tools, fences.wrap))
        if segments is None:
            veils = Veils(self._suspicious, free)
            segments = veils.split(self._text(messages, tools, veils.wrap))
        return self._with_bos(segments)

    def end_of_turn(self) -> str:
        """What stands behind an assistant's answer, which is to end with the first token of it; "" where the template
        does not tell."""
        answer = "homeport-assistant"
        messages = [{"role": "user", "content": "homeport-user"}, {"role": "assistant", "content": answer}]
        try:
            _, found, behind = self._rendered(messages, [], to_go_on=False).rpartition(answer)
        except (TemplateRefused, TemplateFailed):
            return ""
        return behind.lstrip() if found else ""

    def _with_bos(self, segments: list[Segment]) -> list[Segment]:
        if self._add_bos and not (segments and segments[0].special and segments[0].text.startswith(self._add_bos)):
            return [Segment(self._add_bos, True), *segments]
        return segments

    def _text(self, messages: Messages, tools: Messages, wrap: Callable[[str], str]) -> str:
        marked = [_marked(message, wrap) for message in messages]
        described = [_marked(tool, wrap) for tool in tools]
        if self._native_tools is None:
            marked, described = hermes.without_tools(marked, described), []
        if self.tool_format is MISTRAL:
            marked = [_with_short_ids(message) for message in marked]
        if not self._takes_system:
            marked = _folded(marked)
        try:
            return self._rendered(marked, described)
        except TemplateRefused as exc:
            raise InvalidRequest(
                f"The chat template of this model does not allow these messages: {exc}", param="messages"
            ) from exc
        except TemplateFailed as exc:
            raise HomeportError(f"The chat template of this model failed on these messages: {exc}.") from exc

    def _rendered(self, messages: Messages, tools: Messages, *, to_go_on: bool = True) -> str:
        return render(
            self._template,
            {"messages": messages, "tools": tools or None, "add_generation_prompt": to_go_on, **self._tokens},
        )

    def _probe(self) -> bool:
        """Does the template work at all, and does it take a system message? Some raise, some drop it in silence."""
        user = {"role": "user", "content": "homeport-user"}
        system = {"role": "system", "content": "homeport-system"}
        for messages in ([system, user], [system]):
            try:
                if "homeport-system" in self._rendered(messages, []):
                    return True
            except (TemplateRefused, TemplateFailed):
                pass
        try:
            self._rendered([user], [])
        except TemplateRefused as exc:
            raise TemplateFailed(f"it refuses a single user message: {exc}") from exc
        return False


def _strings(value: object) -> list[str]:
    """Every text a client has put in, keys of JSON objects included."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, Mapping):
            found.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, Sequence):
            waiting.extend(item)
    return found


def _marked(message: Mapping[str, object], wrap: Callable[[str], str]) -> dict[str, object]:
    """The client's strings wrapped, at any depth. Roles, types and the schema of OpenAI's own objects are ours."""
    return {key: value if key in ("role", "type") else _wrapped(value, wrap) for key, value in message.items()}


def _wrapped(value: object, wrap: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return wrap(value)
    if isinstance(value, Mapping):
        return {wrap(key): _wrapped(item, wrap) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_wrapped(item, wrap) for item in value]
    return value


def _with_short_ids(message: dict[str, object]) -> dict[str, object]:
    """Mistral's templates refuse ids that are not nine letters and digits."""

    def short(identifier: object) -> str:
        return hashlib.blake2b(str(identifier).encode(), digest_size=5).hexdigest()[:9]

    if "tool_call_id" in message:
        message["tool_call_id"] = short(message["tool_call_id"])
    if calls := message.get("tool_calls"):
        assert isinstance(calls, list)
        message["tool_calls"] = [{**call, "id": short(call["id"])} for call in calls]
    return message


def _folded(messages: Messages) -> list[dict[str, object]]:
    """System messages put at the head of the user message that follows, for models without that role."""
    folded: list[dict[str, object]] = []
    held: list[str] = []
    for message in messages:
        if message["role"] == "system":
            held.append(str(message["content"]))
        elif held and message["role"] == "user":
            folded.append({**message, "content": "\n\n".join([*held, str(message["content"])])})
            held = []
        else:
            folded.append(dict(message))
    if held:
        folded.append({"role": "user", "content": "\n\n".join(held)})
    return folded
