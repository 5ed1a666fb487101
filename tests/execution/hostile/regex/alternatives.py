# expect: timeout
# The same by alternatives.
import re
def f(x):
    return re.fullmatch(r'(a|a|ab)*c', 'a' * 60) is None
