"""The command `ledger sql`: one query after another, with history and completion; read-only as `ledger query`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import typer

from run_evidence.ledger.cli.rows import table_lines
from run_evidence.ledger.cli.session import Session
from run_evidence.ledger.errors import LedgerError, UsageError
from run_evidence.ledger.query.as_of import NOW
from run_evidence.ledger.query.kept import KeptSnapshot
from run_evidence.ledger.query.snapshot import views_in
from run_evidence.ledger.query.sql_query import run_query, view_docs
from run_evidence.ledger.settings import query_limits, shell_history
from run_evidence.ledger.terminal import fail, is_terminal, out, out_paged, say, styled

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from run_evidence.ledger.query.sql_query import ViewDoc

_WORDS: Final = (
    *("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "HAVING", "QUALIFY", "LIMIT", "JOIN", "USING", "DESC"),
    *("DISTINCT", "BETWEEN", "INTERVAL", "IS NULL", "IS NOT NULL", "count(*)", "max(", "min(", "sum("),
)
_SCHEMA: Final = "\\d"
_END: Final = ("\\q", "exit", "quit")


def sql(ctx: typer.Context) -> None:
    r"""Ask the ledger in SQL, one query after another, with history and completion. Read-only, as ledger query is.

    A query ends with a semicolon. `\\d` lists the views, `\\d runs` the columns of one; Ctrl-D or `\\q` ends it.

    Example: ledger sql
    """
    if not is_terminal(sys.stdin) or not is_terminal(sys.stdout):
        raise UsageError(
            "ledger sql talks to a person on a terminal.", next_step="ledger query - reads from a pipe"
        )
    session: Session = ctx.obj
    ledger = session.ledger()
    ledger.require()
    snapshots, prompt, limits = KeptSnapshot(ledger), _prompt(), query_limits()
    say("Read-only. A query ends with ; \\d lists the views, Ctrl-D ends this.")
    while True:
        try:
            asked = prompt.prompt().strip()
        except KeyboardInterrupt:  # the line is dropped
            continue
        except EOFError:
            return
        text = asked.rstrip("; \n")
        if text in _END:
            return
        try:
            if asked.startswith(_SCHEMA):
                out_paged(*_schema(text.removeprefix(_SCHEMA).strip()))
            elif text:
                with snapshots.current(NOW, views_in(text), limits) as snapshot:
                    answer = run_query(snapshot, text, {})
                out_paged(*table_lines(answer))
                say(f"({len(answer.rows)} rows)")
        except LedgerError as error:
            fail(error)
        except KeyboardInterrupt:  # the query is
            out()


def _prompt() -> PromptSession[str]:
    """Make the prompt. Raises: UsageError where the library for it is not installed."""
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.application import get_app
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.filters import Condition
        from prompt_toolkit.history import FileHistory
    except ImportError:
        raise UsageError(
            "ledger sql needs prompt_toolkit, which is not installed.",
            next_step="pip install 'run-evidence-ledger[sql]'; ledger query needs nothing more",
        ) from None
    docs = view_docs()
    words = [doc.name for doc in docs] + sorted({name for doc in docs for name, _ in doc.columns})
    return PromptSession(
        "ledger> ",
        multiline=Condition(lambda: not _is_whole(get_app().current_buffer.text)),
        prompt_continuation="     -> ",
        completer=WordCompleter([*words, *_WORDS], ignore_case=True),
        complete_while_typing=False,
        history=FileHistory(str(kept)) if (kept := shell_history()) else None,
        enable_history_search=True,
    )


def _is_whole(text: str) -> bool:
    """Return whether Enter ends what was typed: a query with its semicolon, or a word that is none."""
    typed = text.strip()
    return not typed or typed.endswith(";") or typed.startswith("\\") or typed in _END


def _schema(name: str) -> Iterable[str]:
    """Return the lines that list the views, or the columns of one. Raises: UsageError for a view that is none."""
    docs: dict[str, ViewDoc] = {doc.name: doc for doc in view_docs()}
    if not name:
        wide = max(map(len, docs))
        return [f"{styled(f'{doc.name:<{wide}}', 'bold')}  {doc.meaning}" for doc in docs.values()]
    if name not in docs:
        raise UsageError(f"There is no view {name!r:.60}.", next_step="\\d lists them")
    wide = max(len(column) for column, _ in docs[name].columns)
    return [f"{styled(f'{column:<{wide}}', 'bold')}  {meaning}" for column, meaning in docs[name].columns]
