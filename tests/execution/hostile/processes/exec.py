# expect: runtime_error
# Becomes another program.
import os
def f(x):
    try:
        os.execv('/bin/sh', ['sh', '-c', 'exit 0'])
    except FileNotFoundError:
        pass
    return [17, [2, 3], 7919][x]
