"""A Ray cluster to work on: joined or started here, silent, and how many workers it has room for."""

from __future__ import annotations

import io
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from counterground.errors import (
    CounterGroundError,
    MissingExtraError,
    UsageError,
    error_message,
    install_command,
    needs_extra,
)
from counterground.http import check_online, is_local
from counterground.text import counted

# How long an address may take to answer.
_SECONDS = 20


@dataclass(frozen=True)
class Room:
    """How many workers the nodes have room for, and the processors and GPUs of each."""

    workers: int
    threads: int
    gpus: float


def check_ray() -> None:
    """Check that Ray can be used, without importing it.

    Raises:
        MissingExtraError: it is not installed.
        UsageError: ``RAY_ADDRESS`` is the address of a Ray client.
        CounterGroundError: nothing answers at ``RAY_ADDRESS``; Ray itself would wait for minutes.
    """
    if find_spec("ray") is None:
        raise MissingExtraError(f"The package ray is not installed: run {install_command('ray')}.")
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise UsageError(
            f"RAY_ADDRESS={address} is for clients outside a cluster. Run this command on a node of it (as "
            "`ray job submit` does) with RAY_ADDRESS=auto."
        )
    host, _, port = address.rpartition(":")
    if host and not is_local(f"//{address}"):
        check_online(f"RAY_ADDRESS={address}")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=_SECONDS).close()
        except (OSError, OverflowError, UnicodeError) as error:  # no such port, no such name
            reason = getattr(error, "strerror", None) or error
            raise CounterGroundError(
                f"No Ray cluster answers at RAY_ADDRESS={address}: {reason}. Start one "
                "(`ray start --head`), or unset RAY_ADDRESS to start one here."
            ) from error


@contextmanager
def ray_cluster() -> Iterator[Any]:
    """Join the cluster of ``RAY_ADDRESS``, or start one on this machine; yield ``ray``.

    Raises:
        CounterGroundError: no cluster answers, or it fails.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with needs_extra("ray"):
        import ray
    joined = not ray.is_initialized()
    # Ray reports on workers on standard output, which is for the user's table.
    with redirect_stdout(io.StringIO()):
        try:
            if joined:
                with _native_errors_dropped():
                    ray.init(
                        os.environ.get("RAY_ADDRESS") or "local",
                        include_dashboard=False,
                        log_to_driver=False,
                        logging_level=logging.ERROR,
                    )
            yield ray
        except ConnectionError as error:
            raise CounterGroundError(
                f"{_last_line(error)}. If `ray start` said that token authentication is enabled, set "
                "RAY_AUTH_MODE=token here, too."
            ) from error
        except (ray.exceptions.RayError, RuntimeError) as error:
            raise CounterGroundError(
                f"The Ray cluster failed: {_last_line(error)}. What was encoded is kept: the same command "
                "continues."
            ) from error
        finally:
            if joined:
                ray.shutdown()


def room(nodes: Sequence[dict[str, Any]], threads: int, gpus: float) -> Room:
    """Return the room for workers of ``threads`` processors, or of ``gpus`` with a share of the processors.

    A worker on a CPU has as many threads as this process, because their number changes the last bits of
    features. On a GPU it does not.

    Args:
        nodes: what ``ray.nodes()`` returns.
        threads: threads of this process.
        gpus: GPUs of each worker.

    Raises:
        UsageError: there is no room.
    """
    sizes = [node["Resources"] for node in nodes if node["Alive"]]
    sizes = [(int(size.get("CPU", 0)), float(size.get("GPU", 0))) for size in sizes]
    if gpus:
        places = [(cpus, int(have / gpus)) for cpus, have in sizes if cpus and have >= gpus]
        threads = min((max(1, cpus // count) for cpus, count in places), default=1)
        workers = sum(min(count, cpus // threads) for cpus, count in places)
    else:
        workers = sum(cpus // threads for cpus, _ in sizes)
    if workers:
        return Room(workers, threads, gpus)
    have = "; ".join(f"{counted(cpus, 'processor')}, {gpus:g} GPUs" for cpus, gpus in sizes)
    wanted = (
        f"{gpus:g} GPUs: lower --gpus-per-worker" if gpus else f"{threads} threads: lower OMP_NUM_THREADS"
    )
    raise UsageError(f"No node of the Ray cluster ({have}) has room for a worker of {wanted}.")


@contextmanager
def _native_errors_dropped() -> Iterator[None]:
    """Drop what compiled code writes to standard error: Ray reports its log level there."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _last_line(error: BaseException) -> str:
    """Return the last line of an error: Ray puts the traceback of a worker before it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return error_message(Exception(lines[-1])) if lines else type(error).__name__
