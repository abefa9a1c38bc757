//! Xen's own checker of migration streams reads what we write: `verify-stream-v2` of Debian's xen-utils-4.17.
//!
//! It is fetched, not kept here: `cargo xtask test --install` does it. Its check of a device model's nodes fails under Python 3 whatever
//! they are, so a stream has none here.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use xen_bindings::stream::image::{
    DomainHeader, HvmParam, ImageWriter, P2mFrames, Page, PageBytes, Pages, PvVcpuPart, PvWidth,
    Record, TscInfo, ZERO_PAGE,
};
use xen_bindings::stream::{Output, StreamError, libxl, xl};
use xen_bindings::{CpuidLeaf, GuestKind, MsrEntry, PageTable, PageType, Pfn};

/// As xtask unpacks it beside the build's results.
const XEN: &str = "test-data/xen-utils-4.17/usr/lib/xen-4.17";

static TEXT: PageBytes = [b'x'; 4096];

/// Runs the checker; what it said when it refused. It reads from a file: what a pipe gives in parts it takes for cut off.
#[allow(clippy::disallowed_methods, reason = "a peer from outside, in a test only")]
fn check(format: &str, stream: &[u8]) -> Result<(), String> {
    let (xen, mut file) = (xen(), tempfile::NamedTempFile::new().unwrap());
    file.write_all(stream).unwrap();
    let output = Command::new("python3")
        .arg(xen.join("bin/verify-stream-v2"))
        .args(["--format", format, "--in"])
        .arg(file.path())
        .env("PYTHONPATH", xen.join("lib/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 can be run");
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn xen() -> PathBuf {
    let xen = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(XEN);
    assert!(
        xen.exists(),
        "{} is not there: let `cargo xtask test --install` fetch it",
        xen.display()
    );
    xen
}

fn batch(list: &[(u64, PageType)]) -> Record<'static> {
    let mut pages = Pages::new();
    for (pfn, kind) in list {
        let bytes = kind.has_contents().then_some(&TEXT);
        assert!(pages.push(Page::new(Pfn(*pfn), *kind, bytes).unwrap()));
    }
    Record::Pages(pages)
}

fn pvh() -> Vec<Record<'static>> {
    let mut whole = Pages::new();
    while whole.push(Page::normal(Pfn(whole.len() as u64), &ZERO_PAGE).unwrap()) {}
    vec![
        Record::CpuidPolicy(vec![CpuidLeaf { leaf: 1, subleaf: !0, ..CpuidLeaf::default() }; 51]),
        Record::MsrPolicy(vec![MsrEntry { index: 0xce, value: 1 << 31 }; 2]),
        Record::StaticDataEnd,
        Record::Pages(whole),
        batch(&[(0, PageType::Normal), (1 << 20, PageType::AllocOnly), (2, PageType::Absent)]),
        Record::Verify,
        batch(&[(0, PageType::Normal)]),
        Record::Tsc(TscInfo { mode: 0, khz: 2_400_000, nsec: 1 << 40, incarnation: 2 }),
        Record::HvmContext(b"odd length"),
        Record::HvmParams(vec![HvmParam { index: HvmParam::STORE_PFN, value: 0xfeffc }; 3]),
        Record::End,
    ]
}

fn pv() -> Vec<Record<'static>> {
    let table = |level| PageType::Table(PageTable::new(level, level == 4).unwrap());
    let state = |part| Record::PvVcpu { part, vcpu: 1, state: b"registers" };
    vec![
        Record::PvInfo(PvWidth::Bits64),
        Record::CpuidPolicy(vec![CpuidLeaf::default()]),
        Record::MsrPolicy(vec![MsrEntry::default()]),
        Record::StaticDataEnd,
        Record::P2mFrames(P2mFrames { start: 0, end: 1023, frames: vec![7, 8] }),
        batch(&[(1, table(1)), (2, table(2)), (3, table(3)), (4, table(4)), (5, PageType::Normal)]),
        Record::Tsc(TscInfo::default()),
        Record::SharedInfo(&ZERO_PAGE),
        state(PvVcpuPart::Basic),
        state(PvVcpuPart::Extended),
        state(PvVcpuPart::Xsave),
        state(PvVcpuPart::Msrs),
        Record::End,
    ]
}

fn fill(
    mut writer: ImageWriter<Vec<u8>>,
    records: &[Record<'_>],
) -> Result<Output<Vec<u8>>, StreamError> {
    records.iter().try_for_each(|record| writer.write(record))?;
    writer.into_output()
}

fn image(kind: GuestKind) -> Result<Vec<u8>, StreamError> {
    let writer = ImageWriter::begin(Output::new(Vec::new()), header(kind))?;
    Ok(fill(writer, &records(kind))?.into_inner())
}

fn records(kind: GuestKind) -> Vec<Record<'static>> {
    if kind == GuestKind::Pv { pv() } else { pvh() }
}

fn header(kind: GuestKind) -> DomainHeader {
    DomainHeader { kind, xen_major: 4, xen_minor: 17 }
}

/// libxl's stream, behind what is there already.
fn around(output: Output<Vec<u8>>, kind: GuestKind) -> Result<Vec<u8>, StreamError> {
    let output = fill(libxl::Writer::begin(output)?.into_image(header(kind))?, &records(kind))?;
    Ok(libxl::Writer::resume(output).end()?.into_inner())
}

#[test]
fn xens_own_checker_takes_every_layer_of_ours() {
    for kind in [GuestKind::Pvh, GuestKind::Pv] {
        check("libxc", &image(kind).unwrap()).unwrap();
        check("libxl", &around(Output::new(Vec::new()), kind).unwrap()).unwrap();
        let mut output = Output::new(Vec::new());
        xl::Header { config: Some("{\"c_info\": {}}".into()) }.write(&mut output).unwrap();
        check("xl", &around(output, kind).unwrap()).unwrap();
    }
}

#[test]
fn the_checker_would_have_seen_a_mistake() {
    let whole = image(GuestKind::Pvh).unwrap();
    let context = whole.windows(10).position(|window| window == b"odd length").unwrap();
    for (at, says) in [
        (0, "Bad image marker"),
        (28, "Page shift expected"),
        (40, "Unrecognised record type"),
        (context + 10, "Padding containing non0 bytes"),
    ] {
        let mut changed = whole.clone();
        changed[at] ^= 0x60;
        let said = check("libxc", &changed).unwrap_err();
        assert!(said.contains(says), "byte {at}: {said}");
    }
    assert!(check("libxc", &whole[..whole.len() - 1]).unwrap_err().contains("truncated"));
}
