//! Files as they are written, read, cut, changed and interrupted; the pipe's other end is a thread here, or an image that
//! misbehaves.

mod image;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::OnceLock;

use proptest::prelude::*;
use vmm_core::units::Kib;
use vmm_core::vm::{Demand, GuestKind, OnEvent, Scheduling, VmName};
use xen_bindings::sim::{SimConfig, SimMachine};
use xen_bindings::{DomainConfig, DomainHandle, Gfn, Port};

use self::image::Image;
use super::format::RECORD_BYTES;
use super::writer::SaveWriter;
use super::*;

const VM: [u8; 16] = [3; 16];

fn vm() -> VmId {
    VmId::from_bytes(VM)
}

pub(super) fn spec() -> VmSpec {
    VmSpec {
        name: VmName::new("a").unwrap(),
        kind: GuestKind::Pvh,
        vcpus: 1,
        vcpus_max: 2,
        memory_min: Kib::from_mib(64),
        memory: Kib::from_mib(64),
        memory_max: Kib::from_mib(64),
        kernel: "/k".into(),
        initramfs: None,
        cmdline: String::new(),
        disks: Vec::new(),
        nics: Vec::new(),
        scheduling: Scheduling::default(),
        on_event: OnEvent::default(),
        autostart: None,
        demand: Demand::default(),
    }
}

fn header() -> Header {
    Header {
        vm: vm(),
        spec: spec(),
        memory_kib: 65536,
        vcpus_online: 1,
        xen: (4, 17, ".7".into()),
        saved_at_s: 1_700_000_000,
    }
}

struct Bench {
    dir: tempfile::TempDir,
    files: SavedFiles,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = SavedFiles::new(dir.path());
        Self { dir, files }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("vm.saved")
    }

    fn names(&self) -> Vec<String> {
        let files = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != KEY_FILE);
        names.sort();
        names
    }

    fn write(&self, stream: &[u8]) -> PathBuf {
        let path = self.path();
        let mut writer = SaveWriter::create(&path, &self.files.key().unwrap(), &header()).unwrap();
        let (from, mut to) = pipe::pair().unwrap();
        let control = Control::default();
        std::thread::scope(|scope| {
            scope.spawn(move || to.write_all(stream).unwrap());
            writer.pump(from, &control).unwrap();
        });
        assert_eq!(control.bytes(), stream.len() as u64);
        writer.finish().unwrap();
        path
    }

    /// What is handed on, and how it ends.
    fn read(&self, path: &Path) -> (Vec<u8>, Result<(), SavedError>) {
        let mut file = match self.files.open(path, vm()) {
            Ok(file) => file,
            Err(error) => return (Vec::new(), Err(error)),
        };
        let (mut from, to) = pipe::pair().unwrap();
        let mut handed_on = Vec::new();
        let outcome = std::thread::scope(|scope| {
            let pump = scope.spawn(|| file.pump(to, &Control::default()));
            from.read_to_end(&mut handed_on).unwrap();
            join(pump)
        });
        (handed_on, outcome.map(|_| ()))
    }
}

/// Nothing in it comes twice, so that nothing is packed.
fn stream(bytes: usize) -> Vec<u8> {
    let word = |at: u64| {
        let mixed = (at ^ 0x9e37_79b9).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb).to_le_bytes()
    };
    (0..).flat_map(word).take(bytes).collect()
}

#[test]
fn what_was_saved_comes_back_and_stands_nowhere_in_the_clear() {
    for bytes in [0, 1, RECORD_BYTES - 1, RECORD_BYTES, RECORD_BYTES + 1, 3 * RECORD_BYTES + 77] {
        let bench = Bench::new();
        let stream = stream(bytes);
        let path = bench.write(&stream);
        let (read, outcome) = bench.read(&path);
        outcome.unwrap();
        assert!(read == stream, "{bytes}");
        assert_eq!(bench.files.open(&path, vm()).unwrap().header(), Some(&header()));
        assert_eq!(bench.names(), ["vm.saved"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let key = fs::metadata(bench.dir.path().join(KEY_FILE)).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
        let raw = fs::read(&path).unwrap();
        if let Some(piece) = stream.get(..64) {
            assert!(!raw.windows(64).any(|window| window == piece));
        }
    }
}

#[test]
fn what_can_be_packed_is_and_comes_back_as_it_was() {
    let zeros = vec![0; 2 * RECORD_BYTES + 999];
    let mixed = [stream(RECORD_BYTES), zeros.clone(), stream(77)].concat();
    for (stream, most) in [(zeros, 20_000), (mixed, RECORD_BYTES + 30_000)] {
        let bench = Bench::new();
        let path = bench.write(&stream);
        let (read, outcome) = bench.read(&path);
        outcome.unwrap();
        assert!(read == stream);
        assert!(fs::metadata(&path).unwrap().len() < most as u64, "of {} bytes", stream.len());
    }
}

#[test]
fn a_file_of_something_else_is_refused_by_what_is_wrong_with_it() {
    let bench = Bench::new();
    let path = bench.write(&stream(1000));
    let changed = |name: &str, at: usize, value: u8| {
        let mut raw = fs::read(&path).unwrap();
        raw[at] = value;
        let path = bench.dir.path().join(name);
        fs::write(&path, raw).unwrap();
        bench.files.open(&path, vm()).err().unwrap()
    };
    assert!(matches!(changed("magic", 0, b'X'), SavedError::NotSaved(_)));
    assert!(matches!(changed("version", 8, 3), SavedError::Version { version: 3, .. }));
    assert!(matches!(changed("salt", 12, 0xff), SavedError::Damaged { .. }));
    assert!(matches!(changed("host", 44, 0xff), SavedError::OtherHost(_)));
    assert!(matches!(changed("length", 63, 0xff), SavedError::Damaged { .. }));
    assert!(matches!(changed("header", 70, b'#'), SavedError::Damaged { .. }));

    let other = VmId::from_bytes([4; 16]);
    let refused = bench.files.open(&path, other).err().unwrap();
    assert!(
        matches!(refused, SavedError::OtherVm { holds, asked, .. } if (holds, asked) == (vm(), other))
    );
    let elsewhere = Bench::new();
    assert!(matches!(elsewhere.files.open(&path, vm()), Err(SavedError::OtherHost(_))));

    fs::write(bench.dir.path().join("short"), "SMPS").unwrap();
    for (name, expected) in [("short", "cut off"), ("missing", "missing"), ("", "not a saved VM")] {
        let refused = bench.files.open(&bench.dir.path().join(name), vm()).err().unwrap();
        assert!(refused.to_string().contains(expected), "{name}: {refused}");
    }
    fs::write(bench.dir.path().join(KEY_FILE), "short").unwrap();
    assert!(matches!(bench.files.open(&path, vm()), Err(SavedError::Key(_))));
}

#[test]
fn records_that_were_moved_left_out_or_repeated_are_refused() {
    let bench = Bench::new();
    let path = bench.write(&stream(3 * RECORD_BYTES + 5));
    let raw = fs::read(&path).unwrap();
    let record = 4 + RECORD_BYTES + 16;
    let head = raw.len() - 3 * record - (4 + 5 + 16);
    let piece = |index: usize| &raw[head + index * record..head + (index + 1) * record];
    let last = &raw[head + 3 * record..];
    for (name, pieces) in [
        ("swapped", vec![piece(1), piece(0), piece(2), last]),
        ("repeated", vec![piece(0), piece(0), piece(1), piece(2), last]),
        ("left out", vec![piece(0), piece(2), last]),
        ("ended early", vec![piece(0), last]),
        ("no end", vec![piece(0), piece(1), piece(2)]),
        ("more behind", vec![piece(0), piece(1), piece(2), last, b"x"]),
    ] {
        fs::write(&path, [&raw[..head], &pieces.concat()].concat()).unwrap();
        let (handed_on, outcome) = bench.read(&path);
        let error = outcome.expect_err(name);
        let fits = match name {
            "no end" => matches!(error, SavedError::Truncated { .. }),
            "more behind" => matches!(error, SavedError::Trailing(_)),
            _ => matches!(error, SavedError::Damaged { .. }),
        };
        assert!(fits, "{name}: {error}");
        assert!(stream(3 * RECORD_BYTES + 5).starts_with(&handed_on), "{name}");
    }
}

/// Files to damage, written once: a short one, one record, a little more than one.
fn samples() -> &'static [(Bench, Vec<u8>)] {
    static SAMPLES: OnceLock<Vec<(Bench, Vec<u8>)>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        [100, RECORD_BYTES, RECORD_BYTES + 5000]
            .map(|bytes| {
                let bench = Bench::new();
                let path = bench.write(&stream(bytes));
                (bench, fs::read(path).unwrap())
            })
            .into()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_change_anywhere_goes_unseen_and_no_byte_is_handed_on_unverified(
        sample in 0..3_usize, at: usize, near_the_start: bool, bit in 0..8_u32, cut: bool,
    ) {
        let (bench, raw) = &samples()[sample];
        let at = at % if near_the_start { 500 } else { raw.len() };
        let mut raw = raw.clone();
        if cut {
            raw.truncate(at);
        } else {
            raw[at] ^= 1 << bit;
        }
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        fs::write(&path, raw).unwrap();
        let (handed_on, outcome) = bench.read(&path);
        let error = outcome.err();
        let refused = match error {
            Some(SavedError::Truncated { .. }) => true,
            Some(SavedError::Damaged { .. } | SavedError::OtherHost(_)) => !cut,
            Some(SavedError::NotSaved(_) | SavedError::Version { .. }) => !cut,
            _ => false,
        };
        prop_assert!(refused, "{:?}", error);
        prop_assert!(handed_on.is_empty() || handed_on == stream(RECORD_BYTES));
    }
}

#[test]
fn nothing_is_overwritten_and_paths_are_plain() {
    let bench = Bench::new();
    let key = bench.files.key().unwrap();
    let path = bench.path();
    fs::write(&path, "precious").unwrap();
    let taken = SaveWriter::create(&path, &key, &header()).err();
    assert!(matches!(taken, Some(SavedError::Exists(_))));
    // A file that came while another was written.
    let late = bench.dir.path().join("late");
    let writer = SaveWriter::create(&late, &key, &header()).unwrap();
    fs::write(&late, "precious").unwrap();
    assert!(matches!(writer.finish(), Err(SavedError::Exists(_))));
    assert_eq!(bench.names(), ["late", "vm.saved"]);
    for path in [path, late] {
        bench.files.remove(&path, vm()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"precious", "not a saved VM: it stays");
    }
    for path in ["relative", "/a/../b", "/", "/a/.."] {
        let refused = bench.files.check_free(Path::new(path));
        assert!(matches!(refused, Err(SavedError::Path(_))), "{path}");
        assert!(matches!(bench.files.open(Path::new(path), vm()), Err(SavedError::Path(_))));
    }
}

#[test]
fn an_interrupted_save_leaves_nothing_that_is_in_the_way() {
    let bench = Bench::new();
    let key = bench.files.key().unwrap();
    let path = bench.path();
    let writer = SaveWriter::create(&path, &key, &header()).unwrap();
    let second = SaveWriter::create(&path, &key, &header()).err();
    assert!(matches!(second, Some(SavedError::Busy(_))));
    assert!(matches!(bench.files.remove(&path, vm()), Err(SavedError::Busy(_))));
    drop(writer);
    assert!(bench.names().is_empty());
    // As after a death: there is a leftover, and nobody holds it.
    for found_by_the_next_save in [false, true] {
        fs::write(bench.dir.path().join(".vm.saved.saving"), "half").unwrap();
        if found_by_the_next_save {
            assert!(bench.read(&bench.write(&stream(10))).1.is_ok());
        }
        bench.files.remove(&path, vm()).unwrap();
        assert!(bench.names().is_empty());
    }
}

#[test]
fn what_somebody_else_put_in_the_way_of_a_save_is_neither_written_nor_removed() {
    let bench = Bench::new();
    let (key, path) = (bench.files.key().unwrap(), bench.path());
    let (target, beside) =
        (bench.dir.path().join("target"), path.with_file_name(".vm.saved.saving"));
    fs::write(&target, "precious").unwrap();
    let check = |what: &str| {
        let refused = SaveWriter::create(&path, &key, &header()).err();
        assert!(matches!(refused, Some(SavedError::Exists(_))), "{what}: {refused:?}");
        bench.files.remove(&path, vm()).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"precious", "{what}");
        fs::remove_file(&beside).unwrap();
    };
    std::os::unix::fs::symlink(&target, &beside).unwrap();
    check("a link");
    fs::hard_link(&target, &beside).unwrap();
    check("a second name");
    rustix::fs::mkfifoat(rustix::fs::CWD, &beside, rustix::fs::Mode::RUSR).unwrap();
    check("a pipe");
    fs::write(&beside, "theirs").unwrap();
    // Only root can give a file away.
    if std::os::unix::fs::chown(&beside, Some(1), None).is_ok() {
        check("another user's file");
    }
}

#[test]
fn a_file_goes_for_good_and_one_that_cannot_be_looked_at_is_not_told_as_gone() {
    let bench = Bench::new();
    let path = bench.write(&stream(10));
    let other = VmId::from_bytes([4; 16]);
    bench.files.remove(&path, other).unwrap();
    assert_eq!(bench.names(), ["vm.saved"], "it is another VM's");
    let key = bench.dir.path().join(KEY_FILE);
    let whole = fs::read(&key).unwrap();
    fs::write(&key, b"short").unwrap();
    assert!(matches!(bench.files.remove(&path, vm()), Err(SavedError::Key(_))));
    fs::write(&key, whole).unwrap();
    for _ in 0..2 {
        bench.files.remove(&path, vm()).unwrap();
        assert!(bench.names().is_empty());
    }
}

/// A simulated host with a shell and an image.
fn host(image: Image) -> (Backend, Shell) {
    let machine = SimMachine::new(SimConfig::default(), Arc::new(|| Duration::ZERO));
    let mut host = crate::sim::backend(&machine);
    host.xen.image = Arc::new(image);
    let kind = xen_bindings::GuestKind::Pvh;
    let config = DomainConfig::new(DomainHandle(VM), kind, 2);
    let domain = host.xen.control.create(&config).unwrap();
    let shell = host.xen.vcpu.allocate(domain).unwrap();
    (host, shell)
}

fn save(bench: &Bench, image: Image, control: &Control) -> Result<u64, SavedError> {
    let (host, shell) = host(image);
    let (domid, path, saved_at) = (shell.domid(), bench.path(), Duration::from_secs(7));
    let format = SavedFormat::Sealed;
    bench.files.save(
        &host,
        &Save { vm: vm(), spec: spec(), domid, path, format, saved_at },
        control,
    )
}

fn restore(bench: &Bench, image: Image) -> Result<BuiltGuest, SavedError> {
    let (host, shell) = host(image);
    let file = bench.files.open(&bench.path(), vm())?;
    let spec = RestoreSpec { store_port: Port(1), console_port: Port(2) };
    let into = Restore { shell: &shell, spec: &spec };
    bench.files.restore(&host, file, &into, &Control::default())
}

#[test]
fn a_domain_goes_to_a_file_and_back() {
    let bench = Bench::new();
    let bytes = save(&bench, Image::Sound, &Control::default()).unwrap();
    assert_eq!(bytes, 2 * RECORD_BYTES as u64);
    let header = bench.files.open(&bench.path(), vm()).unwrap().header().unwrap().clone();
    assert_eq!((header.spec, header.saved_at_s, header.xen.0), (spec(), 7, 4));
    assert_eq!(restore(&bench, Image::Sound).unwrap().store_gfn, Gfn(1));
    let failed = restore(&bench, Image::Fails);
    assert!(matches!(failed, Err(SavedError::Xen(error)) if error.operation() == "domain_restore"));
    // One that read too little to have seen the damage that is further on.
    restore(&bench, Image::Endless).unwrap();
    let mut raw = fs::read(bench.path()).unwrap();
    let end = raw.len() - 1;
    raw[end] ^= 1;
    fs::write(bench.path(), raw).unwrap();
    assert!(matches!(restore(&bench, Image::Endless), Err(SavedError::Damaged { .. })));
    bench.files.remove(&bench.path(), vm()).unwrap();
    assert!(bench.names().is_empty());
}

#[test]
fn a_save_that_fails_or_is_cancelled_leaves_no_file() {
    let bench = Bench::new();
    let failed = save(&bench, Image::Fails, &Control::default());
    assert!(matches!(failed, Err(SavedError::Xen(error)) if error.operation() == "domain_save"));
    assert!(bench.names().is_empty());
    let control = Control::default();
    let outcome = std::thread::scope(|scope| {
        let saving = scope.spawn(|| save(&bench, Image::Endless, &control));
        while control.bytes() == 0 {
            std::thread::yield_now();
        }
        control.cancel.cancel();
        join(saving)
    });
    assert!(matches!(outcome, Err(SavedError::Cancelled)), "{outcome:?}");
    assert!(bench.names().is_empty());
}

#[test]
fn two_at_once_agree_on_the_key() {
    let bench = Bench::new();
    let ids = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| SavedFiles::new(bench.dir.path()).key().unwrap().id()))
            .collect();
        threads.into_iter().map(join).collect::<Vec<_>>()
    });
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(bench.names().is_empty());
}

#[test]
fn a_caller_that_knows_only_xens_errors_learns_what_to_do() {
    let path = || PathBuf::from("/f");
    for (error, kind) in [
        (SavedError::NotFound(path()), XenErrorKind::NotFound),
        (SavedError::OtherHost(path()), XenErrorKind::BadImage),
        (SavedError::Exists(path()), XenErrorKind::Exists),
    ] {
        let words = error.to_string();
        let error = XenError::from(error);
        assert_eq!((error.kind(), error.said()), (kind, words.as_str()));
    }
}
