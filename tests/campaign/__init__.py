"""A campaign of kills, damaged files, hostile inputs and long episodes; ``make campaign`` runs it.

Every trial is a public command in a process of its own, judged by its exit status, its words, the
files it leaves and the processes it leaves. See docs/reliability.md.
"""
