"""A page that says which release and which instance answered."""

import os
import time

from flask import Flask, jsonify

app = Flask(__name__)
MESSAGE = "Hello from Weir"


@app.get("/")
def index():
    release = os.environ.get("WEIR_RELEASE", "this machine")
    return f"<!doctype html><title>{MESSAGE}</title><h1>{MESSAGE}</h1><p>Release {release}</p>\n"


@app.get("/health")
def health():
    return jsonify(status="ok")


@app.get("/slow")
def slow():
    """Takes two seconds, so that one can push meanwhile and see that nothing is lost."""
    time.sleep(2)
    return "slow, but here\n"
