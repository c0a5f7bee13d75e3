//! Kafka protocol client for load.
