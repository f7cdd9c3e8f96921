"""The snapshot of who asks a ledger again and again: open as long as nothing was added to it.

Most of what a small question costs is the database it is asked in, and binding the views. What was opened for one
question answers the next one too, until an object came into the inbox, or a commit to the log. What is asked for
again and again is held in memory (`Held`).
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Final

from run_evidence.ledger.errors import UsageError
from run_evidence.ledger.query.held import Held
from run_evidence.ledger.query.snapshot import open_snapshot
from run_evidence.ledger.storage import inbox
from run_evidence.ledger.storage.layout import PAYLOADS
from run_evidence.ledger.storage.log import log_state

if TYPE_CHECKING:
    from run_evidence.ledger.ledger import Ledger
    from run_evidence.ledger.query.as_of import AsOf
    from run_evidence.ledger.query.limits import Limits
    from run_evidence.ledger.query.snapshot import Snapshot


class KeptSnapshot:
    """The last snapshot that was opened, given again while it is what a new one would be.

    One thread at a time has it; another one opens its own.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._free = threading.Lock()
        self._open: tuple[object, Snapshot, Held] | None = None
        self._end: Callable[[], object] = lambda: None
        _ALL.add(self)

    @contextlib.contextmanager
    def current(self, as_of: AsOf, views: Collection[str], limits: Limits) -> Iterator[Snapshot]:
        """Give a snapshot that has these views at least. Raises: what `open_snapshot` raises."""
        if not self._free.acquire(blocking=False):
            with open_snapshot(self._ledger, as_of, sorted(views), limits=limits) as own:
                yield own
            return
        try:
            yield self._newest(as_of, views, limits)
        except UsageError:
            raise  # the question was wrong, and not what it was asked of
        except BaseException:
            self._forget()
            raise
        finally:
            self._free.release()

    def _newest(self, as_of: AsOf, views: Collection[str], limits: Limits) -> Snapshot:
        import duckdb

        key = (as_of, limits, state_of(self._ledger))  # before it is opened: what comes then is noticed
        if self._open is not None and self._open[0] == key and self._open[2].is_true:
            _, snapshot, held = self._open
            with contextlib.suppress(duckdb.Error):  # what is wrong with a segment is said where it is opened
                snapshot.add_views(views)
                held.ask(views)
                return snapshot
        self._forget()
        stack = contextlib.ExitStack()
        snapshot = stack.enter_context(open_snapshot(self._ledger, as_of, sorted(views), limits=limits))
        self._end = weakref.finalize(self, stack.close)
        if not snapshot.damaged:  # what is damaged may be repaired in its place
            self._open = key, snapshot, Held(snapshot, views)
        return snapshot

    def close(self) -> None:
        """Close what is open, unless somebody asks it now; the next question opens it again."""
        if self._free.acquire(blocking=False):
            try:
                self._forget()
            finally:
                self._free.release()

    def _forget(self) -> None:
        self._open = None
        self._end()


_ALL: Final[weakref.WeakSet[KeptSnapshot]] = weakref.WeakSet()


def _close_all() -> None:
    for each in list(_ALL):
        each.close()


os.register_at_fork(before=_close_all)  # a database's threads are not in the child, which ends with a crash


def state_of(ledger: Ledger) -> object:
    """Return what is another value whenever a snapshot of the ledger would be another; it takes a millisecond.

    Raises: NotALedgerError; IntegrityError for a log that is not one.
    """
    store = ledger.store
    payloads = store.stat(PAYLOADS)  # another one when a payload went, or one that was missing was put back
    return ledger.require(), inbox.state(store), log_state(store), payloads
