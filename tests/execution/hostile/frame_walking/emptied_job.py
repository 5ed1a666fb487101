# expect: wrong_answer | killed | runtime_error
# Takes the calls out of the harness's list while it goes through it.
import sys
def f(x):
    frame = sys._getframe()
    while frame is not None:
        job = frame.f_locals.get('job')
        if isinstance(job, dict):
            job['calls'].clear()
        frame = frame.f_back
    return 0
