"""Lines that hold a secret are taken out of a patch; nothing else is."""

from nightcrew.crew.hiding import HIDDEN, hide_lines

PATCH = """diff --git a/conf.py b/conf.py
index 1..2 100644
--- a/conf.py
+++ b/conf.py
@@ -1,3 +1,4 @@
 first
-old
+KEY = "secret"
+fourth
 last
@@ -20 +21,2 @@ def f():
 at 21
+at 22 secret
diff --git a/other.py b/other.py
--- a/other.py
+++ b/other.py
@@ -1 +1,2 @@
 one
+two
"""


def test_only_the_lines_that_are_named_are_hidden() -> None:
    shown = hide_lines(PATCH, {"conf.py": {2, 22}})
    assert "secret" not in shown.replace(HIDDEN, "")
    assert shown.count(HIDDEN) == 2
    assert shown.replace(f"+{HIDDEN}", "?") == PATCH.replace('+KEY = "secret"', "?").replace("+at 22 secret", "?")


def test_names_that_git_quotes_and_lines_that_look_like_headers() -> None:
    quoted = PATCH.replace("+++ b/conf.py", '+++ "b/schl\\303\\274ssel.py"')
    assert hide_lines(quoted, {"schlüssel.py": {2}}).count(HIDDEN) == 1
    forged = PATCH.replace(" first\n", " first\n+++ b/other.py\n")  # an added line, not a header
    assert HIDDEN not in hide_lines(forged, {"other.py": {3}})


def test_nothing_named_changes_nothing() -> None:
    assert hide_lines(PATCH, {}) == PATCH
    assert hide_lines(PATCH, {"none.py": {1}}) == PATCH
