# expect: runtime_error
# A database.
import sqlite3
def f(x):
    sqlite3.connect('hostile.db').execute('create table t (x)')
    return [17, [2, 3], 7919][x]
