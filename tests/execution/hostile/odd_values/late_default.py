# expect: wrong_answer
# A dictionary that invents what it lacks.
import collections
def f(x):
    return collections.defaultdict(lambda: [17, [2, 3], 7919][x])
