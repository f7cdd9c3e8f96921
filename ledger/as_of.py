"""Which prefix of the ledger is meant: all of it, what a checkpoint covers, or what was there by a time.

A time of recording is read in two ways. For rows (`query`, `runs`, `show`) it is a condition on each entry, and
unsealed ones count. A document is derived from a prefix of the tree, so for it the time becomes a size
(`sealed_size`), and the tree head over that many entries is calculated where none was stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ledger.errors import EnvironmentFault, IntegrityError, UsageError

if TYPE_CHECKING:
    from ledger.checkpoint import Checkpoint
    from ledger.handle import Ledger
    from ledger.log import Log


@dataclass(frozen=True, slots=True)
class AsOf:
    """A prefix. All that is given holds at once; times are in microseconds and included.

    `size`: the first so many entries. `head`: and they have this root. `recorded_by`: when the ledger took
    them down. `occurred_by`: when they happened, which cuts across the order of the log. `unsigned`: as its
    checkpoint was before anybody signed it, for documents, which say who did.
    """

    size: int | None = None
    recorded_by: int | None = None
    occurred_by: int | None = None
    head: Checkpoint | None = None
    unsigned: bool = False

    @property
    def past(self) -> bool:
        """Whether it is cut off somewhere in the log, so that nothing appended from now on belongs to it."""
        return self.size is not None or self.recorded_by is not None

    def condition(self) -> str:
        """Return the SQL condition on an entry; built from integers alone."""
        parts = []
        if self.size is not None:
            parts.append(f"index < {self.size:d}")
        if self.recorded_by is not None:
            parts.append(f"recorded_at <= make_timestamptz({self.recorded_by:d})")
        if self.occurred_by is not None:
            parts.append(f"occurred_at <= make_timestamptz({self.occurred_by:d})")
        return " AND ".join(parts) or "true"


NOW = AsOf()

_SIZE_DIGITS: Final = 18
"""Of a number of entries; no log is larger, and DuckDB compares in 64 bits."""


def parse_as_of(text: str | None, occurred: str | None = None) -> AsOf:
    """Read `--as-of` and `--as-of-occurred`.

    The first is a number of entries, a checkpoint file, or an ISO 8601 time of recording (UTC where it names no
    offset); the second a time at which things happened.

    Raises `UsageError` for anything else; `IntegrityError` when the file is no checkpoint.
    """
    found = _prefix(text) if text is not None else NOW
    if occurred is not None:
        found = replace(found, occurred_by=_time("--as-of-occurred", occurred))
    return found


def _prefix(text: str) -> AsOf:
    if text.isascii() and text.isdigit() and len(text) <= _SIZE_DIGITS:
        return AsOf(size=int(text))
    path = Path(text)
    if _is_file(path):
        return _checkpoint(path)
    return AsOf(recorded_by=_time("--as-of", text))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name no file can have
        return False


def _checkpoint(path: Path) -> AsOf:
    from ledger.heads import read_head_file

    try:
        head = read_head_file(path).checkpoint
    except OSError as error:
        raise EnvironmentFault(f"The checkpoint {path} cannot be read: {error.strerror}.") from None
    return AsOf(size=head.size, head=head)


def _time(option: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        what = "neither a number of entries nor a time, and no file" if option == "--as-of" else "no time"
        raise UsageError(
            f"{option} {text!r:.200} is {what}.", next_step=f"for example {option} 2026-04-17T12:00:00Z"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000)


def sealed_size(ledger: Ledger, as_of: AsOf) -> int:
    """Return how many entries the longest prefix of the sealed log has that `as_of` covers whole.

    Of a time of recording: the entries before the first that was recorded later. That an event is sealed after
    one that was recorded later (two machines, two clocks) happens; it is in no prefix then that ends between.

    Raises what `open_snapshot` raises; `UsageError` when that is no entry at all.
    """
    from ledger.snapshot import open_snapshot

    with open_snapshot(
        ledger, replace(as_of, recorded_by=None, occurred_by=None), ("events",), payloads=False
    ) as snapshot:
        size = snapshot.sealed
        if as_of.recorded_by is not None:
            later = "SELECT min(index) FROM events WHERE recorded_at > make_timestamptz($by)"
            first = snapshot.rows(later, {"by": as_of.recorded_by})[0][0]
            size = size if first is None else int(first)
    if not size:
        raise UsageError("Nothing was sealed by then.", next_step="a later --as-of, or without it: ledger seal")
    return size


def calculated_head(ledger: Ledger, log: Log, size: int) -> Checkpoint:
    """Calculate the tree head over the first `size` entries of the log, for a prefix that no stored head is of.

    From the tiles, and proved to be a prefix of the log's end and of the newest stored head where that is larger;
    from the entries where the tiles do not lead there and none can be written.

    Raises: IntegrityError when the entries do not lead there either.
    """
    from ledger.growth import calculate_from_entries, calculate_head, prove_growth, stated_end
    from ledger.heads import newest_head

    origin, newest = ledger.require(), newest_head(ledger.layout)
    above = newest.checkpoint if newest is not None and newest.checkpoint.size >= size else None
    try:
        head = calculate_head(ledger.layout, log, origin, size)
        prove_growth(ledger.layout, lambda: log, head, stated_end(log, origin))
        if above is not None:
            prove_growth(ledger.layout, lambda: log, head, above)
    except (IntegrityError, OSError):  # tiles that agree with each other alone, or can neither be read nor made
        head, *others = calculate_from_entries(log, origin, size, *([above.size] if above else []))
        if others and others[0] != above:
            raise IntegrityError(
                f"The log's entries have root {others[0].root.hex()}, which is not that of the checkpoint of "
                f"{others[0].size} entries.",
                next_step="ledger verify",
            ) from None
    return head
