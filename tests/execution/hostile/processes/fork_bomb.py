# expect: runtime_error
# Becomes a thousand processes.
import os
def f(x):
    for _ in range(10):
        os.fork()
