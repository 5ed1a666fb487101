"""`ReportData` in, one self-contained HTML file out. The stage `report` calls `write_report`."""

from __future__ import annotations

import jinja2
from etils import epath

from prm_jax.report.data import ReportData
from prm_jax.report.sections import page


def render_report(data: ReportData) -> str:
    """The report as one HTML page without scripts, links or anything else to be fetched.

    Programs are untrusted text: the templates escape everything but the drawings, and the page's own content security
    policy forbids whatever might slip through to run or to load.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("prm_jax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(page(data))


def write_report(data: ReportData, path: epath.PathLike) -> None:
    """Writes `report.html`, whole or not at all."""
    path = epath.Path(path)
    html = render_report(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f"{path.name}.part"
    # Broken surrogates in a program must not keep the report from being written.
    part.write_bytes(html.encode("utf-8", "replace"))
    part.replace(path)
