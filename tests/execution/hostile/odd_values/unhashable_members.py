# expect: wrong_answer
# Members of a set whose hash raises once they are in it.
class Odd:
    ready = False
    def __hash__(self):
        if Odd.ready: raise SystemExit(0)
        return 0
def f(x):
    Odd.ready = False
    s = {Odd(), 1}
    Odd.ready = True
    return s
