"""How the service refuses."""

import httpx


def problem(answer: httpx.Response, status: int, code: str) -> dict:
    """The problem that the answer is; everything that RFC 9457 and the contract ask of it holds."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "instance", "code", "errors", "more_errors"}
    assert (body["status"], body["code"]) == (status, code)
    assert len(answer.content) < 100_000
    assert len(body["errors"]) == 50 or body["more_errors"] == 0
    assert body["title"]
    assert body["detail"]
    return body
