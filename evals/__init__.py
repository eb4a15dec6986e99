"""Measuring answers: question sets, metrics with intervals, runs, comparisons, reports, and the fitting of weights.

Sits above `strongroom.app` and works through the `Engine` port like any front end; only the command line imports it.
"""
