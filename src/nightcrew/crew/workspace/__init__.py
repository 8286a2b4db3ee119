"""Workspaces: private clones for agents, and git as data on the way back. Nothing a repository configures is executed.

``repository`` reads the user's repository, ``clone`` makes a workspace, ``inside`` runs git in its sandbox,
``salvage`` keeps unfinished work, ``bundle`` brings commits over, ``diff`` reads changes, ``merge`` integrates,
``discard`` cleans up.
"""

from nightcrew.crew.workspace.bundle import export_bundle, fetch_bundle
from nightcrew.crew.workspace.clone import Workspace, clone_workspace, open_workspace
from nightcrew.crew.workspace.diff import FileChange, changed_paths, diff, diff_text, files, read_file
from nightcrew.crew.workspace.discard import Pruned, discard, prune_workspaces
from nightcrew.crew.workspace.git import Git
from nightcrew.crew.workspace.inside import Runner, sandboxed, workspace_head
from nightcrew.crew.workspace.merge import MergeResult, MergeStatus, merge
from nightcrew.crew.workspace.repository import RepositoryState, inspect, resolve, root_of, workable
from nightcrew.crew.workspace.salvage import salvage

__all__ = [
    "FileChange",
    "Git",
    "MergeResult",
    "MergeStatus",
    "Pruned",
    "RepositoryState",
    "Runner",
    "Workspace",
    "changed_paths",
    "clone_workspace",
    "diff",
    "diff_text",
    "discard",
    "export_bundle",
    "fetch_bundle",
    "files",
    "inspect",
    "merge",
    "open_workspace",
    "prune_workspaces",
    "read_file",
    "resolve",
    "root_of",
    "salvage",
    "sandboxed",
    "workable",
    "workspace_head",
]
