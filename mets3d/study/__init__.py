"""Runs a sweep file as a study: its combinations, their runs on this machine, the comparison, and the ledger.

sweep_file, parameters, combinations   a W&B sweep file -> the values of each run
command, plan, buildable               values -> the words of `train.py`, names, and all faults before anything runs
runner, work, machine                  runs in processes of their own, with GPUs and threads shared out
search, early                          bayes and hyperband, through Optuna
folder, records                        what the study's folder holds, and how far each run is
ledger, on_test                        the use of test cases, which is allowed once
"""
