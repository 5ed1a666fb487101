# expect: wrong_answer
# Its class says that it is every class.
class Meta(type):
    def __eq__(cls, other): return True
    def __hash__(cls): return hash(int)
    def __instancecheck__(cls, instance): return True
    __name__ = 'int'
class Liar(metaclass=Meta):
    def __eq__(self, other): return True
def f(x): return Liar()
