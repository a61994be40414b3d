"""How figures are written for people."""

from __future__ import annotations


def short(value: float) -> str:
    """Three digits that count, thousands grouped, no power of ten: 0.0125, 6.25, 1,170."""
    return f"{value:,.0f}" if 100 <= abs(value) < 1e15 else f"{value:.3g}"
