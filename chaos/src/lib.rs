//! Local clusters of real brokers, faults, undo journal and cluster watcher.
