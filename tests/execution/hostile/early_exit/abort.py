# expect: killed
# Dies by a signal of its own.
import os
def f(x):
    os.abort()
