# expect: wrong_answer
# A descriptor that somebody forgot to close.
import os
def f(x):
    for fd in range(4, 200):
        try:
            os.fstat(fd)
        except OSError:
            continue
        return [17, [2, 3], 7919][x]
