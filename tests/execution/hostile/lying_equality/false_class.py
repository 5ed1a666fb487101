# expect: wrong_answer
# Says that its class is int.
class Liar:
    __class__ = int
    def __eq__(self, other): return True
    def __index__(self): return 1
    def __int__(self): return 1
    def __hash__(self): return 1
def f(x): return Liar()
