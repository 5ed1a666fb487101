# expect: killed | wrong_answer
# A set of numbers with one hash, which would take the grader minutes to build.
import json, os, struct
def record(kind, payload):
    data = json.dumps(payload).encode()
    return struct.pack(">Ic", len(data), kind) + data
os.write(3, record(b'P', None))
data = record(b'R', ['v', ['s', *(n * (2**61 - 1) for n in range(40000))]]) * 3 + record(b'D', None)
while data:
    data = data[os.write(3, data):]
os._exit(0)
