"""Tables and numbers as the commands print them."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def table(title: str | None, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if title and at > 3 else "left", no_wrap=True)
    return table


def show(table: Table) -> None:
    # As wide as it takes: a long path is to wrap in the terminal, not to be cut.
    Console(highlight=False, markup=False, emoji=False, width=10_000).print(table)


def bits(bits: float | None) -> str:
    return "" if bits is None else f", {bits:.3f} bits a weight"


def shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def mean(total: int, samples: int) -> str:
    return f"{total / samples:,.0f}"


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
