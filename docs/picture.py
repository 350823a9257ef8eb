#!/usr/bin/env python3
"""Draws what a terminal showed as an SVG picture.

    picture.py TITLE [screen] < text > picture.svg

With "screen" the text is a screen of the program: its bars and the chosen line get their colours.

Wide characters take two cells. Bold and the colours of ANSI sequences are left out, except bold
lines (ESC [1m), which are commands and headings.
"""
import html
import re
import sys
import unicodedata

CELL, LINE, MARGIN, BAR = 8.4, 18, 16, 30


def cells(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def runs(text):
    """Pieces of one width of character: each is drawn at its own cell, so that columns align in any font."""
    start, column = 0, 0
    for piece in re.findall(r"[\u2e80-\uffff]|[^\u2e80-\uffff]+", text):
        yield column, piece
        column += cells(piece)


def main():
    title = sys.argv[1]
    is_screen = sys.argv[2:] == ["screen"]
    lines = sys.stdin.read().rstrip("\n").split("\n")
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    columns = 80 if is_screen else max(cells(line) for line in plain)
    width = columns * CELL + 2 * MARGIN
    height = len(lines) * LINE + 2 * MARGIN + BAR
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" role="img" aria-label="{html.escape(title)}">',
        f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#14181f"/>',
        f'<rect width="{width:.0f}" height="{BAR}" rx="8" fill="#2a313c"/>',
        f'<text x="{MARGIN}" y="20" fill="#c9d1d9" font-family="sans-serif" font-size="13">{html.escape(title)}</text>',
        '<g font-family="DejaVu Sans Mono, VL Gothic, Noto Sans Mono CJK JP, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">',
    ]
    for number, (line, text) in enumerate(zip(lines, plain)):
        y = BAR + MARGIN + 13 + number * LINE
        bold = "\x1b[1m" in line
        colour = "#7ee787" if bold else "#ffd33d" if text.lstrip().startswith("!") else "#e6edf3"
        weight = ' font-weight="bold"' if bold else ""
        is_bar = is_screen and number in (0, len(lines) - 1)
        if is_bar or (is_screen and line.startswith(" > ")):
            back, colour = ("#1f3fa8", "#ffffff") if is_bar else ("#2aa1b3", "#000000")
            start, count = (0, columns) if is_bar else (1, columns - 2)
            out.append(
                f'<rect x="{MARGIN + start * CELL:.1f}" y="{y - 14}" width="{count * CELL:.1f}" height="{LINE}" fill="{back}"/>'
            )
        for column, piece in runs(text):
            if piece.strip():
                lead = len(piece) - len(piece.lstrip(" "))
                x = MARGIN + (column + lead) * CELL
                body = piece.strip(" ")
                # A wide character fills its two cells.
                size = ' font-size="16.5"' if cells(body) == 2 and len(body) == 1 else ""
                out.append(
                    f'<text x="{x:.1f}" y="{y}" fill="{colour}"{weight}{size} textLength="{cells(body) * CELL:.1f}">'
                    f"{html.escape(body)}</text>"
                )
    out.append("</g></svg>")
    print("\n".join(out))


main()
