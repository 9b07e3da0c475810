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
    number_in,
    page_not_found,
    record_each,
)
from counterground.construction.annotate.web._security import Sessions
from counterground.construction.annotate.web._server import AnnotatorServer, ServerSettings
from counterground.construction.annotate.web._templates import render

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
    "number_in",
    "page_not_found",
    "picture",
    "picture_as_stored",
    "record_each",
    "render",
]
