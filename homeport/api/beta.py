"""`OpenAI-Beta`: what a client says with every request to an API that OpenAI has never called finished.

Source: the SDKs send `assistants=v2` with all of `client.beta.assistants` and `client.beta.threads`; the answer to who
does not is OpenAI's. Azure's style has `api-version` in its place.
"""

from collections.abc import Iterable

from homeport.errors import InvalidRequest

ASSISTANTS_V2 = "assistants=v2"
_OLDER = "assistants=v1"


def check(given: Iterable[str], wanted: str) -> None:
    """given: the values of the headers; each may have several, with commas. Raises InvalidRequest."""
    values = {value.strip() for header in given for value in header.split(",")}
    if wanted in values:
        return
    if _OLDER in values:
        raise InvalidRequest(
            f"The v1 Assistants API is gone. Please try again by setting the header 'OpenAI-Beta: {wanted}'; what is "
            "different is in OpenAI's migration guide from v1 to v2.",
            code="invalid_beta",
        )
    raise InvalidRequest(
        "You must provide the 'OpenAI-Beta' header to access the Assistants API. Please try again by setting the "
        f"header 'OpenAI-Beta: {wanted}'.",
        code="invalid_beta",
    )
