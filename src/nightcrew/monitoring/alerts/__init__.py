"""Alerts: rules over measures, who is told of what they find, and that it arrives.

``defaults`` has the rules that hold without configuration, ``reading`` (with ``absence`` and ``burn``) what a rule
finds now, ``evaluate`` what follows from it, ``messages`` and ``routing`` who is told, ``delivery`` that it arrives;
``watch`` does all of it every so often.
"""
