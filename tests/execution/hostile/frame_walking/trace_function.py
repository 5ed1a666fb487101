# expect: wrong_answer | killed
# Steps through the harness with a trace function and rewrites what it returns.
import sys
def spy(frame, event, argument):
    for name in list(frame.f_locals):
        if name in ('value', 'result', 'payload'):
            frame.f_locals[name] = True
    return spy
def f(x):
    frame = sys._getframe().f_back
    sys.settrace(spy)
    sys.setprofile(spy)
    while frame is not None:
        frame.f_trace = spy
        frame = frame.f_back
    return None
