"""A badge: how many boxes are proven, as a small SVG that needs nothing from outside."""

from nightcrew.readiness.boxes import Status
from nightcrew.readiness.checklist import Checklist

_GOOD, _MIDDLE, _BAD = "#1a7f37", "#9a6700", "#b3261e"
_CHARACTER = 6.6
_PADDING = 10


def badge(found: Checklist) -> str:
    """The badge of a checklist: ``readiness | 8 of 8 proven``. Boxes that do not apply are not counted."""
    total = len(found.boxes) - found.count(Status.NOT_APPLICABLE)
    proven, missing = found.count(Status.PROVEN), found.count(Status.MISSING)
    right = f"{proven} of {total} proven" + (f", {missing} missing" if missing else "")
    color = _GOOD if found.ready else _BAD if missing else _MIDDLE
    return _svg("readiness", right, color)


def _svg(left: str, right: str, color: str) -> str:
    first, second = (round(len(text) * _CHARACTER) + 2 * _PADDING for text in (left, right))
    width = first + second
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img"'
        f' aria-label="{left}: {right}">'
        f"<title>{left}: {right}</title>"
        f'<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{first}" height="20" fill="#3c444d"/>'
        f'<rect x="{first}" width="{second}" height="20" fill="{color}"/></g>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{first / 2:g}" y="14">{left}</text>'
        f'<text x="{first + second / 2:g}" y="14">{right}</text></g></svg>\n'
    )
