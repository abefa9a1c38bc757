//! The guest that is sent, through Xen: each call is one blocking step.

use vmm_core::migration::{Batch, Bitmap, Outcome, Pfn};
use xen_bindings::guest_memory::populated;
use xen_bindings::stream::Output;
use xen_bindings::stream::image::{DomainHeader, ImageWriter, Record};
use xen_bindings::{
    DirtyLog, DomId, Gfn, GfnBatch, GfnSet, GuestKind, Leftover, PageCount, Xen, XenError,
};

use super::SendError;
use super::encode::Encoder;
use crate::env::{Backend, Blocking};

/// The guest.
pub(super) struct Source {
    xen: Xen,
    blocking: Blocking,
    domid: DomId,
    /// Taken by a step while it runs.
    log: Option<DirtyLog>,
}

/// Which frames there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    pub(super) set: GfnSet,
    /// The policy's form of all the others below its end.
    pub(super) absent: Bitmap,
    /// What Xen said that the domain holds, before and after they were looked for. The same, or it was changing.
    pub(super) counts: (PageCount, PageCount),
}

/// How a log is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Clean,
    Peek,
    Final,
}

impl Source {
    pub(super) fn new(host: &Backend, blocking: Blocking, domid: DomId) -> Self {
        Self { xen: host.xen.clone(), blocking, domid, log: None }
    }

    /// Holds nothing of this while it works: a log may not be shared between threads.
    fn step<T: Send + 'static, W: FnOnce(&Xen, DomId) -> T + Send + 'static>(
        &self,
        work: W,
    ) -> impl Future<Output = T> + Send + use<T, W> {
        let (xen, domid) = (self.xen.clone(), self.domid);
        self.blocking.run(move || work(&xen, domid))
    }

    pub(super) async fn pages(&mut self) -> Result<PageCount, SendError> {
        self.step(pages).await
    }

    /// All its frames are below.
    pub(super) async fn end(&mut self) -> Result<Gfn, SendError> {
        Ok(self.step(|xen, domid| xen.guest_memory.gfn_end(domid)).await?)
    }

    /// Which frames there are now, and which not of so many. Those that are `known` are looked at first: where nothing has changed, they are all.
    pub(super) async fn frames(
        &mut self,
        numbers: u32,
        known: GfnSet,
    ) -> Result<Frames, SendError> {
        self.step(move |xen, domid| {
            let before = pages(xen, domid)?;
            let set = populated(xen.guest_memory.as_ref(), domid, before, &known)?;
            let mut absent = Bitmap::full(numbers);
            absent.subtract(&bitmap(&set, numbers));
            Ok(Frames { set, absent, counts: (before, pages(xen, domid)?) })
        })
        .await
    }

    /// Whether any of these frames has contents.
    pub(super) async fn is_any_there(&mut self, gfns: Vec<Gfn>) -> Result<bool, SendError> {
        self.step(move |xen, domid| {
            for batch in GfnBatch::all(gfns) {
                let types = xen.guest_memory.page_types(domid, &batch)?;
                if types.iter().any(|kind| kind.has_contents()) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }

    /// Writes to the guest's memory are noted from now on. What an agent that died has left on is taken over: the domain is ours.
    pub(super) async fn log(&mut self) -> Result<(), SendError> {
        let begin = |xen: &Xen, domid| xen.guest_memory.log_dirty(domid, Leftover::Replace);
        self.log = Some(self.step(begin).await?);
        Ok(())
    }

    /// Which frames were written to, of so many.
    pub(super) async fn look(&mut self, how: Look, pages: u32) -> Result<Bitmap, SendError> {
        self.with_log(move |log| {
            let mut frames = GfnSet::default();
            match how {
                Look::Clean => log.clean(&mut frames)?,
                Look::Peek => log.peek(&mut frames)?,
                Look::Final => log.clean_final(&mut frames)?,
            };
            Ok(bitmap(&frames, pages))
        })
        .await
    }

    /// How many frames were written to.
    pub(super) async fn count(&mut self) -> Result<u32, SendError> {
        Ok(self.with_log(|log| log.counts()).await?.dirty)
    }

    async fn with_log<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut DirtyLog) -> Result<T, XenError> + Send + 'static,
    ) -> Result<T, SendError> {
        let mut log = self.log.take().expect("it is read while it is on only");
        let (outcome, log) = self.step(move |_, _| (work(&mut log), log)).await;
        self.log = Some(log);
        Ok(outcome?)
    }

    /// Nobody logs any more.
    pub(super) async fn log_off(&mut self) {
        let Some(log) = self.log.take() else { return };
        // What it cannot do it tells by itself: a domain that is gone logs nothing.
        self.step(move |_, _| drop(log)).await;
    }

    /// A batch as a frame, appended to `out`.
    pub(super) async fn encode(
        &mut self,
        encoder: &mut Option<Box<Encoder>>,
        batch: Batch,
    ) -> Result<Encoded, SendError> {
        let mut tool = encoder.take().expect("one batch at a time is encoded");
        let step = move |xen: &Xen, domid| {
            let mut frame = Vec::new();
            let outcomes = tool.batch(xen.guest_memory.as_ref(), domid, &batch, &mut frame);
            (outcomes.map(|outcomes| Encoded { batch, outcomes, frame }), tool)
        };
        let (encoded, tool) = self.step(step).await;
        *encoder = Some(tool);
        Ok(encoded?)
    }

    /// What the pages of a batch would take.
    pub(super) async fn weigh(
        &mut self,
        encoder: &mut Option<Box<Encoder>>,
        batch: Batch,
    ) -> Result<Vec<Outcome>, SendError> {
        let mut tool = encoder.take().expect("one batch at a time is encoded");
        let step =
            move |xen: &Xen, domid| (tool.weigh(xen.guest_memory.as_ref(), domid, &batch), tool);
        let (outcomes, tool) = self.step(step).await;
        *encoder = Some(tool);
        Ok(outcomes?)
    }

    /// Headers and static data of its image.
    pub(super) async fn prologue(&mut self) -> Result<Vec<u8>, SendError> {
        self.step(|xen, domid| {
            let mut image = Vec::new();
            begin_image(xen, domid, &mut image)?;
            Ok(image)
        })
        .await
    }

    /// The machine's state and the end of its image, which began with `before`. Once it is suspended.
    pub(super) async fn epilogue(&mut self, before: Vec<u8>) -> Result<Vec<u8>, SendError> {
        self.step(move |xen, domid| {
            let mut image = Vec::new();
            let mut writer = begin_image(xen, domid, &mut image)?;
            writer.write(&Record::Tsc(xen.guest_state.tsc(domid)?))?;
            writer.write(&Record::HvmContext(&xen.guest_state.hvm_context(domid)?))?;
            writer.write(&Record::HvmParams(xen.guest_state.hvm_params(domid)?))?;
            writer.write(&Record::End)?;
            let epilogue = image.strip_prefix(&before[..]).map(<[u8]>::to_vec);
            epilogue.ok_or(SendError::OtherProcessor)
        })
        .await
    }
}

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) batch: Batch,
    pub(super) outcomes: Vec<Outcome>,
    /// Empty when none of its pages is there.
    pub(super) frame: Vec<u8>,
}

fn pages(xen: &Xen, domid: DomId) -> Result<PageCount, SendError> {
    Ok(xen.control.info(domid)?.ok_or(SendError::NoDomain)?.pages)
}

/// An image up to where its pages begin.
fn begin_image<'a>(
    xen: &Xen,
    domid: DomId,
    image: &'a mut Vec<u8>,
) -> Result<ImageWriter<&'a mut Vec<u8>>, SendError> {
    let version = xen.host.version()?;
    let header =
        DomainHeader { kind: GuestKind::Pvh, xen_major: version.major, xen_minor: version.minor };
    let mut writer = ImageWriter::begin(Output::new(image), header)?;
    let policy = xen.guest_state.cpu_policy(domid)?;
    writer.write(&Record::CpuidPolicy(policy.leaves))?;
    writer.write(&Record::MsrPolicy(policy.msrs))?;
    writer.write(&Record::StaticDataEnd)?;
    Ok(writer)
}

/// The policy's form of a set. What lies above is looked for when the guest is suspended.
fn bitmap(frames: &GfnSet, pages: u32) -> Bitmap {
    let mut set = Bitmap::empty(pages);
    for page in frames.iter().map_while(|gfn| u32::try_from(gfn.0).ok()) {
        set.insert(Pfn(page));
    }
    set
}
