"""A report as one HTML file that needs no other file and no network."""

import base64
import hashlib
from pathlib import Path

from jaxgan import __version__
from jaxgan.errors import RunError
from jaxgan.outputs.report_content import Report

FOLDER = Path(__file__).parent
TEMPLATE = "report.html.jinja"


def check_jinja() -> None:
    """Raises `RunError` where Jinja2 is not installed."""
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise RunError("a report needs Jinja2: pip install 'jaxgan[report]'") from error


def render_page(report: Report) -> str:
    """Returns a report as an HTML page. Every text in it is escaped.

    The page's policy allows its own script alone, and no requests.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (FOLDER / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template(TEMPLATE).render(
        report=report,
        version=__version__,
        style=Markup((FOLDER / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
    )
