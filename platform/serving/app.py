"""The endpoint: OpenAI's images API over one model, and the page that uses it."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Form, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST

from unlatent.platform.provenance import release
from unlatent.platform.serving.answers import Answer, Answers, event_stream
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.serving.errors import MEANINGS, Refusal, answer_like_openai, errors
from unlatent.platform.serving.gate import Gate
from unlatent.platform.serving.generator import Generator
from unlatent.platform.serving.patience import until_deadline, while_client_waits
from unlatent.platform.serving.requests import EditRequest, GenerationRequest, edit_of, generation_of
from unlatent.platform.serving.served_model import Picture, ServedModel

PAGE = Path(__file__).parent / "page"


def create_app(generator: Generator, config: ServeConfig, token_digest: str | None) -> FastAPI:
    app = FastAPI(title="Unlatent", version=release("unlatent") or "unreleased", docs_url=None, redoc_url=None)
    app.add_middleware(Gate, token_digest=token_digest, max_upload_bytes=config.max_upload_bytes)
    answer_like_openai(app)
    add_images(app, generator, config)
    add_models(app, generator)
    add_page(app)
    return app


def add_images(app: FastAPI, generator: Generator, config: ServeConfig) -> None:
    @app.post("/v1/images/generations", responses=errors(*MEANINGS))
    async def create_images(request: GenerationRequest, http: Request) -> Response:
        """Makes images. The same model, settings and seed give the same image, up to rounding.

        With stream the answer is server-sent events: image_generation.partial_image, image_generation.completed.
        """
        served = in_service(generator)
        order = generation_of(request, served.card, config)
        return await answer(Answers(request, order, served.card), served, http, config.deadline_s)

    @app.post("/v1/images/edits", responses=errors(*MEANINGS))
    async def edit_image(
        request: Annotated[EditRequest, Form(media_type="multipart/form-data")], http: Request
    ) -> Response:
        """Turns an image of a size that the model makes into one of another class, or of another text.

        Outside a mask every pixel stays as it was, unless the model is one of latents.

        With stream the answer is server-sent events: image_edit.partial_image, image_edit.completed.
        """
        served = in_service(generator)
        order = await edit_of(request, served.card, config)
        return await answer(Answers(request, order, served.card), served, http, config.deadline_s)


async def answer(answers: Answers, served: ServedModel, http: Request, deadline_s: float) -> Response:
    pictures = until_deadline(served.images(answers.order), deadline_s)
    if answers.request.stream:  # begins with the first picture, so that a refusal before it still has its status
        first = await while_client_waits(http, anext(pictures))
        return StreamingResponse(event_stream(first, pictures, answers), media_type="text/event-stream")
    return JSONResponse(await while_client_waits(http, whole_answer(pictures, answers)))


async def whole_answer(pictures: AsyncGenerator[Picture], answers: Answers) -> Answer:
    done = sorted([picture async for picture in pictures], key=lambda picture: picture.index)
    return answers.whole([await answers.image(picture) for picture in done])


def add_models(app: FastAPI, generator: Generator) -> None:
    @app.get("/v1/models", responses=errors(401, 503))
    def list_models() -> Answer:
        """The deployed model: what it is, how it was measured."""
        return {"object": "list", "data": [in_service(generator).card.to_json()]}

    @app.get("/v1/models/{model_id}", responses=errors(401, 404, 422, 503))
    def get_model(model_id: str) -> Answer:
        """The same by its id."""
        card = in_service(generator).card
        if model_id != card.id:
            message = f"model={model_id!r} is not deployed here; {card.id} is"
            raise Refusal(404, message, "model", "model_not_found")
        return card.to_json()

    @app.get("/health")
    def health() -> Answer:
        """The endpoint is alive."""
        return {"status": "alive"}

    @app.get("/ready", responses=errors(503))
    def ready() -> Answer:
        """A model is loaded and has made an image."""
        return {"status": "ready", "model": in_service(generator).card.id}

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generator.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def in_service(generator: Generator) -> ServedModel:
    if generator.served is None:
        raise Refusal(503, "no model is loaded yet", code="model_not_loaded", retry_after_s=1)
    return generator.served


def add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return FileResponse(PAGE / "docs.html")

    app.mount("/page", StaticFiles(directory=PAGE))
