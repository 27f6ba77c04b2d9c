"""Events, their fold, the trace file and its replay."""
