//! Kernels made here: a boot header, and an ELF magic with noise behind it as the payload.

use std::fs;
use std::io::Write as _;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

/// An ELF file of so many bytes, as far as this cache looks; half of it packs well.
fn elf(bytes: usize, seed: u8) -> Vec<u8> {
    let mut noise = u32::from(seed) + 1;
    let mut file = b"\x7fELF".to_vec();
    while file.len() < bytes {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        file.extend_from_slice(&noise.to_le_bytes()[2..]);
        file.extend_from_slice(&[seed; 2]);
    }
    file.truncate(bytes);
    file
}

fn pack(format: Format, elf: &[u8]) -> Vec<u8> {
    use liblzma::stream::{Check, LzmaOptions, Stream};
    let xz = |stream: Stream| {
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(elf).unwrap();
        encoder.finish().unwrap()
    };
    match format {
        Format::Xz => xz(Stream::new_easy_encoder(1, Check::Crc32).unwrap()),
        Format::Lzma => xz(Stream::new_lzma_encoder(&LzmaOptions::new_preset(1).unwrap()).unwrap()),
        Format::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(elf).unwrap();
            encoder.finish().unwrap()
        }
        Format::Zstd => {
            ruzstd::encoding::compress_to_vec(elf, ruzstd::encoding::CompressionLevel::Fastest)
        }
        Format::Lz4 => {
            let mut out = b"\x02\x21\x4c\x18".to_vec();
            for block in elf.chunks(8 << 20) {
                let packed = lz4_flex::block::compress(block);
                out.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
                out.extend_from_slice(&packed);
            }
            out
        }
    }
}

/// A bzImage of three setup sectors. gzip's trailer is the size already.
fn bzimage(payload: &[u8], unpacked: usize, format: Format) -> Vec<u8> {
    let mut payload = payload.to_vec();
    if format != Format::Gzip {
        payload.extend_from_slice(&u32::try_from(unpacked).unwrap().to_le_bytes());
    }
    let mut image = vec![0; 4 * 512];
    image[0x1f1] = 3;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    image[0x248..0x24c].copy_from_slice(&64_u32.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    image.extend_from_slice(&[0x90; 64]);
    image.extend_from_slice(&payload);
    image
}

fn kernel(format: Format, elf: &[u8]) -> Vec<u8> {
    bzimage(&pack(format, elf), elf.len(), format)
}

/// Counts what it unpacks.
#[derive(Default)]
struct Counting(AtomicU32);

impl Unpack for Counting {
    fn unpack(&self, packed: &Packed, from: &File, to: &File) -> Result<(), UnpackError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        InProcess.unpack(packed, from, to)
    }
}

struct Bench {
    dir: tempfile::TempDir,
    count: Arc<Counting>,
    kernels: Kernels,
}

impl Bench {
    fn new(bytes_max: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let count = Arc::new(Counting::default());
        let kernels = Self::open(&dir, bytes_max, &count);
        Self { dir, count, kernels }
    }

    fn open(dir: &tempfile::TempDir, bytes_max: u64, count: &Arc<Counting>) -> Kernels {
        let limits = KernelLimits { bytes_max, unpackings_max: 1 };
        Kernels::open(&dir.path().join("cache"), limits, count.clone())
    }

    fn reopen(&mut self, bytes_max: u64) {
        self.kernels = Self::open(&self.dir, bytes_max, &self.count);
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn unpacked(&self) -> u32 {
        self.count.0.load(Ordering::SeqCst)
    }

    fn on_shelf(&self) -> Vec<String> {
        let files = fs::read_dir(self.dir.path().join("cache")).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn every_format_unpacks_to_the_elf_file_inside_once() {
    for format in [Format::Xz, Format::Lzma, Format::Gzip, Format::Zstd, Format::Lz4] {
        let bench = Bench::new(64 * MIB);
        // More than one of LZ4's blocks.
        let elf = elf(if format == Format::Lz4 { 9_000_001 } else { 700_001 }, 7);
        let path = bench.write("vmlinuz", &kernel(format, &elf));
        for _ in 0..3 {
            let prepared = bench.kernels.prepare(&path).unwrap();
            assert!(prepared.is_unpacked(), "{format:?}");
            assert!(fs::read(&*prepared).unwrap() == elf, "{format:?}");
        }
        assert_eq!(bench.unpacked(), 1, "{format:?}");
    }
}

#[test]
fn what_the_builder_takes_is_answered_as_it_is_and_garbage_is_refused() {
    let bench = Bench::new(64 * MIB);
    let small = elf(4096, 1);
    let mut old = kernel(Format::Xz, &small);
    old[0x206..0x208].copy_from_slice(&0x0207_u16.to_le_bytes());
    let mut beyond = kernel(Format::Xz, &small);
    beyond[0x24c..0x250].copy_from_slice(&u32::MAX.to_le_bytes());
    for (name, content, fits) in [
        ("elf", small.clone(), true),
        ("gzipped elf", pack(Format::Gzip, &small), true),
        ("bzip2 payload", bzimage(b"BZh9 and so on", 4096, Format::Xz), true),
        ("elf payload", bzimage(&small, 4096, Format::Xz), true),
        ("old protocol", old, true),
        ("text", b"hello".to_vec(), false),
        ("nothing", Vec::new(), false),
        ("header only", kernel(Format::Xz, &small)[..0x210].to_vec(), false),
        ("payload beyond the end", beyond, false),
        ("unknown payload", bzimage(b"what is this?", 4096, Format::Xz), false),
    ] {
        let path = bench.write(name, &content);
        match bench.kernels.prepare(&path) {
            Ok(prepared) => assert!(fits && *prepared == *path, "{name}"),
            Err(error) => {
                assert!(!fits && matches!(error, KernelError::BadImage { .. }), "{name}: {error}");
            }
        }
    }
    assert_eq!((bench.unpacked(), bench.on_shelf().len()), (0, 0));
    let missing = bench.kernels.prepare(&bench.dir.path().join("missing"));
    assert!(matches!(missing, Err(KernelError::NotFound(_))));
    let folder = bench.kernels.prepare(bench.dir.path());
    assert!(matches!(folder, Err(KernelError::BadImage { .. })));
}

#[test]
fn a_payload_that_is_not_what_its_header_says_is_refused_and_leaves_nothing() {
    let bench = Bench::new(64 * MIB);
    let whole = elf(3_000_000, 3);
    let packed = pack(Format::Xz, &whole);
    let mut flipped = packed.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 4;
    let noise = vec![0x55; 100_000];
    for (name, payload, noted) in [
        ("larger than noted", packed.clone(), 1_000_000),
        ("smaller than noted", packed.clone(), 3_000_001),
        ("cut off", packed[..middle].to_vec(), 3_000_000),
        ("a flipped bit", flipped, 3_000_000),
        ("a bomb", packed, usize::try_from(UNPACKED_BYTES_MAX).unwrap() + 1),
        ("no elf inside", pack(Format::Xz, &noise), noise.len()),
    ] {
        let path = bench.write(name, &bzimage(&payload, noted, Format::Xz));
        let refused = bench.kernels.prepare(&path);
        assert!(matches!(refused, Err(KernelError::BadImage { .. })), "{name}: {refused:?}");
        assert!(bench.on_shelf().is_empty(), "{name}");
    }
}

#[test]
fn two_files_of_one_content_share_an_entry_and_a_changed_file_does_not() {
    let bench = Bench::new(64 * MIB);
    let image = kernel(Format::Gzip, &elf(100_000, 1));
    let first = bench.kernels.prepare(&bench.write("a", &image)).unwrap();
    let copy = bench.kernels.prepare(&bench.write("b", &image)).unwrap();
    assert_eq!((&*first, bench.unpacked()), (&*copy, 1));
    let other = bench.write("a", &kernel(Format::Gzip, &elf(100_000, 2)));
    assert_ne!(&*bench.kernels.prepare(&other).unwrap(), &*first);
    assert_eq!(bench.unpacked(), 2);
}

#[test]
fn entries_outlive_the_agent_and_whatever_is_not_whole_is_removed() {
    let mut bench = Bench::new(64 * MIB);
    let path = bench.write("k", &kernel(Format::Zstd, &elf(200_000, 9)));
    let unpacked = bench.kernels.prepare(&path).unwrap().to_path_buf();
    let cache = bench.dir.path().join("cache");
    for stray in ["x.new", "y.elf", "z.json", "strange"] {
        fs::write(cache.join(stray), "left over").unwrap();
    }
    bench.reopen(64 * MIB);
    assert_eq!(bench.on_shelf().len(), 2, "{:?}", bench.on_shelf());
    assert_eq!(*bench.kernels.prepare(&path).unwrap(), *unpacked);
    assert_eq!(bench.unpacked(), 1);

    // Somebody wrote to it: while the agent runs, and while it does not.
    for reopen in [false, true] {
        fs::remove_file(&unpacked).unwrap();
        fs::write(&unpacked, elf(200_000, 8)).unwrap();
        if reopen {
            bench.reopen(64 * MIB);
        }
        let again = bench.kernels.prepare(&path).unwrap();
        assert!(fs::read(&*again).unwrap() == elf(200_000, 9));
    }
    assert_eq!(bench.unpacked(), 3);
}

#[test]
fn the_least_recently_used_goes_but_never_one_in_use() {
    let mut bench = Bench::new(3 * MIB);
    let [a, b, c, d] = [1, 2, 3, 4]
        .map(|seed| bench.write(&format!("k{seed}"), &kernel(Format::Lz4, &elf(1 << 20, seed))));
    let prepare = |bench: &Bench, path: &Path| bench.kernels.prepare(path).unwrap();
    for path in [&a, &b, &c, &a] {
        prepare(&bench, path);
    }
    prepare(&bench, &d);
    assert_eq!(bench.unpacked(), 4);
    prepare(&bench, &a);
    assert_eq!(bench.unpacked(), 4, "a was used after b");
    let held = [&a, &c, &d].map(|path| prepare(&bench, path));
    assert!(!prepare(&bench, &b).is_unpacked(), "all room is in use");
    drop(held);
    assert!(prepare(&bench, &b).is_unpacked());
    // A smaller bound at the next start keeps the newest.
    bench.reopen(MIB);
    assert_eq!(bench.on_shelf().len(), 2);
    let before = bench.unpacked();
    prepare(&bench, &b);
    assert_eq!(bench.unpacked(), before);
}

#[test]
fn callers_at_once_unpack_a_kernel_once() {
    let bench = Bench::new(64 * MIB);
    let image = kernel(Format::Xz, &elf(4_000_000, 5));
    let paths = ["a", "b"].map(|name| bench.write(name, &image));
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let (kernels, path, start) = (bench.kernels.clone(), &paths[caller % 2], &start);
            scope.spawn(move || {
                start.wait();
                assert!(kernels.prepare(path).unwrap().is_unpacked());
            });
        }
    });
    assert_eq!(bench.unpacked(), 1);
}

/// Fails as a worker does that was killed.
struct Broken;

impl Unpack for Broken {
    fn unpack(&self, _: &Packed, _: &File, mut to: &File) -> Result<(), UnpackError> {
        to.write_all(b"\x7fELF and half").unwrap();
        Err(UnpackError::Failed("killed".into()))
    }
}

#[test]
fn a_cache_that_cannot_work_costs_time_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k");
    fs::write(&path, kernel(Format::Xz, &elf(10_000, 1))).unwrap();
    let limits = |bytes_max| KernelLimits { bytes_max, unpackings_max: 1 };
    let broken = Kernels::open(&dir.path().join("cache"), limits(MIB), Arc::new(Broken));
    assert_eq!(*broken.prepare(&path).unwrap(), *path);
    assert_eq!(fs::read_dir(dir.path().join("cache")).unwrap().count(), 0);
    for (place, bytes) in [("cache", 0), ("cache", 5000), ("k", MIB)] {
        let kernels = Kernels::open(&dir.path().join(place), limits(bytes), Arc::new(InProcess));
        assert_eq!(*kernels.prepare(&path).unwrap(), *path, "{place} {bytes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_bring_the_header_or_a_decoder_down(
        at in 0_usize..9000, value: u8, format in 0_usize..5, cut in 0_usize..9000,
    ) {
        let format = [Format::Xz, Format::Lzma, Format::Gzip, Format::Zstd, Format::Lz4][format];
        let whole = elf(8000, 1);
        let mut image = kernel(format, &whole);
        let end = image.len();
        image[at % end] = value;
        image.truncate(end - cut.min(end) / 8);
        let bench = Bench::new(64 * MIB);
        let path = bench.write("k", &image);
        if let Ok(prepared) = bench.kernels.prepare(&path) && prepared.is_unpacked() {
            prop_assert_eq!(fs::read(&*prepared).unwrap().len(), whole.len());
        }
    }
}
