# expect: wrong_answer
# Every later import gives a liar.
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        raise SystemExit(0)
sys.meta_path.insert(0, Finder())
def f(x): return 0
