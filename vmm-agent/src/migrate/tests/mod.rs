//! Guests that move from one simulated host to another, page by page the same; and every way in which that can fail.

mod failures;
mod host;
mod hostile;
mod moves;
mod pv;
mod wire;

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vmm_core::migration::layered::Progress;
use vmm_core::migration::{Limits, Options};
use vmm_core::units::Kib;
use xen_bindings::sim::MemoryDifference;
use xen_bindings::{BuiltGuest, DomId, Gfn, GuestKind, RestoreSpec, Shell};

use super::arrival::Arrived;
use super::{Arrival, SendError, Sending, Sent};
use crate::env::Blocking;
use host::{Host, Owner};
use wire::{Kind, Outcome};

/// One move, and all that may be changed about it.
struct Move<'a> {
    from: &'a Host,
    domid: DomId,
    guest: GuestKind,
    to: &'a Host,
    blocking: Blocking,
    owner: Owner,
    kind: Kind,
    limits: Limits,
    options: Options,
    bandwidth: Option<u64>,
    used: Option<Kib>,
    /// None: only what tells of a change leads to another look.
    look_max: Duration,
    cancel: CancellationToken,
    /// At the poll of this number, the move is cancelled.
    cancel_at: Option<u32>,
    /// At the poll of this number, the sender's future is dropped.
    drop_at: Option<u32>,
}

/// How it went.
struct Ended {
    sent: Result<Sent, SendError>,
    arrived: Outcome,
    /// Ports of the shell.
    spec: RestoreSpec,
    /// How often the sender was polled.
    polls: u32,
    /// Where it stood last.
    progress: Option<Progress>,
    stream: Vec<u8>,
}

impl<'a> Move<'a> {
    fn new(from: &'a Host, domid: DomId, to: &'a Host) -> Self {
        Self {
            from,
            domid,
            guest: GuestKind::Pvh,
            to,
            blocking: Blocking::Inline,
            owner: Owner::of(from, domid),
            kind: Kind::default(),
            limits: Limits::default(),
            options: super::sender::options(),
            bandwidth: None,
            used: None,
            look_max: Duration::from_millis(30),
            cancel: CancellationToken::new(),
            cancel_at: None,
            drop_at: None,
        }
    }

    async fn run(self) -> Ended {
        let shell = self.to.shell(self.guest, host::MEMORY_KIB);
        let spec = self.to.ports(&shell);
        let begun = Arrival::begin(&self.to.backend, Blocking::Inline, shell, spec, Host::bounds());
        let arrival = begun.unwrap_or_else(|failed| panic!("{}", failed.error));
        let (mut link, receiving) = wire::wire(self.kind, arrival);
        link.record = Some(Vec::new());
        let sending = Sending {
            backend: self.from.backend.clone(),
            blocking: self.blocking,
            domid: self.domid,
            kind: self.guest,
            limits: self.limits,
            options: self.options.clone(),
            bandwidth: self.bandwidth,
            used: self.used,
            floor: Kib(8 * host::MIB),
            link_bytes_per_s: 117_000_000,
            look_max: self.look_max,
            seed: [5; 16],
        };
        let (tell, told) = watch::channel(None);
        let mut polls = 0;
        let sent = {
            let sent = super::send(sending, &mut link, self.owner.clone(), tell, &self.cancel);
            let sent = Polled {
                inner: pin!(sent),
                polls: &mut polls,
                cancel: (self.cancel_at, &self.cancel),
                drop_at: self.drop_at,
            };
            sent.await
        };
        let stream = link.record.take().unwrap_or_default();
        match sent.is_ok() {
            true => link.finish().await,
            false => drop(link),
        }
        let arrived = receiving.await.unwrap();
        let progress = *told.borrow();
        Ended { sent, arrived, spec, polls, progress, stream }
    }
}

/// Counts polls, and does something at one of them.
struct Polled<'a, F> {
    inner: Pin<&'a mut F>,
    polls: &'a mut u32,
    cancel: (Option<u32>, &'a CancellationToken),
    drop_at: Option<u32>,
}

impl<F: Future<Output = Result<Sent, SendError>>> Future for Polled<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        *self.polls += 1;
        if self.cancel.0 == Some(*self.polls) {
            self.cancel.1.cancel();
        }
        if self.drop_at == Some(*self.polls) {
            return Poll::Ready(Err(SendError::Cancelled));
        }
        self.inner.as_mut().poll(context)
    }
}

impl Ended {
    /// It went well.
    fn whole(self) -> (Sent, BuiltGuest, Shell, Arrived) {
        let sent = self.sent.unwrap_or_else(|error| panic!("not sent: {error}"));
        let (built, shell, arrived) =
            self.arrived.unwrap_or_else(|failed| panic!("not arrived: {}", failed.error));
        (sent, built, shell, arrived)
    }

    /// The shell, however it went.
    fn shell(&self) -> &Shell {
        match &self.arrived {
            Ok((_, shell, _)) => shell,
            Err(failed) => &failed.shell,
        }
    }
}

fn differences(from: (&Host, DomId), to: (&Host, DomId)) -> Vec<(Gfn, MemoryDifference)> {
    let image = |(host, domid): (&Host, DomId)| host.machine.guest_memory(domid).unwrap();
    image(from).differences(&image(to))
}

/// On a paused clock, on one thread: the same each time.
fn paused<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(work)
}
