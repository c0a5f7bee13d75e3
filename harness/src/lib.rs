//! Runs a Kafka cluster through a scenario: load, faults, and an exact check of every record.
