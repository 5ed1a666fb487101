# expect: wrong_answer
# Megabytes on standard error, then an answer.
import sys
def f(x):
    sys.stderr.write('y' * 10**7)
    return 0
