"""What a change must not break: what is asked of the model, what is published, and a run from end to end."""

from pathlib import Path

import production
from production import Incident, publish, reports, summary

INCIDENT = Incident(id="incident-1", service="billing", log="02:10 disk at 91 %")


def test_the_model_is_asked_about_the_log(monkeypatch):
    monkeypatch.setattr(production, "draft", lambda log: f"about {log}")
    assert summary(INCIDENT) == "about 02:10 disk at 91 %"


def test_what_is_published_is_what_was_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    publish(INCIDENT, "the text")
    assert (tmp_path / "published" / "incident-1.txt").read_text() == "the text"


def test_every_report_waits_for_a_person(tmp_path, monkeypatch):
    monkeypatch.setattr(production, "draft", lambda log: f"about {log[:9]}")
    reports.use(state=tmp_path)
    assert reports.run(Path(__file__).with_name("sample.jsonl")).states == {"in_review": 40}
