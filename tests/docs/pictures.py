"""The pictures of README and docs, as SVG: `python tests/docs/pictures.py` writes them, and a test compares.

docs/request.svg is the way of a request. docs/cost.svg is the first table of docs/costs.md, which is the output of
`make bench`, as a plot: logarithmic both ways, since the bodies go from nothing to a MiB and the costs from µs to ms.
"""

import math
import re
from html import escape
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
INK, PALE, LINE = "#1f2328", "#656d76", "#d0d7de"
GOOD, BAD, OURS = "#1a7f37", "#cf222e", "#0969da"
FONT = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"'
# The contenders in the order of the table, by their names in it: a colour, and whether the line is ours.
LINES = {"a filter that does nothing": "#8c959f", "a plain wasm verifier": "#8250df", "webhook-guard": OURS, "webhook-guard, native": GOOD,
         "Lua": "#bc4c00", "ext_authz": "#1b7c83", "HAProxy's hmac()": "#bf3989"}


def svg(width: int, height: int, title: str, parts: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" {FONT}>'
    # A ground of its own, since a page may be dark.
    ground = f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", ground, *parts, "</svg>", ""])


def text(x: float, y: float, words: str, *, size: int = 13, fill: str = INK, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'


def box(x: int, y: int, width: int, height: int, title: str, lines: list[str], *, stroke: str = LINE, fill: str = "#f6f8fa") -> list[str]:
    made = [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>',
            text(x + 12, y + 22, title, bold=True)]
    return made + [text(x + 12, y + 42 + 18 * number, line, size=12, fill=PALE) for number, line in enumerate(lines)]


def arrow(x1: int, y1: int, x2: int, y2: int, colour: str = INK, words: str = "") -> list[str]:
    angle = math.atan2(y2 - y1, x2 - x1)
    tips = [(x2 - 9 * math.cos(angle + turn), y2 - 9 * math.sin(angle + turn)) for turn in (0.45, -0.45)]
    head = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(x2, y2), *tips])
    made = [f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="1.5"/>', f'<polygon points="{head}" fill="{colour}"/>']
    return [*made, text((x1 + x2) / 2, min(y1, y2) - 8, words, size=12, fill=colour, anchor="middle")] if words else made


def request() -> str:
    parts = [
        *box(16, 84, 116, 76, "Sender", ["GitHub, Slack,", "or anybody"]),
        *arrow(132, 122, 176, 122),
        f'<rect x="176" y="16" width="608" height="276" rx="8" fill="none" stroke="{LINE}" stroke-width="1.5" stroke-dasharray="5 4"/>',
        text(190, 38, "Envoy holds head and body meanwhile", size=12, fill=PALE),
        *box(192, 52, 180, 158, "1  the head", ["path, host, method:", "which policy governs?", "address, token, type,", "the signature's form,", "the signed time"], stroke=OURS, fill="#ddf4ff"),
        *arrow(372, 122, 396, 122),
        *box(396, 52, 180, 158, "2  the body, in pieces", ["counted against the", "limit, and hashed", "as it comes"], stroke=OURS, fill="#ddf4ff"),
        *arrow(576, 122, 600, 122),
        *box(600, 52, 168, 158, "3  end or trailers", ["each secret against", "each signature; only", "now does anything", "go on"], stroke=OURS, fill="#ddf4ff"),
        *arrow(768, 122, 836, 122, GOOD, "verified"),
        *box(836, 70, 148, 104, "Application", ["the same bytes but", "for the token, and", "x-webhook-guard-*"], stroke=GOOD, fill="#dafbe1"),
        *(part for x in (282, 486, 684) for part in arrow(x, 210, x, 240, BAD)),
        f'<rect x="192" y="240" width="576" height="36" rx="6" fill="#ffebe9" stroke="{BAD}" stroke-width="1.5"/>',
        text(480, 263, "refused: a status and a request id to the sender, not a byte to the application", anchor="middle", size=12.5),
        *arrow(192, 258, 74, 164, BAD),
        text(836, 212, "Access log, metrics, log:", size=12, fill=PALE),
        text(836, 230, "verdict, reason, policy", size=12, fill=PALE),
        *arrow(768, 224, 828, 218, PALE),
    ]
    return svg(1000, 308, "The way of a request", parts)


def measured() -> tuple[list[int], dict[str, list[float]]]:
    """The lengths of the bodies, and a contender's microseconds for each: the table as `make bench` printed it."""
    table = (DOCS / "costs.md").read_text().split("\nAccepted: ")[1].split("\n\n")[1].splitlines()
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table]
    units = {"KiB": 1 << 10, "MiB": 1 << 20}
    sizes = [0 if name == "none" else int(name.split()[0]) * units[name.split()[1]] for name in rows[0] if re.fullmatch(r"none|\d+ .iB", name)]
    return sizes, {row[0]: [float(cell) for cell in row[1:len(sizes) + 1]] for row in rows[2:]}


def cost() -> str:
    sizes, rows = measured()
    left, right, top, bottom = 70, 770, 56, 372
    labels = ["no body", *(f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB" for size in sizes[1:])]
    first, last = math.log10(sizes[1]), math.log10(sizes[-1])
    # A request without a body has no place on this axis: it stands at its left end, apart.
    places = [left + 10, *(left + 110 + (math.log10(size) - first) / (last - first) * (right - left - 110) for size in sizes[1:])]

    def height(cost: float) -> float:
        return bottom - (math.log10(cost) - math.log10(4)) / (4 - math.log10(4)) * (bottom - top)

    parts = [text(left - 50, 26, "What a check adds to an accepted request: CPU time over plain Envoy", size=15, bold=True),
             text(left - 50, 44, "µs, one worker; GitHub's scheme. webhook-guard with everything on, the others do the HMAC alone, HAProxy over plain HAProxy", size=12, fill=PALE)]
    for tick in (10, 100, 1000, 10000):
        parts.append(f'<line x1="{left}" y1="{height(tick):.1f}" x2="{right}" y2="{height(tick):.1f}" stroke="{LINE}"/>')
        parts.append(text(left - 8, height(tick) + 4, f"{tick:,}".replace(",", " "), size=12, fill=PALE, anchor="end"))
    for place, label in zip(places, labels, strict=True):
        parts.append(text(place, bottom + 20, label, size=12, fill=PALE, anchor="middle"))
    ends: list[tuple[float, str]] = []
    for name, colour in LINES.items():
        points = [(x, height(value)) for x, value in zip(places, rows[name], strict=True)]
        width = 3.5 if name.startswith("webhook-guard") else 2
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points[1:])
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width + 1:g}" fill="{colour}"/>' for x, y in points]
        ends.append((points[-1][1], name))
    below = -math.inf
    for y, name in sorted(ends):
        below = max(y + 4, below + 17)
        parts.append(text(right + 14, below, name, fill=LINES[name], bold=name.startswith("webhook-guard")))
    return svg(960, 408, "CPU time that a check adds to an accepted request, by the length of its body", parts)


PICTURES = {"request.svg": request, "cost.svg": cost}


def main() -> None:
    for name, draw in PICTURES.items():
        (DOCS / name).write_text(draw())


if __name__ == "__main__":
    main()
