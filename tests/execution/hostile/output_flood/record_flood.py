# expect: killed
# Garbage on the grader's descriptor, without end.
import os
def f(x):
    while True:
        os.write(3, b'x' * 65536)
