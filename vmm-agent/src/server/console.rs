//! ReadConsole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vmm_proto::v1::{ConsoleText, Fault, ReadConsole, Reply};

use super::find;
use crate::core::Core;

/// The end of what the guest wrote. Works for a stopped VM too: what a guest said last is why it stopped.
pub(super) fn read(core: &Core, request: &ReadConsole) -> Result<Reply, Fault> {
    let bytes_max = usize::try_from(request.bytes_max).unwrap_or(usize::MAX);
    let (dropped_bytes, bytes) = find(core, &request.vm)?.console.tail(bytes_max);
    Ok(Reply::ConsoleText(ConsoleText { dropped_bytes, data: STANDARD.encode(bytes) }))
}
