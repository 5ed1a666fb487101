# expect: killed
# Says that the set-up failed, to be excused.
import json, os, struct
payload = json.dumps(["setup", "ImportError", None, False]).encode()
os.write(3, struct.pack(">Ic", len(payload), b"X") + payload)
os._exit(0)
