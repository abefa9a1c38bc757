//! The client of a xenstore daemon.
