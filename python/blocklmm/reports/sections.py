"""Reports as sections of lines and tables, written as text, HTML, LaTeX or Markdown."""

from __future__ import annotations

import html as _html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report.

    Attributes
    ----------
    title : str
    rows : sequence of sequence of str
        A table of equally long rows, the first of which is its head; none, if empty.
    lines : sequence of str
        What stands below the table.
    left : int
        How many columns are set to the left, as text is; numbers go to the right.
    last_left : bool
        Whether the columns from the fifth on are, too.
    indent : int
        Spaces before the rows in text.
    rules : frozenset of int
        Rows of the body above which a line is drawn.
    """

    title: str = ""
    rows: Rows = ()
    lines: Sequence[str] = ()
    left: int = 0
    last_left: bool = False
    indent: int = 0
    rules: frozenset[int] = frozenset()

    def is_left(self, column: int) -> bool:
        """Tell whether a column is set to the left."""
        return column < self.left or (self.last_left and column >= 4)


class Report(str):
    """A text that interpreters and notebooks show as it is, and its parts in other formats.

    It is the text itself: ``print``, ``in`` and all else that texts do work.
    """

    __slots__ = ("sections",)
    sections: tuple[Section, ...]

    def __new__(cls, sections: Sequence[Section]) -> Report:  # noqa: D102
        sections = [_on_lines(section) for section in sections]
        out = super().__new__(cls, "\n\n".join(filter(None, map(_text, sections))))
        out.sections = tuple(sections)
        return out

    def __reduce__(self) -> tuple[type[Report], tuple[tuple[Section, ...]]]:
        return Report, (self.sections,)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return self.as_html()

    def as_text(self) -> str:
        """Return the text as a plain str."""
        return str(self)

    def as_html(self) -> str:
        """Return tables of HTML, without styles of their own."""
        return "\n".join(map(_html_of, self.sections))

    def as_latex(self) -> str:
        """Return LaTeX: tables of the packages booktabs and amsmath, without a float round them."""
        return "\n\n".join(map(_latex, self.sections))

    def as_markdown(self) -> str:
        """Return Markdown with pipe tables."""
        return "\n\n".join(filter(None, map(_markdown, self.sections)))


def _on_lines(section: Section) -> Section:
    """Return a section without line breaks, which labels of groups may have."""
    rows = [[" ".join(cell.splitlines()) for cell in row] for row in section.rows]
    return replace(
        section, rows=rows, lines=[" ".join(line.splitlines()) for line in section.lines]
    )


def _text(section: Section) -> str:
    lines = [section.title] if section.title else []
    if section.rows:
        widths = [max(len(row[k]) for row in section.rows) for k in range(len(section.rows[0]))]
        for number, row in enumerate(section.rows):
            if number - 1 in section.rules:
                lines.append("-" * (sum(widths) + len(widths) - 1))
            cells = [
                cell.ljust(width) if section.is_left(k) else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append(" " * section.indent + " ".join(cells).rstrip())
    return "\n".join([*lines, *section.lines])


def _html_of(section: Section) -> str:
    parts = [f"<p><b>{_html.escape(section.title)}</b></p>"] if section.title else []
    if section.rows:

        def row(tag: str, cells: Sequence[str]) -> str:
            out = []
            for k, cell in enumerate(cells):
                side = "left" if section.is_left(k) else "right"
                out.append(f'<{tag} style="text-align: {side}">{_html.escape(cell)}</{tag}>')
            return f"<tr>{''.join(out)}</tr>"

        head, *body = section.rows
        parts += [
            f"<table>\n<thead>{row('th', head)}</thead>\n<tbody>",
            *(row("td", cells) for cells in body),
            "</tbody>\n</table>",
        ]
    parts += [f"<p>{_html.escape(line)}</p>" for line in section.lines]
    return "\n".join(parts)


def _latex(section: Section) -> str:
    parts = [f"\\textbf{{{_escaped(section.title)}}}\n"] if section.title else []
    if section.rows:
        head, *body = section.rows
        sides = "".join("l" if section.is_left(k) else "r" for k in range(len(head)))
        parts += [f"\\begin{{tabular}}{{{sides}}}", "\\toprule", _latex_row(map(_escaped, head))]
        parts += ["\\midrule"]
        for number, cells in enumerate(body):
            parts += ["\\midrule"] * (number in section.rules)
            texts = (_escaped(c) if k < section.left else _numbers(c) for k, c in enumerate(cells))
            parts += [_latex_row(texts)]
        parts += ["\\bottomrule", "\\end{tabular}"]
    if section.lines:
        parts += ["\n" * bool(parts) + " \\newline\n".join(map(_escaped, section.lines))]
    return "\n".join(parts)


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


_NUMBER = re.compile(r"(?<![\w.])(-?)(\d+(?:\.\d*)?)(?:e([+-])0*(\d+))?(?![\w.])")


def _numbers(cell: str) -> str:
    """Return a cell of numbers, each by itself mathematics where it has a sign or a power of ten.

    Those of one formula would lose the space between them, and "0.1 -0.2" would be a difference.
    """
    out, at = "", 0
    for found in _NUMBER.finditer(cell):
        minus, digits, sign, power = found.groups()
        ten = rf" \cdot 10^{{{sign.strip('+')}{power}}}" if power else ""
        number = f"${minus}{digits}{ten}$" if minus or ten else digits
        out, at = out + _escaped(cell[at : found.start()]) + number, found.end()
    return out + _escaped(cell[at:])


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    **{c: "\\" + c for c in "&%$#_{}"},
}


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text)


# also "$", which notebooks take for mathematics; underscores within a word are plain ones
_MARKDOWN = re.compile(r"[\\`*<|$]|(?<!\w)_|_(?!\w)|~(?=\S)")


def _marked(text: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", text)


def _markdown(section: Section) -> str:
    parts = [f"**{_marked(section.title.rstrip(':'))}**"] if section.title else []
    if section.rows:
        head, *body = [[_marked(cell) or " " for cell in row] for row in section.rows]
        rule = [":---" if section.is_left(k) else "---:" for k in range(len(head))]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *body]))
    parts += ["  \n".join(map(_marked, section.lines))]
    return "\n\n".join(filter(None, parts))
