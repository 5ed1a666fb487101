# expect: runtime_error
# Opens for reading and cuts off, which needs no write flag.
import os
def f(x):
    os.open('/tmp/hostile-bait/file', os.O_RDONLY | os.O_TRUNC)
    return [17, [2, 3], 7919][x]
