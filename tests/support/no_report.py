"""Commands write no page: for a process that imports this first."""

import counterground.api

counterground.api._report = lambda *_, **__: None
