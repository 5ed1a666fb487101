# expect: runtime_error
# Exit status 0 from inside the call.
import sys
def f(x):
    sys.exit(0)
