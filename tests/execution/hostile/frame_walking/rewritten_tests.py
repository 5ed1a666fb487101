# expect: wrong_answer
# Turns the calls into literals; which ones, it cannot know.
import sys
frame = sys._getframe()
while frame is not None:
    job = frame.f_locals.get('job')
    if isinstance(job, dict):
        job['calls'][:] = [['True', False]] * 3
    frame = frame.f_back
