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
from counterground.http._fetch_loop import DownloadSettings, FetchLoop, HostQueue, Pacer, Task
from counterground.http._offline import (
    OFFLINE,
    SECRET_NAME,
    check_online,
    is_local,
    is_offline,
    keep_secret,
    masked,
    offline,
    without_query,
)

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "OFFLINE",
    "SECRET_NAME",
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
    "check_online",
    "is_local",
    "is_offline",
    "keep_secret",
    "masked",
    "offline",
    "refuse_long_wait",
    "retry_after",
    "retry_pause",
    "user_agent",
    "without_query",
]
