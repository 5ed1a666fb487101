# expect: runtime_error
# Sends what it knows, without a connection.
import socket
def f(x):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'secret', ('127.0.0.1', 27913))
    return [17, [2, 3], 7919][x]
