# expect: wrong_answer
# The liar sits in an honest container.
class Liar:
    def __eq__(self, other): return True
def f(x): return [Liar(), Liar()]
