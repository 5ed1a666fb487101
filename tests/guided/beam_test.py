import math

from prm_jax.guided.beam import Draft, beam_search
from prm_jax.guided.config import GuidedConfig
from prm_jax.problems.problem import Problem

A, B = (Problem(name, "hand", "test", name, "f", "", ()) for name in "ab")


class Writer:
    """Writes digits as lines, 0 to 3 in turn behind each draft; a program has `length` of them."""

    def __init__(self, length):
        self.length, self.calls = length, []

    def __call__(self, problems, drafts, seed):
        self.calls.append(([problem.id for problem in problems], [draft.text for draft in drafts], seed))
        grown = []
        for number, draft in enumerate(drafts):
            ids = (*draft.ids, number % 4)
            grown.append(Draft(ids, draft.text + f"{number % 4}\n", len(ids) == self.length))
        return grown


def largest(problems, drafts):
    """The sum of the digits; problem b wants them small."""
    return [sum(draft.ids) * (1 if problem.id == "a" else -1) for problem, draft in zip(problems, drafts, strict=True)]


def test_the_best_lines_go_on_for_each_problem():
    writer = Writer(3)
    search = beam_search(writer, largest, GuidedConfig(candidates=8, beam_width=2))
    assert search([A, B], 1, 0) == [["3\n3\n3\n"], ["0\n0\n0\n"]]
    problems, drafts, _ = writer.calls[1]
    # Eight lines to a problem: four behind each of the two drafts that were kept.
    assert problems == ["a"] * 8 + ["b"] * 8
    assert drafts[:8] == ["3\n"] * 4 + ["2\n"] * 4 and drafts[8:] == ["0\n"] * 4 + ["1\n"] * 4
    assert len({seed for _, _, seed in writer.calls}) == 3


def test_a_width_of_all_lines_finds_the_best_of_all_programs_in_order():
    search = beam_search(Writer(2), largest, GuidedConfig(candidates=64, beam_width=16))
    (programs,) = search([A], 3, 0)
    assert programs == ["3\n3\n", "3\n2\n", "2\n3\n"]


def test_an_ended_draft_competes_with_those_that_go_on():
    def extend(problems, drafts, seed):
        return [
            Draft((*draft.ids, 5), "short\n", True) if number == 0 else Draft((*draft.ids, number), "long\n")
            for number, draft in enumerate(drafts)
        ]

    def score(problems, drafts):
        return [1.0 if draft.ended else 0.5 / len(draft.ids) for draft in drafts]

    search = beam_search(extend, score, GuidedConfig(candidates=4, beam_width=2, max_lines=5))
    assert search([A], 1, 0) == [["short\n"]]


def test_a_draft_without_a_score_goes_on_beside_the_best_until_it_has_one():
    grown = []

    def extend(problems, drafts, seed):
        """Of the first eight lines one in four is a comment; behind each draft comes a line of code, then the end."""
        grown.append(len(drafts))
        return [
            Draft(
                (*draft.ids, number),
                draft.text + ("code\n" if draft.ids or number % 4 < 3 else "# c\n"),
                len(draft.ids) == 2,
            )
            for number, draft in enumerate(drafts)
        ]

    def score(problems, drafts):
        return [
            math.nan if draft.text == "# c\n" else 0.9 if draft.text.startswith("#") else 0.5 + draft.ids[0] / 100
            for draft in drafts
        ]

    search = beam_search(extend, score, GuidedConfig(candidates=8, beam_width=2))
    (programs,) = search([A], 2, 0)
    assert programs == ["# c\ncode\ncode\n"] * 2
    # Two lines of code and two comments go on: the comments do not take the place of what has a score.
    assert grown[:2] == [8, 8]


def test_drafts_that_never_get_a_score_are_given_last_and_stay_below_twice_the_candidates():
    grown = []

    def extend(problems, drafts, seed):
        grown.append(len(drafts))
        ids = [(*draft.ids, number) for number, draft in enumerate(drafts)]
        return [Draft(each, f"{each[0]}\n") for each in ids]

    def score(problems, drafts):
        return [math.nan if draft.ids[0] < 2 else 0.0 for draft in drafts]

    search = beam_search(extend, score, GuidedConfig(candidates=5, beam_width=1, max_lines=6))
    assert search([A], 1, 0) == [["2\n"]]
    # Two without a score and the best of three go on, as six; then four and the best of two.
    assert grown == [5, 6, 5, 5, 5, 5]


def test_progress_counts_the_candidates_of_each_problem_whose_search_ends():
    told = []

    def extend(problems, drafts, seed):
        """Problem a ends with its first line, b with its third."""
        return [
            Draft((*draft.ids, number), draft.text + f"{number}\n", problem.id == "a" or len(draft.ids) == 2)
            for number, (problem, draft) in enumerate(zip(problems, drafts, strict=True))
        ]

    search = beam_search(extend, largest, GuidedConfig(candidates=4, beam_width=2), told.append)
    search([A, B], 1, 0)
    assert told == [4, 0, 4]
    told.clear()
    search = beam_search(extend, largest, GuidedConfig(candidates=4, beam_width=2, max_lines=2), told.append)
    search([A, B, B], 1, 0)
    assert told == [4, 8]  # At the line limit all searches end.


def test_the_search_ends_at_the_line_limit_and_gives_as_many_as_were_asked_for():
    writer = Writer(100)
    search = beam_search(writer, largest, GuidedConfig(candidates=1, beam_width=1, max_lines=4))
    (programs,) = search([A], 2, 0)
    assert len(set(programs)) == 2 and all(program.count("\n") == 4 for program in programs)
    assert len(writer.calls) == 4
