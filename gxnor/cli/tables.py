"""Tables and numbers as the commands print them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table  # rich is imported where a table is made: most of the command line does without


def table(title: str | None, *columns: str, words: int = 4) -> Table:
    """An empty table; with a title, the columns after the first `words` hold numbers."""
    from rich.table import Table

    table = Table(title=title, box=None, pad_edge=False)
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if title and at >= words else "left", no_wrap=True)
    return table


def show(table: Table) -> None:
    """Prints a table as wide as it takes, with every name in it as it is: a long path is to wrap in the terminal, not to be
    cut, and brackets and colons are not markup."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False, width=10_000)
    if table.title is not None:
        console.print(Text(str(table.title), style="bold"))  # by itself, for above the table it wraps as narrow as that
        table.title = None
    console.print(table)


def bits(bits: float | None) -> str:
    return "" if bits is None else f", {bits:.3f} bits per weight"


def shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def mean(total: int, samples: int) -> str:
    return f"{total / samples:,.0f}"


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
