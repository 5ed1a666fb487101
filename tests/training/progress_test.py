"""Progress: quiet where nobody watches, a bar on a terminal."""

import io

from rich.console import Console

from prm_jax.training.progress import Progress


def shown(terminal: bool, total: int, start: int = 0) -> str:
    out = io.StringIO()
    with Progress("sft", total, start, Console(file=out, force_terminal=terminal, width=200)) as progress:
        for done in range(start + 1, total + 1):
            progress.update(done, {"loss": 0.5})
        progress.say("[bold] is not markup")
    return out.getvalue()


def test_a_line_every_tenth_where_there_is_no_terminal():
    lines = shown(False, 1000).splitlines()
    assert len(lines) == 11 and lines[0] == "sft: 100 of 1000  loss 0.5" and lines[-1] == "[bold] is not markup"
    assert len(shown(False, 1000, start=750).splitlines()) == 4
    assert len(shown(False, 3).splitlines()) == 4


def test_a_bar_on_a_terminal():
    text = shown(True, 20)
    assert "20/20" in text and "loss 0.5" in text and "sft: " not in text


def test_steps_that_are_done_by_the_way_are_added_up():
    out = io.StringIO()
    with Progress("evaluate", 10, console=Console(file=out, width=200)) as progress:
        for more in (3, 0, 4, 3):
            progress.add(more)
    assert out.getvalue().splitlines() == [f"evaluate: {done} of 10" for done in (3, 7, 10)]
