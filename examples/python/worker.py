"""A worker: no port, no requests, only work; it ends when it is told to."""

import signal
import threading

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
print("worker started", flush=True)
while not stop.wait(10):
    print("worker is at work", flush=True)
print("worker stopped", flush=True)
