"""The small server behind the page: its files, what a folder of studies holds, and one trainer."""

import contextlib
import json
import socket
import webbrowser
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from redrop.errors import UsageError
from redrop.lab.export import check_folder
from redrop.lab.files import Files
from redrop.lab.jobs import DATA, Trainer
from redrop.lab.look import parse_look
from redrop.lab.models import SHIPPED, run_models, run_tokenizer, run_weights, shipped_models
from redrop.lab.security import LARGEST_BODY, LoopbackOnly, fresh_token
from redrop.lab.studies import find_studies, parse_have, study_payload

if TYPE_CHECKING:
    from redrop.lab.hugging_face import HuggingFaceModel

STATIC = Path(__file__).parent / "static"
LOOPBACK = "127.0.0.1"


class Lab:
    """What the server answers about one folder."""

    def __init__(self, root: Path, hugging_face: "HuggingFaceModel | None") -> None:
        self.root = root.resolve()
        self.trainer = Trainer(self.root)
        self.hugging_face = hugging_face

    def state(self, _request: Request) -> Response:
        """Say which studies there are and what the trainer does."""
        titles = [
            {"name": name, "title": folder.relative_to(self.root).as_posix()}
            for name, folder in find_studies(self.root).items()
        ]
        return JSONResponse(
            {"studies": titles, "trainer": self.trainer.status(), "data": DATA, "is_live": True}
        )

    def study(self, request: Request) -> Response:
        """Say what is new in a study."""
        name = request.query_params.get("name", "")
        folder = find_studies(self.root).get(name)
        if folder is None:
            raise UsageError(f"No study of that name is in this folder; got {name[:80]!r}.")
        have = parse_have(request.query_params.get("have", ""))
        version = request.query_params.get("version", "")
        return JSONResponse(study_payload(name, folder, have, version))

    def models(self, _request: Request) -> Response:
        """List the models whose attention can be shown."""
        foreign = [self.hugging_face.describe()] if self.hugging_face else []
        return JSONResponse([*foreign, *shipped_models(), *run_models(find_studies(self.root))])

    def look(self, request: Request) -> Response:
        """Say what a Hugging Face model makes of a text."""
        if self.hugging_face is None:
            raise UsageError("No Hugging Face model is open. Pass its folder to `redrop lab`.")
        return JSONResponse(self.hugging_face.look(**parse_look(request.query_params)))

    def weights(self, request: Request) -> Response:
        """Send the weights of a run's model."""
        content = run_weights(find_studies(self.root), request.query_params.get("name", ""))
        return Response(content, media_type="application/octet-stream")

    def tokenizer(self, request: Request) -> Response:
        """Send what turns a text into the tokens of a run's model."""
        name = request.query_params.get("name", "")
        return JSONResponse(run_tokenizer(find_studies(self.root), name))

    async def train(self, request: Request) -> Response:
        """Start a run of the page's settings."""
        body = await request.body()
        if len(body) > LARGEST_BODY:
            raise UsageError("The request is too long.")
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"A request to train is a JSON object; {error}.") from error
        return JSONResponse(await run_in_threadpool(self.trainer.start, asked))

    async def stop(self, _request: Request) -> Response:
        """Stop the run of the page."""
        return JSONResponse(await run_in_threadpool(self.trainer.stop))


def create_app(
    *,
    port: int,
    token: str,
    folder: Path | None = None,
    hugging_face: "HuggingFaceModel | None" = None,
) -> Starlette:
    """Return the application; it holds no socket.

    Args:
        port: Where it will be served, part of the `Host` it answers to.
        token: That a request to start or stop a run must carry.
        folder: Of studies, or of one study; by default the current one.
        hugging_face: Model to show besides redrop's own.
    """
    lab = Lab(folder or Path(), hugging_face)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(lab.trainer.stop)  # no run outlives the page that can stop it

    routes: list[BaseRoute] = [
        Route("/api/state", lab.state),
        Route("/api/study", lab.study),
        Route("/api/models", lab.models),
        Route("/api/look", lab.look),
        Route("/api/weights", lab.weights),
        Route("/api/tokenizer", lab.tokenizer),
        Route("/api/train", lab.train, methods=["POST"]),
        Route("/api/stop", lab.stop, methods=["POST"]),
        Route("/models/{path:path}", Files(SHIPPED).answer),
        Route("/{path:path}", Files(STATIC).answer),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(LoopbackOnly, port=port, token=token)],
        exception_handlers={UsageError: _usage_error},
    )


def serve(
    folder: Path | None = None,
    *,
    hugging_face: Path | None = None,
    port: int = 0,
    open_browser: bool = True,
    announce: Callable[[str], None] = lambda _address: None,
) -> None:
    """Serve the page on 127.0.0.1 until interrupted.

    Args:
        folder: Of studies, or of one study; by default the current one.
        hugging_face: Folder of a causal language model whose attention is to be shown.
        port: 0 takes any free one.
        open_browser: Show the page in the user's browser.
        announce: Called once with the address, which carries the token.

    Raises:
        UsageError: The port is taken, or the folder is none.
    """
    check_folder(folder)
    model = None
    if hugging_face is not None:
        from redrop.lab.hugging_face import HuggingFaceModel  # loads torch and transformers

        model = HuggingFaceModel(hugging_face)
    listener = listen(port)
    port = listener.getsockname()[1]
    token = fresh_token()
    view = "#v=1&view=runs" if find_studies((folder or Path()).resolve()) else ""
    address = f"http://{LOOPBACK}:{port}/?token={token}{view}"
    app = create_app(port=port, token=token, folder=folder, hugging_face=model)
    config = uvicorn.Config(
        app, log_level="error", server_header=False, timeout_graceful_shutdown=2
    )
    announce(address)
    if open_browser:
        webbrowser.open(address)
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how the server is meant to end
        uvicorn.Server(config).run(sockets=[listener])


def listen(port: int) -> socket.socket:
    """Return a socket that listens on the loopback interface only; port 0 takes a free one."""
    try:
        return socket.create_server((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"`port` must be a free one of this machine; {port} is not ({error}). Leave it out."
        ) from error


async def _usage_error(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)
