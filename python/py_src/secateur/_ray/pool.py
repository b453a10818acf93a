"""A pool of actors that hold networks, and that may die."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .cluster import Workers, losses, reason, value
from .errors import worker_error
from .worker import Worker

#: Parts that a worker has at once, so that the data of the next are fetched while it computes.
_AT_ONCE = 2
#: How often a part is given to a new worker after its own is gone.
_REPLACED = 1


@dataclass(frozen=True)
class Part:
    """A part of the work."""

    #: Place of the part among all, from 0; -1 for one that is no part of the result.
    index: int
    #: Description for messages, such as "rows 0 to 1023".
    what: str
    #: Function of this package that a worker calls with itself, ``options`` and the values of ``refs``.
    function: Callable[..., tuple[Any, Any]]
    #: Arguments.
    options: Mapping[str, Any]
    #: References to large arguments in Ray's object store.
    refs: Sequence[Any] = ()


@dataclass
class _Slot:
    """The place of a worker, which is replaced if it dies."""

    actor: Any
    #: Parts given to the worker, the first of which it computes.
    parts: deque[_Given] = field(default_factory=deque)


@dataclass(eq=False)
class _Given:
    part: Part
    slot: _Slot
    actor: Any
    #: Small result, whose arrival says that the part is done.
    status: Any
    #: Reference to the large result.
    result: Any


class Pool:
    """Workers on a cluster. Leaving the context ends them."""

    def __init__(
        self,
        ray: Any,
        workers: Workers,
        device: int | str,
        networks: Any,
        retries: int,
        actor_options: Mapping[str, Any] | None,
    ) -> None:
        self._ray = ray
        self._arguments = {"device": device, "threads": workers.threads}
        # A worker takes the networks from the store once. As an argument of the actor they might be lost for a later one.
        self._networks = [networks]
        options: dict[str, Any] = {
            # The CPUs stay free for the tasks of Ray Data that feed the workers; else both might wait for each other.
            "num_cpus": 0,
            "num_gpus": workers.gpus,
            # Ray restarts an actor whose process or machine fails, and computes lost results again.
            "max_restarts": retries,
            "max_task_retries": retries,
            "scheduling_strategy": "SPREAD",
            **(actor_options or {}),
        }
        self._class = ray.remote(Worker).options(**options)
        self._slots = [_Slot(self._start()) for _ in range(workers.count)]
        self._moved: dict[int, int] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for slot in self._slots:
            self._ray.kill(slot.actor)

    def _start(self) -> Any:
        return self._class.remote(**self._arguments)

    def results(self, parts: Iterator[Part]) -> Iterator[tuple[Part, Any, Any]]:
        """Yields each part with its small result and a reference to its large one, in the order in which they end.

        Raises:
            WorkerError: Workers die again and again on a part.
            Exception: An exception that a part raised.
        """
        again: deque[Part] = deque()
        given: dict[Any, _Given] = {}
        is_over = False
        while True:
            while (slot := min(self._slots, key=lambda slot: len(slot.parts))) and len(slot.parts) < _AT_ONCE:
                part = again.popleft() if again else None if is_over else next(parts, None)
                if part is None:
                    is_over = True
                    break
                one = self._give(part, slot)
                given[one.status] = one
            if not given:
                return
            ready, _ = self._ray.wait(list(given), num_returns=1)
            one = given.pop(ready[0])
            status, lost = self._status(one)
            if lost is None:
                one.slot.parts.remove(one)
                yield one.part, status, one.result
            else:
                again.append(self._move(one, lost))

    def _give(self, part: Part, slot: _Slot) -> _Given:
        call = slot.actor.run.options(num_returns=2)
        status, result = call.remote(part.function, dict(part.options), self._networks, *part.refs)
        one = _Given(part, slot, slot.actor, status, result)
        slot.parts.append(one)
        return one

    def _status(self, one: _Given) -> tuple[Any, str | None]:
        """Returns the small result of a part, or the reason why the worker did not compute it."""
        try:
            return value(self._ray, one.status), None
        except losses(self._ray) as error:
            return None, reason(error)

    def _move(self, one: _Given, lost: str) -> Part:
        """Replaces the worker of a part unless that was done, and returns the part for another one."""
        slot = one.slot
        # The parts behind the first were not begun, so it is not they that ended the worker.
        if slot.parts[0] is one and slot.actor is one.actor:
            times = self._moved[one.part.index] = self._moved.get(one.part.index, 0) + 1
            if times > _REPLACED:
                raise worker_error(one.part.what, lost)
        if slot.actor is one.actor:
            self._ray.kill(one.actor)
            slot.actor = self._start()
        slot.parts.remove(one)
        return one.part
