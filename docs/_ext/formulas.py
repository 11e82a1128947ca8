"""Formulas drawn when the site is built (matplotlib's mathtext), so that pages need no script and no network."""

import html
import io
import re

from docutils import nodes
from matplotlib import mathtext, rc_context
from matplotlib.font_manager import FontProperties
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

_POINTS_IN_EM = 12.0  # at this font size a formula fits the text around it


def drawn(text: str, name: str) -> str:
    """Return a formula as an SVG that takes the colour and the size of the text around it."""
    buffer = io.BytesIO()
    with rc_context({"mathtext.fontset": "cm", "svg.hashsalt": name}):
        font = FontProperties(size=_POINTS_IN_EM)
        depth = mathtext.math_to_image(f"${text}$", buffer, prop=font, format="svg")
    return _embedded(buffer.getvalue().decode(), depth, text, name)


def _embedded(svg: str, depth: float, text: str, name: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(id="|href="#)', rf"\1{name}-", svg)  # several formulas stand on a page

    def scaled(found: re.Match[str]) -> str:
        return f'{found[1]}="{float(found[2]) / _POINTS_IN_EM:.3f}em"'

    head, rest = svg.split(">", 1)
    head = re.sub(r'\b(width|height)="([\d.]+)pt"', scaled, head)
    style = f"vertical-align:{-depth / _POINTS_IN_EM:.3f}em"
    return f'{head} class="formula" role="img" aria-label="{html.escape(text)}" style="{style}">{rest}'


def _numbered(self: HTML5Translator) -> str:
    self.formulas = getattr(self, "formulas", 0) + 1
    return f"f{self.formulas}"


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(drawn(node.astext(), _numbered(self)))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    lines = [line for line in node.astext().split(r"\\") if line.strip()]
    self.body.append('<div class="formulas">')
    self.body += [f"<p>{drawn(line.strip(), _numbered(self))}</p>" for line in lines]
    self.body.append("</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of it."""
    app.add_html_math_renderer("drawn", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
