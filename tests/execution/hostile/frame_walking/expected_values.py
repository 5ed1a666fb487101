# expect: wrong_answer
# Looks for the answers in the frames above and among all objects.
import gc, sys
def f(x):
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            for name in ('expected', 'passed', 'result'):
                if isinstance(value, dict) and name in value:
                    return value[name]
        frame = frame.f_back
    for thing in gc.get_objects():
        if type(thing).__name__ in ('Test', 'Verdict'):
            return thing.expected
    return 0
