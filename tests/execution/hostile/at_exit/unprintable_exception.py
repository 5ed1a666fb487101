# expect: runtime_error
# An exception that ends the process when it is described.
class Odd(Exception):
    def __str__(self): raise SystemExit(0)
    __repr__ = __str__
def f(x): raise Odd
