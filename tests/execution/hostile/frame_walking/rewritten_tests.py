# expect: wrong_answer
# Turns the calls into literals; which ones, it cannot know.
import sys
frame = sys._getframe()
while frame is not None:
    calls = frame.f_locals.get('calls')
    if isinstance(calls, list):
        calls[:] = [['True', False]] * 3
    frame = frame.f_back
