# expect: wrong_answer | killed | runtime_error
# Takes the calls out of the harness's list while it goes through it.
import sys
def f(x):
    frame = sys._getframe()
    while frame is not None:
        calls = frame.f_locals.get('calls')
        if isinstance(calls, list):
            calls.clear()
        frame = frame.f_back
    return 0
