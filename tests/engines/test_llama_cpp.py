"""llama.cpp's raw completions keep the promises of text.TextEngine: what is said, how it ends, what is counted."""

import math

import pytest

from homeport.backends.text import Sampling
from homeport.errors import InvalidRequest
from tests.llama import Llama

FRANCE = "The capital of France is"
QUESTION = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
EMOJI = "Emoji: 😀 😃 😄 😁 😆 😅 🤣 😂 🙂 🙃"


def greedy(max_tokens: int = 12, **settings: object) -> Sampling:
    return Sampling(max_tokens, temperature=0.0, **settings)  # type: ignore[arg-type]


def test_the_likeliest_text(llama: Llama) -> None:
    answer = llama.say(FRANCE)
    assert answer.text.startswith(" Paris")
    assert answer.finish == "length"
    assert answer.tokens == 12


def test_the_end_of_text_ends_it_and_is_no_text(llama: Llama) -> None:
    answer = llama.say(QUESTION, greedy(40))
    assert answer.text == "The capital of France is Paris."
    assert answer.finish == "stop"
    assert answer.tokens == len(llama.tokens(answer.text)) + 1


def test_ignore_eos_goes_on_to_the_limit(llama: Llama) -> None:
    answer = llama.say(QUESTION, greedy(24, ignore_eos=True))
    assert answer.finish == "length"
    assert answer.tokens == 24


def test_one_token(llama: Llama) -> None:
    answer = llama.say(FRANCE, greedy(1))
    assert (answer.text, answer.finish, answer.tokens) == (" Paris", "length", 1)


def test_text_comes_token_by_token(llama: Llama) -> None:
    pieces = llama.say(FRANCE, greedy(6)).pieces
    assert len([piece for piece in pieces if piece.text]) == 6


def test_all_of_the_context_can_be_used_by_one(llama: Llama) -> None:
    """It is split over the places: the length that the card tells is what is left of it for each."""
    context = llama.engine.card.context_length
    assert context == 1024
    prompt = (llama.tokens("one two three four five six seven ") * context)[: context - 8]
    answer = llama.say(prompt, greedy(8, ignore_eos=True))
    assert (answer.finish, answer.tokens) == ("length", 8)


def test_no_prompt_at_all_is_refused(llama: Llama) -> None:
    with pytest.raises(InvalidRequest):
        llama.say([])


@pytest.mark.parametrize("token", [-1, 49152, 10**6])
def test_tokens_outside_the_vocabulary_are_refused(llama: Llama, token: int) -> None:
    with pytest.raises(InvalidRequest, match=f"{token} is no token") as caught:
        llama.say([1, token])
    assert caught.value.param == "prompt"
    with pytest.raises(InvalidRequest):
        llama.run(llama.engine.detokenize([token]))
    with pytest.raises(InvalidRequest):
        llama.run(llama.engine.score([token], 0))


@pytest.mark.parametrize(
    "text", ["Hello, world", "Grüße aus Köln", "日本語 😀", " two  spaces\n\n", "", '"quoted" \\ and \x07']
)
def test_tokens_and_back(llama: Llama, text: str) -> None:
    assert llama.run(llama.engine.detokenize(llama.tokens(text))) == text


# Stop texts


def test_a_stop_text_in_the_middle_of_tokens_is_cut_off(llama: Llama) -> None:
    answer = llama.say(QUESTION, greedy(40, stop=("tal of Fra",)))
    assert (answer.text, answer.finish) == ("The capi", "stop")
    assert all("tal" not in piece.text for piece in answer.pieces)


def test_the_first_of_several_stop_texts_ends_it(llama: Llama) -> None:
    answer = llama.say(QUESTION, greedy(40, stop=("Paris", "never", " of", "zzz")))
    assert (answer.text, answer.finish) == ("The capital", "stop")


def test_the_beginning_of_a_stop_text_is_given_back(llama: Llama) -> None:
    answer = llama.say(QUESTION, greedy(40, stop=("capital of Spain",), top_logprobs=0))
    assert answer.text == "The capital of France is Paris."
    assert "".join([one.token for one in answer.logprobs]) == answer.text


def test_a_stop_texts_tokens_have_no_logprobs(llama: Llama) -> None:
    answer = llama.say(QUESTION, greedy(40, stop=(" of France",), top_logprobs=0))
    assert answer.text == "The capital"
    assert [one.token for one in answer.logprobs] == ["The", " capital"]


# Characters of several tokens


def test_no_piece_tears_a_character(llama: Llama) -> None:
    """The tokens of these emoji are parts of characters."""
    answer = llama.say(EMOJI, greedy(30))
    assert any(ord(letter) > 0xFFFF for letter in answer.text)
    assert "\ufffd" not in answer.text
    assert len([piece for piece in answer.pieces if piece.text]) < answer.tokens


@pytest.mark.parametrize("limit", range(1, 6))
def test_a_limit_in_the_middle_of_a_character_says_no_part_of_it(llama: Llama, limit: int) -> None:
    answer = llama.say(EMOJI, greedy(limit, top_logprobs=1))
    assert (answer.finish, answer.tokens) == ("length", limit)
    assert answer.text.encode().decode() == answer.text
    assert "\ufffd" not in answer.text


def test_a_lone_byte_token_is_no_text(llama: Llama) -> None:
    """A forced first half of a two-byte character that is never finished."""
    half = llama.tokens("é")[0] if len(llama.tokens("é")) > 1 else llama.tokens("😀")[0]
    answer = llama.say(FRANCE, greedy(3, logit_bias={half: 100}))
    assert (answer.text.strip("\ufffd"), answer.tokens) == ("", 3)


# Sampling


def test_a_bias_forces_a_token_and_forbids_one(llama: Llama) -> None:
    paris, zebra = llama.tokens(" Paris")[0], llama.tokens(" zebra")[0]
    assert llama.say(FRANCE, greedy(3, logit_bias={zebra: 100})).text == " zebra zebra zebra"
    assert " Paris" not in llama.say(FRANCE, greedy(logit_bias={paris: -100})).text
    assert llama.say(FRANCE, greedy(1, logit_bias={paris: -1})).text == " Paris"


@pytest.mark.parametrize("penalty", ["presence_penalty", "frequency_penalty"])
def test_a_penalty_counts_all_of_the_text_so_far(llama: Llama, penalty: str) -> None:
    """llama.cpp looks back 64 tokens by itself: the word that is repeated stands before those. A bias brings it near
    to the next likeliest one, and the penalty then decides."""
    prompt = [*llama.tokens(" Paris\n"), *llama.tokens("1 2 3 4 5 6 7 8 9\n" * 4), *llama.tokens(FRANCE)]
    assert len(prompt) > 64 + 6
    (likeliest,) = llama.say(prompt, greedy(1, top_logprobs=1)).logprobs
    assert likeliest.token == " Paris"
    (repeated,), (new,) = llama.tokens(likeliest.token), llama.tokens(" zebra")
    assert new not in prompt
    scores = llama.run(llama.engine.score([*prompt, new], 0))
    assert scores[-1] is not None
    near = {new: likeliest.logprob - scores[-1].logprob - 1}  # one behind the repeated word
    assert prompt.count(repeated) == 1
    assert llama.say(prompt, greedy(1, logit_bias=near)).text == " Paris"
    assert llama.say(prompt, greedy(1, logit_bias=near, **{penalty: 2.0})).text == " zebra"


@pytest.mark.parametrize("top", [0, 1, 5, 20])
def test_so_many_alternatives_as_asked_for(llama: Llama, top: int) -> None:
    answer = llama.say(FRANCE, greedy(4, top_logprobs=top))
    assert [len(one.top) for one in answer.logprobs] == [top] * 4
    assert "".join([one.token for one in answer.logprobs]) == answer.text
    for one in answer.logprobs:
        assert one.bytes == one.token.encode()
        assert -math.inf < one.logprob < 0
        assert [other.logprob for other in one.top] == sorted([other.logprob for other in one.top], reverse=True)
        if top:
            assert (one.token, one.logprob) == (one.top[0].token, one.top[0].logprob)


def test_no_logprobs_unless_asked_for(llama: Llama) -> None:
    assert llama.say(FRANCE).logprobs == []


def test_logprobs_are_the_models_before_the_sampling(llama: Llama) -> None:
    plain = llama.say(FRANCE, greedy(1, top_logprobs=1)).logprobs[0]
    paris = llama.tokens(" Paris")[0]
    biased = llama.say(
        FRANCE, Sampling(1, temperature=0.2, top_p=0.1, logit_bias={paris: 50}, top_logprobs=1)
    ).logprobs[0]
    assert biased.token == plain.token
    assert biased.logprob == pytest.approx(plain.logprob, abs=1e-3)


def test_scores_are_the_logprobs_of_generating_the_same(llama: Llama) -> None:
    answer = llama.say(FRANCE, greedy(3, top_logprobs=2))
    tokens = llama.tokens(FRANCE + answer.text)
    scores = llama.run(llama.engine.score(tokens, 2))
    assert scores[0] is None
    assert len(scores) == len(tokens)
    for score, generated in zip(scores[-3:], answer.logprobs, strict=True):
        assert score is not None
        assert score.token == generated.token
        assert score.logprob == pytest.approx(generated.logprob, abs=0.05)
        assert [other.token for other in score.top] == [other.token for other in generated.top]


def test_temperature_zero_is_always_the_same(llama: Llama) -> None:
    assert llama.say(QUESTION, greedy(30)).text == llama.say(QUESTION, greedy(30)).text


def test_a_small_top_p_is_the_likeliest_text(llama: Llama) -> None:
    assert llama.say(FRANCE, Sampling(6, top_p=1e-6)).text == llama.say(FRANCE, greedy(6)).text


def test_a_failure_inside_is_an_error_and_not_an_end(llama: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp swallows what its callback raises."""

    def broken(*_: object) -> object:
        raise RuntimeError("secret path /tmp/x")

    monkeypatch.setattr("homeport.backends.engines.llama_chunks.logprob_of", broken)
    with pytest.raises(RuntimeError):
        llama.say(FRANCE, greedy(3, top_logprobs=1))
    monkeypatch.undo()
    assert llama.say(FRANCE, greedy(1)).text == " Paris"


def test_what_llama_cpp_refuses_is_an_error(llama: Llama) -> None:
    with pytest.raises(InvalidRequest) as caught:
        llama.say(llama.tokens("word ") * 4500, greedy(1))
    assert "/" not in caught.value.message
