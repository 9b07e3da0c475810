"""Labelling a pool: the server from the first link to the summary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from counterground.construction.annotate import _api as api
from counterground.construction.annotate._labels import (
    AppState,
    Suggester,
    check_labels,
    guide_picture,
    read_labels,
)
from counterground.construction.annotate._web import (
    AnnotatorServer,
    AuthRoutes,
    Events,
    check_names,
    error_answer,
    html,
    page_not_found,
    picture,
)
from counterground.construction.pool import TASKS, Pool, Queue, check_annotators, open_pool
from counterground.construction.settings import LabelSettings
from counterground.errors import CounterGroundError
from counterground.photos import UnreadablePhoto
from counterground.text import counted


def build_app(state: AppState, *, port: int) -> Starlette:
    """Return the application of a server on ``port``."""
    auth = AuthRoutes(state.sessions, port, state.key)
    routes = [
        Route("/", auth.page(lambda _who, _request: RedirectResponse(f"/label/{state.task}", 303))),
        Route("/label/{task}", auth.page(_task_page(state, "label"))),
        Route("/disagreements/{task}", auth.page(_task_page(state, "adjudicate"))),
        Route("/progress", auth.page(lambda who, _: html(api.progress_page(state, who)))),
        Route("/labels", auth.page(lambda who, _: html(api.labels_page(state, who)))),
        Route("/photo/{row:int}", auth.file(partial(_photo, state))),
        Route("/guide/{place:int}", auth.file(partial(_guide, state))),
        *(
            Route(f"/api/{name}", auth.action(partial(action, state), body), methods=["POST"])
            for name, action, body in (
                ("next", api.next_photos, api.Next),
                ("remaining", api.remaining, api.OfTask),
                ("disagreements", api.disagreements, api.OfTask),
                ("events", api.record_events, Events),
                ("labels", api.set_labels, api.Labels),
                ("guidance", api.set_guidance, api.Guidance),
            )
        ),
    ]
    return auth.app(routes)


def _task_page(state: AppState, mode: str) -> Callable[[str, Request], Response]:
    def draw(annotator: str, request: Request) -> Response:
        task = request.path_params["task"]
        if task not in TASKS:
            return page_not_found()
        return html(api.label_page(state, annotator, task, mode))

    return draw


def _photo(state: AppState, request: Request) -> Response:
    found = state.queue.photo_of(request.path_params["row"])
    if found is None:
        return error_answer(404, "The pool has no such photo.")
    try:
        data, kind = picture(state.pool.photo_file(found[0]), found[1])
    except UnreadablePhoto as error:
        return error_answer(415, f"This photo cannot be read: {error.reason}.")
    except CounterGroundError:  # its message names the file, which reveals the source
        return error_answer(404, "The file of this photo is missing, or lies outside the pool.")
    return Response(data, media_type=kind)


def _guide(state: AppState, request: Request) -> Response:
    try:
        shown = guide_picture(state.pool, request.query_params.get("class", ""), request.path_params["place"])
    except UnreadablePhoto as error:
        return error_answer(404, f"This picture of the guide cannot be read: {error.reason}.")
    return Response(shown, media_type="image/jpeg")


@dataclass(frozen=True)
class SessionSummary:
    """The result of a session: how many decisions each annotator made, and the snapshot of the pool."""

    decisions: dict[str, int]
    snapshot: Path


def label_pool(
    path: str | Path, settings: LabelSettings, *, say: Callable[[str], None] = print
) -> SessionSummary:
    """Serve the pages until Ctrl-C; return what was decided.

    Args:
        path: the pool's folder.
        settings: settings of the session.
        say: function that prints a line.

    Raises:
        UsageError: there is no pool, or a name, label or model that cannot be used.
        CounterGroundError: the pool has no photo, cannot be written, or the port is taken.
    """
    check_names(settings)
    with open_pool(path) as pool:
        check_annotators(pool, settings.annotators)
        with AnnotatorServer(settings, pool, say) as server:
            state = _open_state(pool, str(path), settings, server)
            photos = sum(row.photos for row in state.queue.progress("review"))
            say(f"{pool.root.name}: {counted(photos, 'photo')}, {settings.task}.")
            before = state.queue.last_decision()
            server.serve(build_app(state, port=server.port))
            state.queue.release(settings.annotators)
            made = state.queue.made_since(before)
            return SessionSummary({name: made.get(name, 0) for name in settings.annotators}, pool.snapshot())


def _open_state(pool: Pool, named: str, settings: LabelSettings, server: AnnotatorServer) -> AppState:
    queue = Queue(pool, second=settings.second, order=settings.order, annotators=settings.annotators)
    if settings.labels is not None:
        listed = read_labels(settings.labels)
        with pool.connect() as connection:
            wanted = check_labels(listed, queue.uses("background"))
            pool.set_setting("background_labels", wanted, within=connection)
    if not any(row.photos for row in queue.progress("review")):
        raise CounterGroundError(f"The pool {named} has no photos: collect or import some first.")
    return AppState(
        pool,
        queue,
        server.sessions,
        key=pool.key(),
        named=named,
        task=settings.task,
        ranked=settings.order == "ranked",
        suggester=Suggester(settings.suggest) if settings.suggest else None,
    )
