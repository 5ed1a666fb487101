# expect: killed | wrong_answer
# Every later write says more than asked; the harness holds its own.
import os
def write(fd, data): return len(data)
os.write = write
def f(x): return 0
