"""An agent that says what it was told, word by word."""

import json
import os
import re
import sys
import threading
import time

PARAMETERS = json.loads(os.environ.get("RUNNER_AGENT_PARAMETERS", "{}"))
DELAY = float(PARAMETERS.get("delay_seconds") or 0)
PEN = threading.Lock()


def send(**line):
    with PEN:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def answer(message):
    words = re.findall(r"\S+\s*|^\s+", message["content"])
    for word in words:
        send(type="chunk", message_id=message["message_id"], content=word)
        if DELAY:
            time.sleep(DELAY)
    send(type="usage", tokens=len(words))
    send(type="end", message_id=message["message_id"])


def use_tool(request):
    if request["tool"] == "echo":
        result = request["parameters"]
    elif request["tool"] == "time":
        result = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    else:
        send(type="tool_result", request_id=request["request_id"], error="I do not have that tool")
        return
    send(type="tool_result", request_id=request["request_id"], result=result)


def main():
    for text in sys.stdin:
        line = json.loads(text)
        if line["type"] == "message":
            # A thread each, so that a long answer holds up nobody else.
            threading.Thread(target=answer, args=(line,), daemon=True).start()
        elif line["type"] == "tool_request":
            use_tool(line)


main()
