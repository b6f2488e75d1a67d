"""Chat chunks, written for speed: what is the same in each is encoded once, and a piece of text costs one JSON string.

The shape is `CreateChatCompletionStreamResponse` of the OpenAPI description; a test reads the chunks with the
official SDK's types.
"""

import msgspec

from homeport import ids

_encode = msgspec.json.Encoder().encode
EVEN = 32  # with obfuscation, what varies in a chunk is padded to a multiple of so many bytes


class ChunkWriter:
    """All chunks of one answer. Every method returns a whole server-sent event."""

    def __init__(
        self,
        *,
        identifier: str,
        created: int,
        model: str,
        fingerprint: str,
        service_tier: str | None,
        include_usage: bool,
        obfuscate: bool,
    ) -> None:
        tier = b"" if service_tier is None else b',"service_tier":' + _encode(service_tier)
        self._head = (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b%b,"system_fingerprint":%b,'
            b'"choices":[' % (_encode(identifier), created, _encode(model), tier, _encode(fingerprint))
        )
        self._end = b'],"usage":null' if include_usage else b"]"
        self._obfuscate = obfuscate
        self._content_heads: dict[int, bytes] = {}

    def role(self, choice: int, *, content: str | None) -> bytes:
        return self.delta(choice, b'{"role":"assistant","content":%b,"refusal":null}' % _encode(content))

    def content(self, choice: int, text: str, logprobs: bytes = b"null") -> bytes:
        head = self._content_heads.get(choice)
        if head is None:
            head = self._content_heads[choice] = self._head + b'{"index":%d,"delta":{"content":' % choice
        body = _encode(text)
        return b'%b%b},"logprobs":%b,"finish_reason":null}%b' % (head, body, logprobs, self._tail(len(body)))

    def delta(self, choice: int, delta: bytes, *, finish: str | None = None, logprobs: bytes = b"null") -> bytes:
        """delta: an encoded object."""
        return b'%b{"index":%d,"delta":%b,"logprobs":%b,"finish_reason":%b}%b' % (
            self._head,
            choice,
            delta,
            logprobs,
            _encode(finish),
            self._tail(len(delta)),
        )

    def usage(self, usage: object) -> bytes:
        return self._head + b'],"usage":' + _encode(usage) + b"}\n\n"

    def _tail(self, varying: int) -> bytes:
        if not self._obfuscate:
            return self._end + b"}\n\n"
        padding = ids.random_text(EVEN - varying % EVEN).encode()
        return b'%b,"obfuscation":"%b"}\n\n' % (self._end, padding)


def call_began(number: int, identifier: str, name: str) -> bytes:
    """The delta that opens a tool call: id and name, and arguments that are still empty."""
    function = {"name": name, "arguments": ""}
    return _encode({"tool_calls": [{"index": number, "id": identifier, "type": "function", "function": function}]})


def call_arguments(number: int, text: str) -> bytes:
    return _encode({"tool_calls": [{"index": number, "function": {"arguments": text}}]})


def function_began(name: str) -> bytes:
    return _encode({"function_call": {"name": name, "arguments": ""}})


def function_arguments(text: str) -> bytes:
    return _encode({"function_call": {"arguments": text}})
