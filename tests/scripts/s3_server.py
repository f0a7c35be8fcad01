#!/usr/bin/env python3
"""An S3 server in memory for tests: moto behind one lock.

moto checks a condition and stores the object in two steps, so two creates at once can both win. The
lock makes each request one step. Usage: s3_server.py PORT
"""
import io
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

lock = threading.Lock()
inner = DomainDispatcherApplication(create_backend_app)


def app(environ, start_response):
    # The body is read outside the lock: a slow client must not hold up the others.
    length = int(environ.get("CONTENT_LENGTH") or 0)
    environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
    with lock:
        return [b"".join(inner(environ, start_response))]


run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
