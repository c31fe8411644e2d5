"""Tables as plain text or Markdown."""

from collections.abc import Mapping, Sequence

from hypemarl.types import Record


def format_table(
    rows: Sequence[Record],
    columns: Sequence[str] | Mapping[str, str],
    *,
    markdown: bool = False,
    digits: int = 4,
) -> str:
    """Rows as an aligned table; numbers to the right, text to the left.

    Args:
        rows: one mapping per row; an absent key or None is printed as ``-``.
        columns: keys in order, or key -> heading.
        markdown: with bars and a rule, for documents.
        digits: significant digits of floats.

    Returns the table without a last newline.

    Raises:
        ValueError: there are no columns, or a column that no row has (a misspelt key).
    """
    headings = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
    known = {name for row in rows for name in row}
    unknown = [name for name in headings if rows and name not in known]
    if not headings or unknown:
        raise ValueError(
            f"columns {unknown or list(headings)} are in no row; the rows have {sorted(known)}"
        )
    cells = [[_text(row.get(name), digits) for name in headings] for row in rows]
    entries = ((name, row[name]) for row in rows for name in row)
    numbers = {n for n, x in entries if isinstance(x, int | float) and not isinstance(x, bool)}
    right = [name in numbers for name in headings]
    lines = [list(headings.values()), *cells]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(headings))]
    body = [_line(line, widths, right, markdown) for line in lines]
    return "\n".join([body[0], _rule(widths, right, markdown), *body[1:]])


def _text(value: object, digits: int) -> str:
    if value is None:
        return "-"
    return f"{value:#.{digits}g}".rstrip(".") if isinstance(value, float) else str(value)


def _line(line: list[str], widths: list[int], right: list[bool], markdown: bool) -> str:
    padded = [
        text.rjust(width) if to_right else text.ljust(width)
        for text, width, to_right in zip(line, widths, right, strict=True)
    ]
    if markdown:
        return "| " + " | ".join(text.replace("|", "\\|") for text in padded) + " |"
    return "  ".join(padded).rstrip()


def _rule(widths: list[int], right: list[bool], markdown: bool) -> str:
    if not markdown:
        return "  ".join("-" * width for width in widths)
    marks = [
        "-" * (width - 1) + (":" if to_right else "-")
        for width, to_right in zip(widths, right, strict=True)
    ]
    return "| " + " | ".join(marks) + " |"
