"""Errors of the work on a cluster."""

from __future__ import annotations

from .._errors import Error


class WorkerError(Error, RuntimeError):
    """Workers that die again and again on one part of the work."""


def worker_error(what: str, reason: str) -> WorkerError:
    """Returns the exception for a part of the work on which every worker dies."""
    remedy = "see Ray's logs of the worker; if memory ran out, use fewer workers (`concurrency`) or a smaller `batch`"
    error = WorkerError(f"every worker dies on {what}\n       got: {reason}\n    remedy: {remedy}")
    error.remedy = remedy
    return error
