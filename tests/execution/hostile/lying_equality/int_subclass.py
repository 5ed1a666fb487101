# expect: wrong_answer
# An instance of int, by its class.
class Liar(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __len__(self): return 1
    def __iter__(self): return iter((1,))
def f(x): return Liar(0)
