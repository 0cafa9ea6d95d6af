"""The main loop of a worker process: engine, executor children, parts and signals.

It waits in one place, its selector, for its children, its supervisor, a signal, a hint of the
database or the next due time.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from django.db import Error as DatabaseError
from django.db import close_old_connections

from django_infinitic import signals
from django_infinitic.conf import settings
from django_infinitic.machine.effects import Effects
from django_infinitic.machine.ids import STARTER_LANE
from django_infinitic.storages.base import (
    ClaimedTask,
    DefiniteRollback,
    NotOwner,
    Storage,
    UnknownOutcome,
)
from django_infinitic.storages.documents import part_of
from django_infinitic.worker import notices
from django_infinitic.worker.backlog import runnable
from django_infinitic.worker.child import Waker
from django_infinitic.worker.colocated import Executors
from django_infinitic.worker.control import Control
from django_infinitic.worker.engine import SINGLE_FILE, Engine
from django_infinitic.worker.failpoints import failpoint
from django_infinitic.worker.frames import Gone
from django_infinitic.worker.loops import Heartbeat, Housekeeping, Lane, Loop
from django_infinitic.worker.options import WorkerOptions
from django_infinitic.worker.processes import Child, ProcessChild, ThreadChild
from django_infinitic.worker.remote import Queue
from django_infinitic.worker.waits import WaitNotes
from django_infinitic.worker.watchdog import Watchdog, leave_process
from django_infinitic.worker.work import Progress

logger = logging.getLogger("django_infinitic.worker")
DUTIES: Final = 1.0
"""Seconds between two looks at the parts."""
HOLD: Final = 5.0
"""Seconds for which a draining worker keeps its parts while its last tasks end."""
SHORTEST, LONGEST, HINTED = 0.005, 0.05, 0.5
"""Pauses between polls: after work, when idle, and when the database gives hints."""
SQLITE_PAUSE: Final = 0.002
"""Room for web processes after a batch, as SQLite has one lock for all (B3)."""
AWAY_PAUSE: Final = 2.0
LISTEN_AGAIN: Final = 5.0
NOTES: Final = 0.5
"""Seconds between two looks for waits to note."""


class EngineProcess:
    """A worker: one life after the other until it is told to stop."""

    def __init__(
        self,
        options: WorkerOptions,
        store: Storage,
        *,
        sqlite: bool,
        control: Control | None = None,
        successor: bool = False,
        first_child: Child | None = None,
        changed: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.options = options
        self.reloading = False
        """Whether it ends because the code has changed."""
        self._changed = changed
        self._first_child = first_child
        self.store = store
        self._sqlite = sqlite
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._waker = Waker()
        self._selector.register(self._waker, selectors.EVENT_READ, "waker")
        if control is not None:
            self._selector.register(control, selectors.EVENT_READ, "control")
        self._watchdog = Watchdog(settings.segment_timeout, self._condemn)
        self._services = options.served_services()
        self._executors = Executors(
            self._spawn,
            slots=options.concurrency,
            services=self._services,
            worker_name=options.name,
            selector=self._selector,
        )
        self._executors.closed = not options.executor
        self._executors.owned = self._owns
        self._workflows = options.served_workflows()
        self._engine = Engine(
            store,
            notify=notices.tell,
            observe=self._observe,
            colocated=self._executors,
            watchdog=self._watchdog,
        )
        self._engine.single_file = SINGLE_FILE if successor else 0
        self._engine.unknown_version = self._lacks
        self._waits = WaitNotes(store, self._engine.state)
        self._engine.loaded = self._waits.loaded
        self._waits_at = 0.0
        self._queue = Queue(store, self._executors, self._services)
        self._lane = Lane(store)
        self._heartbeat = Heartbeat(
            store,
            may_stand=self._watchdog.within_limit,
            lost=self._marked_dead,
            beat=lambda: self._tell(beat=1),
        )
        retention = settings.retention
        self._loops = [
            Loop("heartbeat", self._heartbeat, Heartbeat.PERIOD, self._close_store),
            Loop(
                "housekeeping",
                Housekeeping(
                    store,
                    retention=None if retention is None else round(retention.total_seconds() * 1e6),
                    reaped=self._reaped,
                ),
                Housekeeping.REAP,
                self._close_store,
            ),
        ]
        self._lane_loop = Loop("lane", self._lane, 0.2, self._close_store)
        if options.engine:
            self._loops.append(self._lane_loop)
        self._own_parts: frozenset[int] = frozenset()
        self._to_release: set[int] = set()
        self._lacking: dict[int, tuple[str, int]] = {}
        self._dead = 0
        self._duties_at = 0.0
        self._draining = 0.0
        self._pause = SHORTEST
        self._away = 0.0
        self._busy_until = 0.0
        self._busy_time = 0.0
        self._drain_looks = 0
        self._listener: Any = None
        self._listen_at = 0.0
        self._untold = False
        self.ended = False

    # -- a life ------------------------------------------------------------------------------

    def run(self) -> None:
        """Run until it has drained. Raises `Gone` when its supervisor is gone."""
        self._watchdog.start()
        for loop in self._loops:
            loop.start()
        if self.options.executor:
            self._executors.run_once()
        try:
            while not self.ended:
                self._wait(self.run_once())
        finally:
            self._leave()

    def run_once(self) -> Progress:
        """One round: duties, children, one batch, tasks; whether there was anything."""
        self._heartbeat.moved = time.monotonic()
        try:
            progress = self._round()
        except NotOwner as error:
            logger.warning("This worker starts anew: %s", error)
            self._die()
            return Progress(True)
        except UnknownOutcome as error:
            logger.warning("It is not known what became of a batch; starting anew: %s", error)
            self._close_store()
            self._dead = self.store.me
            return self._wait_for_database()
        except (DefiniteRollback, DatabaseError) as error:
            if not _may_pass(error):
                raise
            if not self._away:
                logger.warning("The database does not answer as it should; trying again: %s", error)
            self._close_store()
            return self._wait_for_database()
        if self._away:
            logger.warning("The database answers again.")
            self._away = 0.0
        return progress

    def _wait_for_database(self) -> Progress:
        self._away = min(AWAY_PAUSE, max(0.05, 2 * self._away))
        self._pause = self._away
        return Progress(False)

    def _round(self) -> Progress:
        if self._dead:
            self._die()
        if not self.store.me:
            self._be_born()
        began = time.monotonic()
        busy = self._executors.run_once()
        if self._executors.written():
            self._engine.hint()
        self._listen()
        if began >= self._duties_at:
            self._duties()
        next_due: int | None = None
        if self._engine.parts:
            progress = self._engine.run_once()
            busy = busy or progress.busy
            next_due = progress.next_due
            self._give_away()
            if began >= self._waits_at:
                self._waits_at = began + NOTES
                self._waits.run_once()
        busy = self._queue.run_once() or busy
        if self._queue.told_own:
            self._queue.told_own = False
            self._engine.hint()
            busy = True
        if self._queue.told_others:
            self._queue.told_others = False
            self._untold = True
        if self._untold:
            self._untold = False
            self._tell_others()
        if self._queue.next_due is not None:
            next_due = min(next_due or self._queue.next_due, self._queue.next_due)
        if busy:
            self._drain_looks = 0
            self._busy_time += time.monotonic() - began
        elif self.options.drain and not self._draining:
            self._look_whether_done()
        if self._draining:
            self._drain()
        return Progress(busy, next_due)

    def _be_born(self) -> None:
        self.store.me = self.store.register(self.options.name, self.options.info())
        failpoint("worker.after_mark")
        self._tell(me=self.store.me)
        self._duties_at = 0.0
        self._queue.hint()

    def _die(self) -> None:
        """Whatever this life held is free for others; the next one begins at once."""
        old, self.store.me = self.store.me, 0
        self._engine.forget()
        self._waits.forget()
        self._engine.parts = ()
        self._own_parts = frozenset()
        self._lane.parts = ()
        self._lacking = {}
        self._to_release = set()
        if old:
            self._dead = old
            self.store.reap(old)
        self._dead = 0

    def _marked_dead(self, me: int) -> None:
        """The heartbeat found that somebody has marked this life dead."""
        if me == self.store.me:
            self._dead = me
            self._waker.wake()

    def _condemn(self, instance: str) -> None:
        """The watchdog: the engine thread does not come back from the code of this instance."""
        with contextlib.suppress(Exception):
            self.store.suspect(self.store.me, instance)
        leave_process()

    def _reaped(self, count: int) -> None:
        self._engine.single_file = max(self._engine.single_file, SINGLE_FILE)
        self._duties_at = 0.0
        self._waker.wake()

    # -- parts -------------------------------------------------------------------------------

    def _duties(self) -> None:
        """Take parts, let go of those that a poorer worker wants."""
        self._duties_at = time.monotonic() + DUTIES
        if not self._draining and (file := self._changed()) is not None:
            logger.info("%s changed, reloading.", file)
            self.reloading = True
            self.drain()
        if not self._workflows or self._draining:
            return
        wanted = self.store.wanted(self.store.me)
        self._to_release.update(wanted)
        for part, (workflow, version) in list(self._lacking.items()):
            if any(
                version in worker["info"].get("workflows", {}).get(workflow, ())
                for worker in self.store.workers_alive()
            ):
                del self._lacking[part]
                self._to_release.add(part)
        self._give_away()
        self._own(self.store.take(self.store.me, self._workflows, settings.parts))
        failpoint("worker.after_take")

    def _own(self, parts: list[int]) -> None:
        own = frozenset(parts)
        if own != self._own_parts:
            logger.debug("%s owns %d parts.", self.options.name, len(own))
            self._own_parts = own
            self._engine.parts = [part for part in parts if part & 255 != STARTER_LANE]
            self._lane.parts = tuple(part for part in parts if part & 255 == STARTER_LANE)
            self._engine.hint()
            self._executors.moved()

    def _give_away(self) -> None:
        """Between two batches nothing of a part is under way."""
        if not self._to_release or self._engine.unsent:
            return
        parts, self._to_release = self._to_release & self._own_parts, set()
        if not parts:
            return
        self._engine.let_go(parts)
        self._lane.parts = tuple(part for part in self._lane.parts if part not in parts)
        self.store.release(self.store.me, sorted(parts))
        self._own_parts -= parts
        self._executors.moved()

    def _owns(self, task: ClaimedTask) -> bool:
        return part_of(task.workflow, task.instance, settings.parts) in self._own_parts

    def _lacks(self, instance: str, version: int) -> bool:
        """An instance needs a version that is not known here (A6)."""
        part = self.store.need_version(self.store.me, instance, version)
        if part is not None:
            self._to_release.add(part)
            return True
        head = self.store.head(instance)  # nobody has it: its messages wait, the others go on
        if head is not None:
            self._lacking[part_of(head.workflow, instance, settings.parts)] = (
                head.workflow,
                version,
            )
        return False

    # -- hints -----------------------------------------------------------------------------

    def _listen(self) -> None:
        """Where the database sends hints, hear them; without them polling is enough (C9)."""
        if self._listener is not None or time.monotonic() < self._listen_at:
            return
        self._listen_at = time.monotonic() + LISTEN_AGAIN
        listen = getattr(self.store, "listen", None)
        if listen is None:
            self._listen_at = float("inf")
            return
        try:
            self._listener = listen()
        except Exception as error:
            logger.debug("No hints: %s", error)
            return
        self._selector.register(self._listener, selectors.EVENT_READ, "hints")

    def _hinted(self) -> None:
        try:
            if not self._listener.received():
                return
        except Exception as error:
            logger.debug("No more hints: %s", error)
            self._deafen()
        self._engine.hint()
        self._queue.hint()
        self._pause = SHORTEST

    def _deafen(self) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _tell_others(self) -> None:
        tell = getattr(self.store, "tell", None)
        if tell is not None:
            tell()

    def _observe(self, effects: Effects) -> None:
        self._waits.stepped(effects.instance)
        if any(child.custom_id is not None for child in effects.instances):
            self._lane_loop.wake()
        if any(not task.claimed for task in effects.tasks):
            self._queue.hint()
            self._untold = True
        if effects.posts or effects.instances:
            self._engine.hint()
            self._untold = True

    # -- stopping ----------------------------------------------------------------------------

    def drain(self) -> None:
        """Finish what runs, begin nothing new. For signal handlers too."""
        if not self._draining:
            self._draining = time.monotonic()
            self._waker.wake()

    def _look_whether_done(self) -> None:
        """`--drain`: two looks in a row find nothing that this worker could do."""
        if self._executors.busy or runnable(self.store.now(), self._workflows, self._services):
            self._drain_looks = 0
            return
        self._drain_looks += 1
        if self._drain_looks > 1:
            self.drain()

    def _drain(self) -> None:
        self._executors.closed = True
        if self.reloading and time.monotonic() - self._draining > HOLD:
            self.ended = True
            return
        if self._executors.busy or self._engine.unsent:
            if self._own_parts and time.monotonic() - self._draining > HOLD:
                self._to_release.update(self._own_parts)
                self._give_away()
            return
        self._to_release.update(self._own_parts)
        self._give_away()
        self.ended = not self._own_parts

    def _leave(self) -> None:
        signals.worker_stopping.send_robust(sender=type(self), worker=self.options.name)
        self._watchdog.stop()
        for loop in self._loops:
            loop.stop(1.0)
        self._executors.close()
        self._deafen()
        if self.store.me:
            with contextlib.suppress(Exception):
                self.store.reap(self.store.me)
        self._close_store()

    def _close_store(self) -> None:
        with contextlib.suppress(Exception):
            self.store.close()
        close_old_connections()

    # -- waiting -----------------------------------------------------------------------------

    def _wait(self, progress: Progress) -> None:
        if self.ended:
            return
        if progress.busy:
            self._pause = SHORTEST
            timeout = self._room_for_others()
        else:
            timeout = self._idle(progress.next_due)
            if not self._away:
                longest = LONGEST if self._listener is None else HINTED
                self._pause = min(longest, 1.5 * self._pause)
        self._executors.wants_write()
        self._waker.sleep()
        if self._draining and not self._executors.busy:
            timeout = min(timeout, 0.01)
        ready = self._selector.select(timeout)
        self._waker.awake()
        for key, _ in ready:
            if key.data == "control":
                self._hear()
            elif key.data == "hints":
                self._hinted()

    def _idle(self, next_due: int | None) -> float:
        timeout = self._pause
        if next_due is not None and not self._away:
            timeout = min(timeout, max(0.0, (next_due - time.time_ns() // 1000) / 1e6))
        return timeout

    def _room_for_others(self) -> float:
        """On SQLite: a pause after 10 ms of work, so that web processes get the lock."""
        if not self._sqlite or self._busy_time < 0.01:
            return 0.0
        self._busy_time = 0.0
        return SQLITE_PAUSE

    def _hear(self) -> None:
        assert self._control is not None
        for note in self._control.heard():
            if note.get("drain"):
                self.drain()

    def _tell(self, **note: Any) -> None:
        if self._control is not None:
            self._control.tell(**note)

    def _spawn(self, slots: int) -> Child:
        first, self._first_child = self._first_child, None
        if first is not None:
            return first
        make = ThreadChild if self.options.all_in_one else ProcessChild
        child: Child = make(slots=slots, worker_name=self.options.name)
        return child


def _may_pass(error: Exception) -> bool:
    """Whether waiting may help: not for a statement that is wrong."""
    from django.db import InterfaceError, OperationalError

    return isinstance(error, (DefiniteRollback, OperationalError, InterfaceError))


@contextlib.contextmanager
def draining_on_signals(drain: Callable[[], None], *names: str) -> Iterator[None]:
    """While the block runs these signals drain."""
    previous = {}
    for name in names:
        number = getattr(signal, name, None)
        if number is not None:
            previous[number] = signal.signal(number, lambda *_: drain())
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


__all__ = ["EngineProcess", "Gone", "draining_on_signals"]
