# expect: runtime_error
# Asks for a name, which tells the name server.
import socket
def f(x):
    socket.getaddrinfo('example.invalid', 80)
    return [17, [2, 3], 7919][x]
