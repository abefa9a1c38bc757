//! A model of a Xen machine.
