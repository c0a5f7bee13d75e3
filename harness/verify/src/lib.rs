//! Record identity and the streaming checker: pure, no I/O.
