"""The page: everything on it, nothing hostile alive in it, nothing to fetch, small, whole."""

import dataclasses
import html.parser
import json
import math

from prm_jax.evaluation.plain import from_plain, to_plain
from prm_jax.report.data import Curve, ReportData
from prm_jax.report.write import render_report, write_report

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Collects tags, attributes and text, and checks that tags nest."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = set(), [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.words.append(data)


def test_hostile_text_is_shown_and_does_nothing(data):
    page = Page(render_report(data))
    assert page.open == []
    assert not page.tags & {"script", "img", "iframe", "link", "object", "form"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    text = "".join(page.words)
    assert '# </pre><script>alert("1")</script>' in text
    assert "{{ name }} {% raw %}" in text
    assert "<run & co>" in text and "<i>arm</i>" in text and "a<b" in text and "Say <b>it</b>." in text


def test_the_page_needs_no_network(data):
    page = render_report(data)
    assert "http:" not in page and "https:" not in page
    names = {name for name, _ in Page(page).attributes}
    assert not names & {"src", "srcset", "xlink:href"}
    assert all(value.startswith("#") for name, value in Page(page).attributes if name == "href")
    assert "url(" not in page and "@import" not in page


def test_every_section_is_there(data):
    page = Page(render_report(data))
    ids = {value for name, value in page.attributes if name == "id"}
    assert ids == {"results", "curves", "prm", "detectors", "time", "programs"}
    # 2 headline, 2 curves, 2 for the PRM, 1 detector, 2 times.
    assert page.words.count("pass@1 by difficulty") == 2
    assert render_report(data).count("<svg") == 9
    assert "update 2 of <i>arm</i>" in "".join(page.words)


def test_what_was_not_measured_leaves_its_section_out():
    page = Page(render_report(ReportData("empty", "today", {}, {})))
    assert page.open == []
    assert not [value for name, value in page.attributes if name == "id"]


def test_a_missing_baseline_costs_the_difference_only(data):
    page = "".join(Page(render_report(dataclasses.replace(data, baselines=("none",)))).words)
    assert "outcome" in page


def test_the_largest_run_stays_below_three_megabytes(data, tmp_path):
    updates = tuple(range(5000))
    arms = [f"arm_{i}" for i in range(14)]
    curves = tuple(
        Curve(arm, metric, updates, tuple(math.sin(u) for u in updates))
        for arm in arms
        for metric in ("pass_rate", "validation_pass_at_1", "reward", "kl", "steps", "tokens", "comment_share")
    )
    first = data.programs[0]
    text = ("<" * 20 + "\n") * 2000
    ends = tuple(range(21, 21 * 2000 + 1, 21))
    labelled = dataclasses.replace(
        first.scored.labelled,
        prompt="&" * 10**6,
        text=text,
        step_ends=ends,
        labels=(first.scored.labelled.labels[0],) * 2000,
    )
    huge = dataclasses.replace(first, scored=dataclasses.replace(first.scored, labelled=labelled, scores=(0.5,) * 2000))
    large = dataclasses.replace(data, curves=curves, programs=(huge,) * 500, configuration={"k": "&" * 10**6})
    write_report(large, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 3_000_000


def test_the_file_is_whole_and_broken_text_does_not_stop_it(data, tmp_path):
    write_report(dataclasses.replace(data, name="lone \ud800 surrogate"), tmp_path / "deep" / "report.html")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.html"]
    assert (tmp_path / "deep" / "report.html").read_text().rstrip().endswith("</html>")


def test_report_data_comes_back_through_json(data):
    back = from_plain(ReportData, json.loads(json.dumps(to_plain(data), allow_nan=False)))
    assert repr(back) == repr(data)
