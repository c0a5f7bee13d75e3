//! Metrics, expectations, verdicts, run records and their rendering: pure.
