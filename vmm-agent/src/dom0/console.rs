//! Guests' consoles, as they come out of xenconsoled.

use futures_util::future::BoxFuture;
use xen_bindings::DomId;

use super::Dom0Error;

/// One guest's console.
pub trait ConsoleSource: Send {
    /// Waits for output. An empty answer means that nothing will come any more.
    fn read(&mut self) -> BoxFuture<'_, Vec<u8>>;

    /// What there is now, without waiting: a guest's last words.
    fn rest(&mut self) -> Vec<u8>;
}

/// Where consoles come from.
pub trait Consoles {
    /// Opens the terminal that xenconsoled named in xenstore. Called inside the runtime; must not block for long.
    ///
    /// # Errors
    /// `NotFound`, `Other`.
    fn open_console(&self, domid: DomId, tty: &str) -> Result<Box<dyn ConsoleSource>, Dom0Error>;
}
