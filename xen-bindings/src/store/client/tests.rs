//! The client against a daemon that a test plays itself.
