"""What all annotators' pages share: the server, access, request bodies, templates, photos."""

from counterground.construction.annotate.web._picture import picture, picture_as_stored
from counterground.construction.annotate.web._routes import (
    AuthRoutes,
    Body,
    Events,
    Sent,
    Text,
    Token,
    error_answer,
    html,
    page_not_found,
    record_each,
    render,
)
from counterground.construction.annotate.web._server import AnnotatorServer, ServerSettings, Sessions

__all__ = [
    "AnnotatorServer",
    "AuthRoutes",
    "Body",
    "Events",
    "Sent",
    "ServerSettings",
    "Sessions",
    "Text",
    "Token",
    "error_answer",
    "html",
    "page_not_found",
    "picture",
    "picture_as_stored",
    "record_each",
    "render",
]
