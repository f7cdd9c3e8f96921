"""A delivery profile: what a project hands over, declared once and in the project's own words.

It says which asset is the product, which assets belong to its delivery and which of those may be missing, the words
of the contract that the hand-over is written in, and where each of its values comes from. Everything else (status,
decision, checks, reason codes, times) is derived from the ledger in the same way for every project.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, get_args

from run_evidence.ledger import UsageError

FRAME: Final = (
    *("evidence_schema_version", "run_id", "asset_key", "partition_key", "status", "started_at", "finished_at"),
    *("report_path", "reason_codes", "downstream_decision", "checks"),
)
"""What every hand-over document has, whatever the profile."""

PROCEED: Final = "proceed"
"""Stands for any profile's own word to proceed: as what is required, and as what a person decides."""

HELD: Final = "hold"
"""The decision of a person who holds a delivery."""

REVIEW: Final = "manual_review_required"
DRY_RUN_ONLY: Final = "dry_run_only"
HOLD: Final = "hold_downstream"
HOLDING_BACK: Final = (REVIEW, DRY_RUN_ONLY, HOLD)
"""The decisions that hold a partition back, the mildest first; the one to proceed is the profile's own."""

Kind = Literal["text", "count", "id"]
ASSETS: Final = "assets"
PRODUCT: Final = "product"
RUN_IDS: Final = ("trace_id", "release_id", "batch_id")
ASSET: Final = "asset:"
TAG: Final = "tag:"

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,49}")
_NAMING: Final = re.compile(f"({ASSET}|{TAG}).+")
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,79}")
_MAX_EXPRESSION: Final = 1_000
_NEXT: Final = "correct the profile where it is declared; docs/delivery.md says what each field means"


@dataclass(frozen=True, slots=True)
class Field:
    """One value of the hand-over document, and where it is taken from. A value that is not known is left out.

    `name` is its name in the document, and the label under which assets state it in their metadata.

    `kind`: `text`, `count` (an integer that is not negative), or `id` (text or such an integer). A value of another
    kind is not taken, nor is a text that stands for none ("None", "nan").

    `sources`: tried in order; the first usable value is taken.
    - `assets`: metadata of the delivery's required assets. The product's materialization goes first, then the
      others' from the last made to the first, then what was observed, then what a failed step stated.
    - `product`: metadata of the product's own materialization.
    - `asset:KEY`: metadata of one asset, the latest first. `null` where it is optional and known to be absent.
    - `trace_id`, `release_id`, `batch_id`: the run's.
    - `tag:NAME`: a tag of the run.

    `told`: what the summaries call the value: before a text or an id (`snapshot`), after a count (`row written`,
    shown as "119 rows written": the first word gets an s). A field without it is in the document alone.

    `rows`: of a count, that it is the rows an asset `read` or those it has `written`. Where a profile says so, what
    an asset read is held against what that which it was made from has written.
    """

    name: str
    kind: Kind = "text"
    sources: tuple[str, ...] = (ASSETS,)
    told: str = ""
    rows: Literal["", "read", "written"] = ""

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise UsageError(f"The field {self.name!r} of a delivery profile {problem}.", next_step=_NEXT)

    def _problems(self) -> Iterator[str]:
        if not _WORD.fullmatch(self.name):
            yield "is not named in lower-case letters, digits and _, beginning with a letter"
        if self.name in FRAME:
            yield "is in every hand-over document already"
        if self.kind not in get_args(Kind):
            yield f"is of kind {self.kind!r}, and not text, count or id"
        if self.rows not in {"", "read", "written"} or (self.rows and self.kind != "count"):
            yield f"has rows {self.rows!r}, which is neither read nor written of a count"
        if not isinstance(self.sources, tuple) or not self.sources:
            yield "has no tuple of sources"
        for source in self.sources:
            if source not in {ASSETS, PRODUCT, *RUN_IDS} and not _NAMING.fullmatch(source):
                yield f"has a source {source!r}, which is none"
            elif self.kind == "count" and (source in RUN_IDS or source.startswith(TAG)):
                yield f"is a count, and {source} is text"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryProfile:
    """What a project hands over. The documents of a delivery follow from the ledger and from this alone.

    `name`: lower-case letters, digits, `_` and `-`. The delivery summary is the file `<name>_delivery_summary.md`.

    `title`: the heading of that file.

    `contract`: the name and version of the contract, `evidence_schema_version` in the document. A contract whose
    fields change gets another version.

    `product`: the asset key of what is handed over. A run may make a part of the delivery without it; the documents
    then speak of the asset furthest downstream, and set nothing free.

    `key_prefix`: what the keys of the delivery's assets begin with, the product's included. A run that planned none
    of them has no part in the delivery.

    `proceed`: the decision that sets a partition free. The others are `manual_review_required`, `dry_run_only` and
    `hold_downstream`.

    `dry_run_code`: the reason code with which an asset says that it wrote nothing on purpose.

    `optional`: keys of assets that the product may do without, declared so by a policy or not.

    `fields`: what the document has beside what every one has (`FRAME`), in the order in which summaries tell it.

    `partitions`: a regular expression of the partition keys that are delivered; days unless it says otherwise. RE2
    matches it, in time proportional to the key, so it has neither look-around nor references back.

    `folder`: where documents go without `--out`. Hand-over documents of two profiles would have the same file
    names, so each profile has a folder of its own.

    `folder_variable`: an environment variable that names another folder.

    Raises: UsageError for a value that cannot be one.
    """

    name: str
    title: str
    contract: str
    product: str
    key_prefix: str
    proceed: str
    dry_run_code: str = "dry_run"
    optional: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    partitions: str = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    folder: str = "reports"
    folder_variable: str | None = None

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise UsageError(f"The delivery profile {self.name!r}: {problem}.", next_step=_NEXT)

    def _problems(self) -> Iterator[str]:
        if not _NAME.fullmatch(self.name):
            yield "its name is not lower-case letters, digits, _ and -, beginning with a letter"
        texts = {what: getattr(self, what) for what in ("title", "contract", "product", "folder")}
        yield from (f"its {what} is not one line of text" for what, text in texts.items() if not _is_line(text))
        words = {what: getattr(self, what) for what in ("proceed", "dry_run_code")}
        yield from (f"its {what} is no reason code" for what, word in words.items() if not _WORD.fullmatch(word))
        if self.proceed in {*HOLDING_BACK, HELD}:
            yield f"its proceed is {self.proceed}, which holds a partition back"
        yield from self._problems_of_assets()
        for rows in ("read", "written"):
            if sum(field.rows == rows for field in self.fields) > 1:
                yield f"it has several fields of the rows {rows}"
        names = Counter(field.name for field in self.fields)
        yield from (f"it has {count} fields {name}" for name, count in names.items() if count > 1)
        if problem := _problem_of_expression(self.partitions):
            yield f"its partitions is no regular expression: {problem}"

    def _problems_of_assets(self) -> Iterator[str]:
        if not self.product.startswith(self.key_prefix):
            yield f"its product {self.product} does not begin with its key_prefix {self.key_prefix}"
        if type(self.optional) is not tuple:  # in a text every part of a key would be found
            yield "its optional is not a tuple of asset keys"
        elif self.product in self.optional:
            yield "its product is among its optional assets"

    @property
    def decisions(self) -> tuple[str, ...]:
        """The decisions, the freest first."""
        return (self.proceed, *HOLDING_BACK)

    @property
    def summary(self) -> str:
        """What the delivery summary's file names begin with."""
        return f"{self.name}_delivery_summary"

    def delivers(self, partition: str) -> bool:
        """Tell whether a partition is one of those that are handed over."""
        return _compiled(self.partitions).fullmatch(partition) is not None


@lru_cache(maxsize=64)
def _compiled(expression: str) -> Any:
    """Compile an expression, which may be somebody else's: no text makes it run longer than its length."""
    import re2  # here, so that who only accepts a hand-over does without it

    options = re2.Options()
    options.log_errors = False
    return re2.compile(expression, options)


def _problem_of_expression(expression: str) -> str | None:
    import re2

    if len(expression) > _MAX_EXPRESSION:
        return f"it has more than {_MAX_EXPRESSION} characters"
    try:
        _compiled(expression)
    except UnicodeEncodeError:
        return "it is no text"
    except re2.error as error:
        said = error.args[0] if error.args else error
        return said.decode() if isinstance(said, bytes) else str(said)
    return None


def _is_line(text: str) -> bool:
    return bool(text) and text.isprintable()
