"""Refusals, in the error body that OpenAI's clients read."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

ErrorBody = dict[str, dict[str, str | None]]


class Error(BaseModel):
    message: str = Field(description="what is wrong, and what would do")
    type: str = Field(description="invalid_request_error, authentication_error, rate_limit_error or server_error")
    param: str | None = Field(description="the field that it is about")
    code: str | None = Field(description="the kind of it, for programs")


class ErrorAnswer(BaseModel):
    """As the body is described: OpenAI's."""

    error: Error


MEANINGS = {
    400: "what this model cannot do, or what is no image",
    401: "the token is missing, or another",
    404: "the model is not deployed here",
    413: "an upload or an image that is too large",
    422: "a field that is not known, of another type or out of range",
    429: "no room to wait in; Retry-After says when there should be some",
    500: "the server failed; its log says how",
    503: "no model is loaded yet",
    504: "not done within the deadline",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route's description says of them."""
    return {status: {"model": ErrorAnswer, "description": MEANINGS[status]} for status in statuses}


class Refusal(HTTPException):
    """A request that is not carried out: which field is wrong, and what would do."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None, retry_after_s: int = 0
    ) -> None:
        super().__init__(status, message, {"Retry-After": str(retry_after_s)} if retry_after_s else None)
        self.param, self.code = param, code

    def body(self) -> ErrorBody:
        return error_body(self.status_code, self.detail, self.param, self.code)

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), self.status_code, headers=self.headers)


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> ErrorBody:
    kinds = {401: "authentication_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


FAILED = Refusal(500, "the server failed on this request; its log says how", code="internal_error")


def answer_like_openai(app: FastAPI) -> None:
    """Every error of the app, also one of the framework's own, gets OpenAI's body."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error, Refusal):
            return error.response()
        message = f"{request.method} {request.url.path}: {error.detail}"
        code = HTTPStatus(error.status_code).name.lower()
        return JSONResponse(error_body(error.status_code, message, None, code), error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return refusal_of(error.errors()[0]).response()

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(FAILED.body(), 500, {"Connection": "close"})  # as the server then does


def refusal_of(error: ErrorDetails) -> Refusal:
    """The first thing that validation found wrong, with the field, its value and the limit."""
    kind, path, value = error["type"], error["loc"][1:], error["input"]
    if kind == "json_invalid":
        return Refusal(400, f"the body is not JSON: {error['ctx']['error']}", code=kind)
    if not path:
        return Refusal(400, "the body is not a JSON object sent as application/json", code="not_an_object")
    param = ".".join(str(part) for part in path)
    if kind == "missing":
        return Refusal(422, f"{param} is required", param, kind)
    if kind == "extra_forbidden":
        return Refusal(422, f"{param} is not supported here; /docs lists the fields that are", param, "unknown_field")
    reason = error["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix(f"{param} ")
    return Refusal(422, f"{param}={shown(value)}: {reason[0].lower()}{reason[1:]}", param, kind)


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
