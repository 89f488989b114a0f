"""What the three actions answer, made of what the server gave, and what they say about what is missing in it."""

from actas.delegation.sql import catalog
from actas.delegation.sql.actions import ListTables, TableDetails
from actas.delegation.sql.failures import StatementFailed
from actas.delegation.sql.results import Page

_LISTS = ("constraints", "foreign_keys", "referenced_by", "indexes")
_NO_TABLE = "There is no such table or view, or you may not use it. List the schema to see yours."
_UNORDERED = " Without ORDER BY over a key, rows can come twice or not at all."


def query_data(page: Page, columns: list[dict[str, object]], said: str | None, cursor: str | None) -> dict[str, object]:
    """Rows, counts, what is ``said`` about them, and where they go on."""
    data: dict[str, object] = {"command": page.command}
    if page.affected is not None:
        data["affected_rows"] = page.affected
    if page.columns:
        data |= {"columns": columns, "rows": page.rows, "row_count": len(page.rows)}
    if page.columns or page.truncated_by:
        data["truncated"] = page.truncated_by is not None
    if said:
        data["notice"] = said
    if cursor:
        data["cursor"] = cursor
    return data


def notice(page: Page, most_bytes: int, *, goes_on: bool, ordered: bool) -> str | None:
    """What to say about a result that was cut; None for a whole one."""
    if page.truncated_by is None:
        return None
    if page.affected is not None:
        return f"All {page.affected} rows were changed; the first {len(page.rows)} of those returned are shown."
    if page.truncated_by == "rows":
        cut, less = f"after {len(page.rows)} rows", "Ask for less: WHERE, LIMIT, or an aggregate."
    else:
        cut, less = f"at {most_bytes} bytes", "Ask for fewer rows, or for fewer or shorter columns."
    if not goes_on:
        return f"The result was cut {cut}. {less}"
    return (
        f"The result was cut {cut}. {less} Or go on: send the same sql and params with this cursor."
        f"{'' if ordered else _UNORDERED}"
    )


def tables_data(page: Page, parameters: ListTables) -> dict[str, object]:
    """One page of the list of tables."""
    tables = [_named(page, row) for row in page.rows]
    more = len(tables) > parameters.limit or page.truncated_by is not None
    shown = tables[: parameters.limit]
    data: dict[str, object] = {"tables": shown, "next_offset": parameters.offset + len(shown) if more else None}
    if more:
        data["notice"] = "There are more: filter by schema or name, or go on with offset = next_offset."
    return data


def details_data(page: Page, parameters: TableDetails) -> dict[str, object]:
    """A table's details, with one page of its columns.

    Raises:
        StatementFailed: there is none that the user may see.
    """
    if not page.rows:
        raise StatementFailed(_NO_TABLE)
    details = _named(page, page.rows[0])
    columns = _list(details["columns"])
    more = len(columns) > catalog.MOST_COLUMNS
    details["columns"] = columns[: catalog.MOST_COLUMNS]
    details["next_offset"] = parameters.offset + catalog.MOST_COLUMNS if more else None
    cut = [name for name in _LISTS if len(_list(details[name])) > catalog.MOST_OTHERS]
    for name in _LISTS:
        details[name] = _list(details[name])[: catalog.MOST_OTHERS]
    notices = ["There are more columns: go on with offset = next_offset."] if more else []
    notices += [f"Only the first {catalog.MOST_OTHERS} of {name} are shown." for name in cut]
    return details | {"notice": " ".join(notices)} if notices else details


def _named(page: Page, row: list[object]) -> dict[str, object]:
    return dict(zip((column.name for column in page.columns), row, strict=True))


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType] -- JSON
