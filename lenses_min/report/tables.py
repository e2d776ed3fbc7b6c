"""Tables of a run that no figure shows, as plain rows: their beginning, and how many follow."""

from typing import Any

from ..output.run import Run
from ..output.store import cells, table_name

DRAWN = ("pure", "records", "agreement")
MOST = 40  # rows that are shown of a table


def further_tables(run: Run) -> list[dict[str, Any]]:
    """Name, file, columns and first rows of each table; `rest` counts the rows that are left out."""
    return [
        {
            "name": table,
            "file": table_name(run.name, table, lens, run.table_format),
            "columns": columns,
            "rows": [list(map(shown, cells(row, columns))) for row in rows[:MOST]],
            "size": len(rows),
            "rest": max(0, len(rows) - MOST),
        }
        for (table, lens), rows in run.tables.items()
        if table not in DRAWN
        for columns in [run.columns(table, lens)]
    ]


def shown(value: Any) -> Any:
    """Six digits of a number; nothing for what is absent."""
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
