# expect: wrong_answer
# An iterator that a grader might read to its end.
import itertools
def f(x):
    return itertools.count()
