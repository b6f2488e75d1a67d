"""Embeddings by models that know what words mean, through the official SDK: the same promises of each engine."""

import base64
import math
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from homeport.wire.embeddings import MOST_INPUTS
from tests import model_files, openapi
from tests.api import raw
from tests.server import KEY, Running, running

pytest.importorskip("onnxruntime")
pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

PATH = "/v1/embeddings"
HAPPY = ["That is a happy person", "That is a very happy person"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The default model in both formats; the second also as one whose vectors may be shortened."""
    gguf = {"path": str(model_files.minilm_gguf()), "threads": 1}
    models = {
        "onnx": {"path": str(model_files.minilm()), "threads": 1},
        "gguf": gguf,
        "doll": {**gguf, "matryoshka": True, "context_length": 64, "parallel": 2},
    }
    with running(tmp_path_factory.mktemp("minilm"), {"models": models}) as made:
        yield made


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture(params=["onnx", "gguf"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def near(one: list[float], other: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def test_meaning_is_near_and_tokens_are_counted(client: openai.OpenAI, model: str) -> None:
    answer = client.embeddings.create(model=model, input=HAPPY)
    one, other = (each.embedding for each in answer.data)
    assert near(one, other) == pytest.approx(0.943, abs=0.01)
    assert near(one, one) == pytest.approx(1, abs=1e-5)
    assert answer.model == model
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 7 + 8


def test_both_engines_say_the_same(client: openai.OpenAI) -> None:
    given = [client.embeddings.create(model=model, input=HAPPY).data for model in ("onnx", "gguf")]
    for one, other in zip(*given, strict=True):
        assert near(one.embedding, other.embedding) > 0.99


def test_the_four_forms_of_an_input(client: openai.OpenAI, model: str) -> None:
    """[7592, 2088] is `hello world` in the model's own vocabulary."""
    forms: list[Any] = ["hello world", ["hello world"], [7592, 2088], [[7592, 2088], [7592, 2088]]]
    answers = [client.embeddings.create(model=model, input=form) for form in forms]
    assert [len(answer.data) for answer in answers] == [1, 1, 1, 2]
    assert [answer.usage.prompt_tokens for answer in answers] == [4, 4, 4, 8]
    first = answers[0].data[0].embedding
    assert all(near(first, each.embedding) > 0.999 for answer in answers for each in answer.data)


def test_tokens_of_openais_under_its_names(client: openai.OpenAI) -> None:
    """All three names lead to the first model that makes vectors, and the answer says which that is."""
    text = client.embeddings.create(model="onnx", input="hello world").data[0].embedding
    for name in ("text-embedding-ada-002", "text-embedding-3-small", "text-embedding-3-large"):
        answer = client.embeddings.create(model=name, input=[15339, 1917])  # `hello world` in cl100k_base
        assert answer.model == "onnx"
        assert near(answer.data[0].embedding, text) > 0.9999


def test_numbers_and_base64(server: Running, model: str) -> None:
    asked = {"model": model, "input": "hello there"}
    numbers = raw.ask(server, path=PATH, body={**asked, "encoding_format": "float"}).json["data"][0]["embedding"]
    encoded = raw.ask(server, path=PATH, body={**asked, "encoding_format": "base64"}).json["data"][0]["embedding"]
    assert struct.unpack("<384f", base64.b64decode(encoded)) == pytest.approx(numbers, abs=1e-6)


def test_dimensions_where_the_model_has_learned_it(client: openai.OpenAI) -> None:
    whole = client.embeddings.create(model="doll", input="hello there", dimensions=384).data[0].embedding
    short = client.embeddings.create(model="doll", input="hello there", dimensions=100).data[0].embedding
    length = math.sqrt(near(whole[:100], whole[:100]))
    assert length < 0.9
    assert short == pytest.approx([one / length for one in whole[:100]], abs=1e-5)
    with pytest.raises(openai.BadRequestError, match="less than or equal to 384") as caught:
        client.embeddings.create(model="doll", input="a", dimensions=385)
    assert caught.value.param == "dimensions"


def test_dimensions_where_it_has_not(client: openai.OpenAI, model: str) -> None:
    assert len(client.embeddings.create(model=model, input="a", dimensions=384).data[0].embedding) == 384
    with pytest.raises(openai.BadRequestError, match="its vectors have 384") as caught:
        client.embeddings.create(model=model, input="a", dimensions=256)
    assert caught.value.param == "dimensions"


@pytest.mark.parametrize(("model", "most"), [("onnx", 512), ("gguf", 512), ("doll", 64)])
def test_too_long_says_the_numbers(client: openai.OpenAI, model: str, most: int) -> None:
    fits = client.embeddings.create(model=model, input=["hello " * (most - 2)])
    assert fits.usage.prompt_tokens == most
    for wrong in ("hello " * (most - 1), [7592] * (most - 1)):
        with pytest.raises(openai.BadRequestError) as caught:
            client.embeddings.create(model=model, input=wrong)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")
        assert f"{most} tokens, however you requested {most + 1} tokens" in caught.value.message


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ("", "input", "empty_string"),
        (["a", ""], "input[1]", "empty_string"),
        ([[7592], []], "input[1]", "empty_array"),
        ([30522], "input[0]", "invalid_value"),
        ([[7592], [7592, -1]], "input[1]", "invalid_value"),
    ],
)
def test_what_no_engine_may_see(server: Running, model: str, given: Any, param: str, code: str) -> None:
    answer = raw.ask(server, path=PATH, body={"model": model, "input": given})
    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (param, code)


def test_the_most_inputs(client: openai.OpenAI, model: str) -> None:
    answer = client.embeddings.create(model=model, input=["hi"] * (MOST_INPUTS - 1) + [HAPPY[0]])
    assert [one.index for one in answer.data] == list(range(MOST_INPUTS))
    assert answer.usage.prompt_tokens == 3 * (MOST_INPUTS - 1) + 7
    hi, happy = answer.data[0].embedding, answer.data[-1].embedding
    assert all(near(hi, one.embedding) > 0.999 for one in answer.data[1:-1:97])
    assert near(happy, client.embeddings.create(model=model, input=HAPPY[0]).data[0].embedding) > 0.999


def test_requests_at_once_share_batches_and_nothing_else(client: openai.OpenAI, model: str) -> None:
    texts = [f"a harbour with {number} ships " + "and gulls " * (number % 7) for number in range(24)]
    together = client.embeddings.create(model=model, input=texts).data
    with ThreadPoolExecutor(8) as threads:
        alone = list(threads.map(lambda text: client.embeddings.create(model=model, input=text), texts))
    for one, other in zip(together, alone, strict=True):
        assert near(one.embedding, other.data[0].embedding) > 0.999
    assert near(together[0].embedding, together[13].embedding) < 0.99


def test_azures_way(server: Running, model: str) -> None:
    with openai.AzureOpenAI(azure_endpoint=server.url, api_key=KEY, api_version="2024-10-21") as azure:
        answer = azure.embeddings.create(model=model, input=HAPPY)
    assert answer.model == model
    assert near(answer.data[0].embedding, answer.data[1].embedding) == pytest.approx(0.943, abs=0.01)


def test_the_answer_is_as_described(server: Running, model: str) -> None:
    openapi.description(openapi.NEWEST)
    answer = raw.ask(server, path=PATH, body={"model": model, "input": HAPPY})
    openapi.validate("CreateEmbeddingResponse", answer.json, openapi.NEWEST)


def test_a_model_of_vectors_does_not_chat(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError, match="not a chat model"):
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_an_engine_that_cannot_is_refused_at_the_start(tmp_path: Path, engine: str) -> None:
    from homeport.errors import SettingsError

    models = {"gguf": {"path": str(model_files.minilm_gguf()), "engine": engine}}
    with pytest.raises(SettingsError, match=engine), running(tmp_path, {"models": models}):
        pass
