"""One polite HTTP client: budgets, retries, deadlines, bounded reading. See README.md."""

from counterground.http._budget import DAY, HOUR, MINUTE, Budget, Limit, Waiting, refuse_long_wait
from counterground.http._client import (
    Answer,
    Client,
    FetchError,
    PatientClient,
    RequestLimits,
    backoff,
    retry_after,
    retry_pause,
    user_agent,
)
from counterground.http._fetch_loop import DownloadSettings, FetchLoop, Pacer
from counterground.http._hosts import HostQueue, Task

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "Answer",
    "Budget",
    "Client",
    "DownloadSettings",
    "FetchError",
    "FetchLoop",
    "HostQueue",
    "Limit",
    "Pacer",
    "PatientClient",
    "RequestLimits",
    "Task",
    "Waiting",
    "backoff",
    "refuse_long_wait",
    "retry_after",
    "retry_pause",
    "user_agent",
]
