# expect: timeout
# An exception whose text takes forever.
class Odd(Exception):
    def __str__(self):
        while True: pass
def f(x): raise Odd
