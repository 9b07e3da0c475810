"""One polite HTTP client: budgets, retries, deadlines, bounded reading. See README.md."""

from counterground.http._budget import DAY, HOUR, MINUTE, Budget, Limit, Waiting, refuse_long_wait
from counterground.http._client import (
    TRANSIENT,
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
from counterground.http._deadline import Deadline, deadline_opener
from counterground.http._fetch_loop import DownloadSettings, FetchLoop, Pacer
from counterground.http._hosts import HostQueue, Task

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "TRANSIENT",
    "Answer",
    "Budget",
    "Client",
    "Deadline",
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
    "deadline_opener",
    "refuse_long_wait",
    "retry_after",
    "retry_pause",
    "user_agent",
]
