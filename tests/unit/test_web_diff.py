"""A patch as a page shows it: every line there, numbered as git says, whatever bytes an agent wrote."""

from hypothesis import given
from hypothesis import strategies as st

from nightcrew.web.code import coloured, excerpt
from nightcrew.web.diff import FOLDED_FROM, MAX_DIFF, parse

PATCH = """diff --git a/thing.py b/thing.py
index 1111111..2222222 100644
--- a/thing.py
+++ b/thing.py
@@ -3,4 +3,5 @@ def double(number):
 text = '''
-old
+new
+more <b>
 '''
\\ No newline at end of file
diff --git a/old name.txt b/new name.txt
similarity index 100%
rename from old name.txt
rename to new name.txt
diff --git "a/caf\\303\\251\\n.txt" "b/caf\\303\\251\\n.txt"
new file mode 100755
--- /dev/null
+++ "b/caf\\303\\251\\n.txt"
@@ -0,0 +1 @@
+@@ -1 +1 @@ not a hunk
diff --git a/logo.png b/logo.png
index 1111111..2222222 100644
Binary files a/logo.png and b/logo.png differ
"""


def test_files_hunks_and_numbers_are_those_of_git() -> None:
    thing, renamed, new, binary = parse(PATCH).files
    assert (thing.path, thing.added, thing.removed) == ("thing.py", 2, 1)
    assert [(line.kind, line.old, line.new) for line in thing.hunks[0].lines] == [
        ("same", 3, 3),
        ("del", 4, None),
        ("add", None, 4),
        ("add", None, 5),
        ("same", 5, 6),
        ("note", None, None),
    ]
    assert "&lt;b&gt;" in thing.hunks[0].lines[3].code
    assert thing.hunks[0].heading == "def double(number):"
    assert (renamed.path, renamed.status, renamed.notes) == ("new name.txt", "renamed", ["rename from old name.txt"])
    assert (new.path, new.status, new.notes) == ("café\n.txt", "new", ["new file mode 100755"])
    assert new.hunks[0].lines[0].code == "@@ -1 +1 @@ not a hunk"
    assert binary.path == "logo.png"
    assert binary.notes == ["Binary files a/logo.png and b/logo.png differ"]


def test_a_string_over_several_lines_is_coloured_on_both_sides() -> None:
    lines = parse(PATCH).files[0].hunks[0].lines
    assert all('class="s1"' in line.code for line in lines[1:4])


def test_a_large_file_is_folded_and_a_larger_patch_is_cut_where_it_says_so() -> None:
    head = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1,500 @@\n"
    assert parse(head + "+x\n" * (FOLDED_FROM + 1)).files[0].folded
    assert not parse(head + "+x\n" * FOLDED_FROM).files[0].folded
    cut = parse(head + "+x\n" * MAX_DIFF)
    assert cut.files[0].added < MAX_DIFF // 3
    assert "more characters" in cut.left_out
    assert "left out" in parse(head + "+x\n[... 10 more characters of this patch left out ...]\n").left_out


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=40), max_size=12))
def test_no_line_is_lost_whatever_it_holds(texts: list[str]) -> None:
    patch = "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -0,0 +1 @@\n" + "".join(
        f"+{text}\n" for text in texts
    )
    (file,) = parse(patch).files
    assert [line.new for hunk in file.hunks for line in hunk.lines] == list(range(1, len(texts) + 1))
    for line in (line.code for hunk in file.hunks for line in hunk.lines):
        assert "\u202e" not in line
        assert "<script" not in line


@given(st.text(max_size=300))
def test_what_is_no_patch_is_not_an_error(text: str) -> None:
    parse(text)
    parse("diff --git " + text)


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=30), max_size=8), st.sampled_from(["a.py", "b.html", "c.js", "d.xyz", "Makefile"]))  # fmt: skip  # noqa: E501
def test_each_line_of_code_is_one_line_of_html(lines: list[str], path: str) -> None:
    made = coloured(lines, path)
    assert len(made) == len(lines)
    assert all("\n" not in line for line in made)


def test_an_excerpt_marks_what_is_spoken_of_and_ends_with_the_file() -> None:
    found = excerpt("a\nb\nc\nd", "x.py", 3, 3, around=1)
    assert [(line.number, line.marked) for line in found] == [(2, False), (3, True), (4, False)]
    assert excerpt("a", "x.py", 9, 9) == []
