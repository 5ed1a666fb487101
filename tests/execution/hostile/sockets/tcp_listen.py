# expect: runtime_error
# Waits for orders.
import socket
def f(x):
    socket.create_server(('127.0.0.1', 0))
    return [17, [2, 3], 7919][x]
