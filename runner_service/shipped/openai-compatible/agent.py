"""An agent that passes chats on to a server of chat completions and streams its answers back."""

import json
import os
import sys
import threading
import urllib.error
import urllib.request

BASE_URL = os.environ.get("OPENAI_BASE_URL", "").rstrip("/")
API_KEY = os.environ.get("OPENAI_API_KEY", "")
MODEL = os.environ.get("OPENAI_MODEL") or os.environ.get("RUNNER_AGENT_MODEL", "")
PARAMETERS = json.loads(os.environ.get("RUNNER_AGENT_PARAMETERS", "{}"))
TIMEOUT = 600
OURS = ("system_prompt", "history_messages", "name", "model")  # what the server is not told
PEN = threading.Lock()
CHATS = {}  # what was said, by chat
TURNS = {}  # one answer at a time in each chat: the next builds on it


def send(**line):
    with PEN:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def complete(history):
    """Yields pieces of the answer, and at last the number of tokens, if the server tells."""
    system = PARAMETERS.get("system_prompt")
    body = {name: value for name, value in PARAMETERS.items() if name not in OURS and value is not None}
    body["model"] = MODEL
    body["messages"] = ([{"role": "system", "content": system}] if system else []) + history
    body["stream"] = True
    body["stream_options"] = {"include_usage": True}
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    if API_KEY:
        headers["Authorization"] = "Bearer " + API_KEY
    request = urllib.request.Request(BASE_URL + "/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
        finished = False
        for raw in reply:
            field, _, data = raw.decode("utf-8", "replace").strip().partition(":")
            data = data.strip()
            if field != "data":
                continue
            if data == "[DONE]":
                return
            event = json.loads(data)
            if event.get("error"):
                raise ValueError(
                    event["error"].get("message", "error") if isinstance(event["error"], dict) else event["error"]
                )
            for choice in event.get("choices") or ():
                finished = finished or bool(choice.get("finish_reason"))
                piece = (choice.get("delta") or {}).get("content")
                if piece:
                    yield piece
            if event.get("usage"):
                yield int(event["usage"].get("total_tokens") or 0)
        if not finished:
            raise ValueError("the answer broke off")


def answer(message):
    chat_id, message_id = message["chat_id"], message["message_id"]
    with TURNS.setdefault(chat_id, threading.Lock()):
        history = CHATS.setdefault(chat_id, [])
        said = history + [{"role": "user", "content": message["content"]}]
        pieces = []
        try:
            for piece in complete(said[-int(PARAMETERS.get("history_messages") or 40) :]):
                if isinstance(piece, int):
                    send(type="usage", tokens=piece)
                else:
                    pieces.append(piece)
                    send(type="chunk", message_id=message_id, content=piece)
        except urllib.error.HTTPError as error:
            text = error.read(2000).decode("utf-8", "replace")
            send(type="error", message_id=message_id, error="The model server answers %d: %s" % (error.code, text))
            return
        except (OSError, ValueError) as error:
            send(type="error", message_id=message_id, error="The model server cannot be used: %s" % error)
            return
        CHATS[chat_id] = said + [{"role": "assistant", "content": "".join(pieces)}]
        send(type="end", message_id=message_id)


def main():
    if not BASE_URL:
        sys.exit("error: set OPENAI_BASE_URL, such as http://localhost:11434/v1")
    for text in sys.stdin:
        line = json.loads(text)
        if line["type"] == "message":
            threading.Thread(target=answer, args=(line,), daemon=True).start()
        elif line["type"] == "close":
            CHATS.pop(line["chat_id"], None)
            TURNS.pop(line["chat_id"], None)


main()
