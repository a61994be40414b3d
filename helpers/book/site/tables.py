"""Tables as a page shows them: they scroll by themselves, and every header says what it heads."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup, Tag

_UNITS = "%|×|m?s|µs|[kMG]i?B|img/s|images/s"
_NUMBER = re.compile(rf"^[<>~≈]?\s*[+\-−]?[\d.,]+(e[+-]?\d+)?\s*({_UNITS})?$")  # noqa: RUF001


def tidy(soup: BeautifulSoup) -> None:
    """Makes all tables of a page readable by eye and by ear."""
    for table in soup.find_all("table"):
        for attribute in ("border", "style"):
            table.attrs.pop(attribute, None)
        _name_the_index(table)
        for row in table.find_all("tr"):
            for cell in row.find_all("th"):
                column = "colgroup" if _span(cell) > 1 else "col"
                cell["scope"] = column if row.find_parent("thead") else "row"
        _align_numbers(table)
        heading = table.find_previous(["h2", "h3", "h4"])
        step = heading.get_text().strip() if heading else "this page"
        about = {"class": "table", "tabindex": "0", "role": "region"}
        table.wrap(soup.new_tag("div", attrs=about | {"aria-label": f"Table in “{step}”"}))


def _name_the_index(table: Tag) -> None:
    """Puts the name of pandas' index, which has a row of its own, over its column."""
    rows = table.select("thead tr")
    if len(rows) != 2:
        return
    over, under = (row.find_all(["th", "td"]) for row in rows)
    words = [cell.get_text().strip() for cell in [*over[:1], *under]]
    if len(over) == len(under) and not words[0] and words[1] and not any(words[2:]):
        over[0].string = words[1]
        rows[1].decompose()


def _align_numbers(table: Tag) -> None:
    rows = _by_column(table)
    for column in range(max(map(len, rows), default=0)):
        cells = [cell for row in rows if column < len(row) and (cell := row[column])]
        body = [cell for cell in cells if cell.name == "td"]
        if body and all(_is_number(cell.get_text()) for cell in body):
            for cell in cells:
                classes = filter(None, cell.get_attribute_list("class"))
                cell["class"] = " ".join([*classes, "number"])


def _by_column(table: Tag) -> list[list[Tag | None]]:
    """What each row has in each column: None where a cell spans several, since it heads no one."""
    rows: list[list[Tag | None]] = []
    below: dict[int, int] = {}  # by column: rows that a cell further up still reaches into
    for row in table.find_all("tr"):
        cells: list[Tag | None] = []
        for cell in row.find_all(["td", "th"]):
            _skip(cells, below)
            span, reach = _span(cell), _span(cell, "rowspan")
            below |= dict.fromkeys(range(len(cells), len(cells) + span), reach - 1)
            cells += [cell] if span == 1 else [None] * span
        _skip(cells, below)
        rows.append(cells)
    return rows


def _skip(cells: list[Tag | None], below: dict[int, int]) -> None:
    """Passes the columns that a cell of a row further up takes in this one, too."""
    while below.get(len(cells), 0):
        below[len(cells)] -= 1
        cells.append(None)


def _span(cell: Tag, name: str = "colspan") -> int:
    return int(str(cell.get(name, "1")))


def _is_number(text: str) -> bool:
    text = text.strip()
    return text in ("", "–", "—", "NaN") or _NUMBER.match(text) is not None
