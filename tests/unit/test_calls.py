"""Which calls are found by reading code, and which of them count as guarded."""

import textwrap
from pathlib import Path

import pytest

from nightcrew.model.errors import UsageError
from nightcrew.readiness.calls import Calls, find_calls, own_files, python_files


def read(tmp_path: Path, **files: str) -> Calls:
    """The calls in files named by ``a_b`` for ``a/b.py``."""
    for name, text in files.items():
        path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return find_calls(tmp_path)


def names(calls: Calls) -> list[str]:
    return [call.what for call in calls.found]


@pytest.mark.parametrize(
    ("code", "what", "kind"),
    [
        ("import requests\nrequests.get('u')", "requests.get", "http"),
        ("import requests as r\nr.post('u')", "requests.post", "http"),
        ("from requests import get as fetch\nfetch('u')", "requests.get", "http"),
        ("import urllib.request\nurllib.request.urlopen('u')", "urllib.request.urlopen", "http"),
        ("from urllib import request\nrequest.urlopen('u')", "urllib.request.urlopen", "http"),
        ("import httpx\nwith httpx.Client() as c:\n    c.get('u')", "httpx.Client().get", "http"),
        ("import httpx\n(client := httpx.Client()).get('u')", "httpx.Client().get", "http"),
        ("import httpx\ndef f(c: 'httpx.Client | None'):\n    c.get('u')", "httpx.Client().get", "http"),
        ("import aiohttp\nasync def f():\n  async with aiohttp.ClientSession() as s:\n    await s.get('u')",
         "aiohttp.ClientSession().get", "http"),
        ("import requests\nclass Api(requests.Session):\n  def f(self):\n    self.get('u')", "requests.Session().get",
         "http"),
        ("import requests\nclass A:\n  def __init__(self, s=None):\n    self.s = s or requests.Session()\n"
         "  def f(self):\n    return self.s.get('u')", "requests.Session().get", "http"),
        ("from functools import partial\nimport requests\nget = partial(requests.get, timeout=3)\nget('u')",
         "requests.get", "http"),
        ("import asyncio, requests\nasync def f():\n  await asyncio.to_thread(requests.get, 'u')", "requests.get",
         "http"),
        ("import httpx\ndef made():\n  return httpx.Client()\nmade().get('u')", "httpx.Client().get", "http"),
        ("import httpx\nclass A:\n  @property\n  def c(self) -> httpx.Client: ...\n  def f(self):\n    self.c.get('u')",
         "httpx.Client().get", "http"),
        ("import contextlib, httpx\nwith contextlib.ExitStack() as stack:\n"
         "    c = stack.enter_context(httpx.Client())\n    c.get('u')", "httpx.Client().get", "http"),
        ("import httpx\ndef f(c, u):\n  return g(u, client=c)\ndef g(u, client=None):\n  client.get(u)\n"
         "f(httpx.Client(), 'u')", "httpx.Client().get", "http"),
        ("import httpx\nclass A:\n  def __init__(self, c):\n    self.c = c\n  def f(self):\n    self.c.get('u')\n"
         "A(httpx.Client()).f()", "httpx.Client().get", "http"),
        ("from azure.storage.blob import BlobServiceClient as B\n"
         "B.from_connection_string('s').get_blob_client('b').upload_blob(1)",
         "azure.storage.blob.BlobServiceClient().get_blob_client().upload_blob", "cloud"),
        ("from requests_oauthlib import OAuth2Session\nclass A(OAuth2Session):\n  def f(self):\n"
         "    super().fetch_token('u')", "requests_oauthlib.OAuth2Session().fetch_token", "http"),
        ("import paho.mqtt.client as mqtt\nclass A:\n  def __init__(self):\n    self.c = mqtt.Client()\n"
         "  def f(self):\n    self.c.publish('t')", "paho.mqtt.client.Client().publish", "network"),
        ("from openai import OpenAI\nOpenAI().chat.completions.create(model='m')",
         "openai.OpenAI().chat.completions.create", "model"),
        ("from anthropic import Anthropic\nc = Anthropic()\nc.with_options(timeout=3).messages.create()",
         "anthropic.Anthropic().messages.create", "model"),
        ("from google import genai\ngenai.Client().models.generate_content(model='m')",
         "google.genai.Client().models.generate_content", "model"),
        ("import litellm\nlitellm.completion(model='m')", "litellm.completion", "model"),
        ("import subprocess\nsubprocess.run(['ls'])", "subprocess.run", "process"),
        ("import os\nos.system('ls')", "os.system", "process"),
        ("import psycopg\nwith psycopg.connect('d') as c, c.cursor() as k:\n    k.execute('s')",
         "psycopg.connect().cursor().execute", "database"),
        ("from sqlalchemy import create_engine\nwith create_engine('u').begin() as c:\n    c.execute('s')",
         "sqlalchemy.create_engine().begin().execute", "database"),
        ("import socket\ns = socket.socket()\ns.connect(('h', 1))", "socket.socket().connect", "network"),
        ("import boto3\nboto3.client('s3').put_object(Key='k')", "boto3.client().put_object", "cloud"),
        ("from sklearn.svm import SVC\nm = SVC().fit([], [])\nm.predict([])", "sklearn.svm.SVC().fit().predict",
         "prediction"),
        ("import joblib\nm = joblib.load('m')\nm.predict([])", "joblib.load().predict", "prediction"),
    ],
)  # fmt: skip
def test_an_external_call_is_found_through_imports_clients_and_results(
    tmp_path: Path, code: str, what: str, kind: str
) -> None:
    found = {call.what: call for call in read(tmp_path, app=code).found}
    assert what in found
    assert found[what].kind == kind
    assert not found[what].guarded_by


@pytest.mark.parametrize(
    "code",
    [
        "cache = {}\ncache.get('u')",
        "def get(url): ...\nget('u')",
        "import requests\nr = requests.get\ntry:\n    pass\nexcept requests.HTTPError:\n    pass",
        "import requests\ns = requests.Session()\ns.headers.get('a')",
        "import requests\nclass R:\n  def f(self, r: requests.Response):\n    r.headers.get('a')",
        "import sqlite3\nc = sqlite3.connect(':memory:')",
        "from unittest import mock\nrequests = mock.Mock()\nrequests.get('u')",
        "import subprocess\nsubprocess.list2cmdline(['a'])",
        "from openai import OpenAI\nc = OpenAI()\nc.close()",
        "import os\nos.path.join('a')",
    ],
)
def test_what_stays_in_the_program_is_not_reported(tmp_path: Path, code: str) -> None:
    assert [what for what in names(read(tmp_path, app=code)) if what != "requests.get"] == []


GUARDED = {
    "a decorator": "@nc.guard\ndef f():\n    return requests.get('u')\n",
    "a decorator with options": "@nc.guard(timeout=2.0)\ndef f():\n    return requests.get('u')\n",
    "production": "@nc.production\ndef f():\n    return requests.get('u')\n",
    "a wrapped function": "def f():\n    return requests.get('u')\nsafe = nc.guard(f)\nsafe()\n",
    "a wrapped function with options": "def f():\n    return requests.get('u')\nsafe = nc.guard(retry=None)(f)\n",
    "a wrapped lambda": "safe = nc.guard(lambda url: requests.get(url))\n",
    "a step": "p = nc.Pipeline('p')\n@p.step\ndef f(r):\n    return requests.get('u')\n",
    "a step with options": "p = nc.Pipeline('p')\n@p.step(timeout=2.0)\ndef f(r):\n    return requests.get('u')\n",
    "a helper of a step": "p = nc.Pipeline('p')\ndef g():\n    return requests.get('u')\n@p.step\ndef f(r):\n"
        "    return g()\n",
    "a helper defined later": "@nc.guard\ndef f():\n    return C().g()\nclass C:\n    def g(self):\n"
        "        return requests.get('u')\n",
    "a fallback": "def f(r):\n    return requests.get('u')\n@nc.guard(fallback=[f])\ndef g(r): ...\n",
    "a decorator of one's own": "def mine(f):\n    return nc.guard(f, timeout=3)\n@mine\ndef f():\n"
        "    return requests.get('u')\n",
    "tenacity that was told": "import tenacity\n"
        "@tenacity.retry(retry=tenacity.retry_if_exception_type(OSError))\ndef f():\n"
        "    return requests.get('u')\n",
    "stamina": "import stamina\n@stamina.retry(on=OSError)\ndef f():\n    return requests.get('u')\n",
    "a loop of stamina": "import stamina\ndef f():\n    for attempt in stamina.retry_context(on=OSError):\n"
        "        with attempt:\n            requests.get('u')\n",
    "a helper that makes a loop": "import tenacity\ndef again() -> tenacity.Retrying:\n"
        "    return tenacity.Retrying(retry=tenacity.retry_if_exception_type(OSError))\ndef f():\n"
        "    for attempt in again():\n        with attempt:\n            requests.get('u')\n",
}  # fmt: skip


@pytest.mark.parametrize("code", GUARDED.values(), ids=GUARDED)
def test_a_call_that_only_guards_lead_to_is_guarded(tmp_path: Path, code: str) -> None:
    calls = read(tmp_path, app=f"import requests\nimport nightcrew as nc\n{code}")
    assert names(calls) == ["requests.get"]
    assert calls.found[0].guarded_by
    assert calls.unguarded == ()


UNGUARDED = {
    "the step is also called by name": (
        "p = nc.Pipeline('p')\n@p.step\ndef f(r):\n    return requests.get('u')\nf({})\n", "f is called at app.py:7"),
    "the helper is also called by others": (
        "def g():\n    return requests.get('u')\n@nc.guard\ndef f():\n    return g()\ndef h():\n    g()\n",
        "called by h at app.py:9; nothing in these files calls h"),
    "a wrapped function is also called itself": (
        "def f():\n    return requests.get('u')\nsafe = nc.guard(f)\nf()\n", "f is called at app.py:6"),
    "a function nobody calls": ("def f():\n    return requests.get('u')\n", "nothing in these files calls f"),
    "functions that only call each other": (
        "def f():\n    g()\ndef g():\n    f()\n    return requests.get('u')\n", "only functions that nothing calls"),
    "a handler": ("@app.get('/')\ndef f():\n    return requests.get('u')\n", "f is handed to @app.get"),
    "a gate": ("p = nc.Pipeline('p')\n@p.gate\ndef f(a, b):\n    requests.get('u')\n", "f is handed to @p.gate"),
    "the top of the module": ("requests.get('u')\n", "runs when the module is imported"),
    "retries that were not told": (
        "import tenacity\n@tenacity.retry\ndef f():\n    return requests.get('u')\n", "f is handed to @tenacity.retry"),
    "retries of everything": (
        "import backoff\n@backoff.on_exception(backoff.expo, Exception)\ndef f():\n    return requests.get('u')\n",
        "f is handed to @backoff.on_exception"),
    "a method of something unknown": (
        "class C:\n    def fetch(self):\n        return requests.get('u')\n@nc.guard\ndef f(): C().fetch()\n"
        "def g(it): it.fetch()\n", "perhaps called at app.py:8, as the fetch of something unknown"),
    "an override": (
        "class B:\n    def go(self): ...\nclass C(B):\n    def go(self):\n        return requests.get('u')\n"
        "def f(b: B): b.go()\n", "called by f"),
    "passed on": ("def f():\n    return requests.get('u')\nhandlers = {'a': f}\n", "f is called at app.py:5"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "way"), UNGUARDED.values(), ids=UNGUARDED)
def test_a_call_that_can_be_reached_without_a_guard_is_not_guarded_and_says_how(
    tmp_path: Path, code: str, way: str
) -> None:
    calls = read(tmp_path, app=f"import requests\nimport nightcrew as nc\n{code}")
    (call,) = calls.unguarded
    assert way in call.way


def test_a_call_is_named_with_file_line_column_and_function(tmp_path: Path) -> None:
    calls = read(
        tmp_path,
        pkg____init__="",
        pkg__net="import requests\n\nclass Api:\n    def f(self):\n        requests.get('u')\n",
    )
    (call,) = calls.unguarded
    assert (call.place, call.function) == ("pkg/net.py:5:9", "Api.f")


def test_a_guard_is_followed_over_files_and_relative_imports(tmp_path: Path) -> None:
    calls = read(
        tmp_path,
        pkg____init__="",
        pkg__net="import httpx\nclient = httpx.Client()\ndef fetch():\n    return client.get('u')\n",
        pkg__app="import nightcrew as nc\nfrom . import net\nfrom .net import fetch as get\n"
        "@nc.guard(timeout=1)\ndef work():\n    return net.fetch() or get()\n",
    )
    assert [(call.guarded_by, call.timeout) for call in calls.found] == [("nightcrew.guard", True)]


def test_what_an_imported_file_does_as_a_script_is_no_way_to_a_call(tmp_path: Path) -> None:
    proto = tmp_path / "proto.py"
    proto.write_text("import requests\ndef f():\n    return requests.get('u')\nif __name__ == '__main__':\n    f()\n")
    app = tmp_path / "app.py"
    app.write_text("import nightcrew as nc\nfrom proto import f\n@nc.guard\ndef g():\n    return f()\n")
    assert own_files(app) == [app, proto]
    assert find_calls(tmp_path, own_files(app), entry=app).unguarded == ()
    assert len(find_calls(tmp_path, own_files(proto), entry=proto).unguarded) == 1
    assert len(find_calls(tmp_path).unguarded) == 1


def test_a_reason_in_a_comment_accepts_a_call_and_no_reason_does_not(tmp_path: Path) -> None:
    calls = read(
        tmp_path,
        app="import os\nos.system('a')  # nightcrew: unguarded it ends the program\n"
        "os.system('b')  # nightcrew: unguarded\n",
    )
    assert [call.accepted for call in calls.found] == ["it ends the program", ""]
    assert [call.line for call in calls.unguarded] == [3]


def test_a_model_that_a_loop_waits_for_without_a_limit_is_said(tmp_path: Path) -> None:
    calls = read(
        tmp_path,
        app="import anthropic\nslow, quick = anthropic.Anthropic(), anthropic.Anthropic(timeout=9)\n"
        "for a in range(3):\n    slow.messages.create()\n    quick.messages.create()\n"
        "    slow.with_options(timeout=3).messages.create()\nslow.messages.create()\n",
    )
    assert [call.line for call in calls.found if call.hangs] == [4]


def test_files_that_are_no_program_are_left_out_and_broken_ones_named(tmp_path: Path) -> None:
    calls = read(
        tmp_path,
        app="import os\nos.system('a')\n",
        test_app="import os\nos.system('a')\n",
        tests__help="import os\nos.system('a')\n",
        venv__lib="import os\nos.system('a')\n",
        old="print 'two'\n",
    )
    (tmp_path / "null.py").write_bytes(b"a = 1\0")
    assert [call.path for call in calls.found] == ["app.py"]
    assert [(one.path, one.why[:12]) for one in calls.unread] == [("old.py", "not Python 3")]
    assert [one.path for one in find_calls(tmp_path).unread] == ["null.py", "old.py"]
    assert [path.name for path in python_files(tmp_path)] == ["app.py", "null.py", "old.py"]


def test_reading_runs_nothing_and_bad_code_ends_it_nowhere(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    deep = (
        "x = "
        + "(" * 80
        + "1"
        + ")" * 80
        + "\n"
        + "y = y.y\nclass A(A): ...\nA().b.c()\ndef f(): return f()\nf().x()\n"
    )
    calls = read(
        tmp_path, app=f"open({str(mark)!r}, 'w')\n{deep}", loop="from loop import *\nfrom . import loop\nloop.a()\n"
    )
    assert not mark.exists()
    assert calls.found == ()
    assert calls.files == 2


@pytest.mark.parametrize(
    ("example", "line", "what"),
    [
        ("fraud", 40, "sklearn.ensemble.HistGradientBoostingClassifier().fit().predict_proba"),
        ("inventory", 28, "scipy.optimize.linprog"),
        ("reports", 23, "anthropic.Anthropic().messages.create"),
    ],
)
def test_the_prototypes_call_without_a_guard_what_the_productions_guard(example: str, line: int, what: str) -> None:
    folder = Path(__file__).parents[2] / "examples" / example
    for name, guard in (("prototype.py", ""), ("production.py", "Pipeline.step")):
        calls = find_calls(folder, own_files(folder / name), entry=folder / name)
        assert [(one.path, one.line, one.what, one.guarded_by) for one in calls.found] == [
            ("prototype.py", line, what, guard)
        ]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("import httpx\nURL = 'https://api.openai.com/v1/chat/completions'\ndef f(): httpx.post(URL)", "model"),
        ("import httpx\nc = httpx.Client(base_url='http://localhost:11434')\ndef f(): c.post('/api/chat')", "model"),
        ("import requests, os\ndef f(t):\n  requests.post(os.environ['LLM'], json=[{'role': 'user', 'content': t}])",
         "model"),
        ("import requests\nclass A:\n  url = 'https://api.anthropic.com/v1'\n  def f(self): requests.post(self.url)",
         "model"),
        ("import httpx\nURL = 'https://api.openai.com/v1/models'\ndef f(): httpx.post('https://example.org')", "http"),
        ("import httpx\ndef f(text): httpx.post('https://example.org/content', json={'content': text})", "http"),
    ],
)  # fmt: skip
def test_a_request_to_a_models_api_is_one_of_a_model(tmp_path: Path, code: str, kind: str) -> None:
    assert [call.kind for call in read(tmp_path, app=code).found] == [kind]


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        find_calls(tmp_path / "nowhere")
