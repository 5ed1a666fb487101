# expect: runtime_error
# Calls home; the test listens there.
import socket
def f(x):
    socket.create_connection(('127.0.0.1', 27913), 1)
    return [17, [2, 3], 7919][x]
