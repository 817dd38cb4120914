"""The colours of the page and its pictures, each in light and in dark."""

from typing import Any

LIGHT_AND_DARK = {
    "paper": ("#f6f7f4", "#121615"),
    "ink": ("#17201c", "#e6ece8"),
    "quiet": ("#56635c", "#9aa8a1"),
    "line": ("#cfd7d1", "#35403c"),
    "accent": ("#0f7a58", "#6fd3ac"),
    "wash": ("#e6efe9", "#182822"),
    "series-0": ("#0f7a58", "#6fd3ac"),
    "series-1": ("#ad5800", "#f0a94e"),
    "series-2": ("#2b66ad", "#84b5f2"),
    "series-3": ("#8e4585", "#dba0d4"),
    "series-4": ("#6a6f6c", "#b4bab7"),
    "heat-0": ("#e9ede8", "#1d2522"),  # of a heat map, the worst first
    "heat-1": ("#d3e3da", "#213a31"),
    "heat-2": ("#b3d5c5", "#265043"),
    "heat-3": ("#8cc3ab", "#2c6855"),
    "heat-4": ("#297d5d", "#4c9a7f"),
    "heat-5": ("#176e4e", "#62bb9a"),
    "heat-6": ("#07573b", "#7fdcb6"),
}
SERIES = tuple(name for name in LIGHT_AND_DARK if name.startswith("series"))
HEAT = tuple(name for name in LIGHT_AND_DARK if name.startswith("heat"))
STRONG = 4  # from this one of HEAT on, what is written on it has the paper's colour

Colours = dict[str, str]  # by name

# In a page, a picture's colours are variables; matplotlib draws these in their place.
STAND_INS: Colours = {name: f"#0000{index:02x}" for index, name in enumerate(LIGHT_AND_DARK, start=1)}
ON_WHITE: Colours = {name: light for name, (light, _) in LIGHT_AND_DARK.items()} | {"paper": "#ffffff"}


def declarations() -> str:
    """The colours as CSS declares them."""
    pairs = LIGHT_AND_DARK.items()
    return "\n".join(f"  --{name}: light-dark({light}, {dark});" for name, (light, dark) in pairs)


def as_variables(svg: str) -> str:
    for name, stand_in in STAND_INS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    return svg


def style(colours: Colours) -> dict[Any, Any]:
    """Of matplotlib, for pictures in these colours."""
    quiet, line = colours["quiet"], colours["line"]
    return {
        "svg.fonttype": "none",  # text stays text
        "font.size": 9,
        "axes.edgecolor": line,
        "axes.labelcolor": quiet,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": colours["ink"],
        "text.parse_math": False,  # a dollar in a name is one
        "xtick.color": line,
        "ytick.color": line,
        "xtick.labelcolor": quiet,
        "ytick.labelcolor": quiet,
    }
