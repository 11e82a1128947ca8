"""Formulas drawn when the site is built (matplotlib's mathtext), so that pages need no script and no network."""

import html

from docutils import nodes
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

_SIZE = 100.0  # units in an em
_EM = 1.12  # how large an em of a formula is beside that of the text around it
_LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}


def drawn(text: str) -> str:
    """Return a formula as an SVG that takes the colour and the size of the text around it."""
    path = TextPath((0, 0), f"${text}$", size=_SIZE, prop=FontProperties(math_fontfamily="cm"))
    box = path.get_extents()
    width, height, depth = (value / _SIZE * _EM for value in (box.width, box.height, -box.y0))
    return (
        f'<svg class="formula" role="img" aria-label="{html.escape(text)}" '
        f'viewBox="{box.x0:.1f} {-box.y1:.1f} {box.width:.1f} {box.height:.1f}" '
        f'style="width:{width:.3f}em;height:{height:.3f}em;vertical-align:{-depth:.3f}em">'
        f'<path d="{_steps(path)}"/></svg>'
    )


def _steps(path: TextPath) -> str:
    steps = []
    for points, code in path.iter_segments(simplify=False, curves=True):
        corners = [] if code == Path.CLOSEPOLY else [f"{x:.1f} {-y:.1f}" for x, y in points.reshape(-1, 2)]
        steps.append(_LETTERS[code] + " ".join(corners))
    return "".join(steps)


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(drawn(node.astext()))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<p class="formulas">{drawn(node.astext().strip())}</p>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of it."""
    app.add_html_math_renderer("drawn", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
