//! A VM's devices: what describes them in xenstore ([`vbd`]), and the console's text ([`console`]).

pub(crate) mod console;
pub(crate) mod vbd;
