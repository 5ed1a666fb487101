# expect: runtime_error
# Turns a failure into exit status 0.
import atexit, os, sys
atexit.register(lambda: os._exit(0))
sys.excepthook = lambda *a: os._exit(0)
def f(x): raise ValueError
