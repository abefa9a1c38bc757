//! A disk writer and a disk checker on /dev/xvda, past the page cache: every block is read back and checked after it was written.
//!
//! The disk may come late and go again: an I/O error is counted, and the device is opened anew. Damage is not an error but
//! a finding of the self-check.

use std::fs::{File, OpenOptions};
use std::io::{Result, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::dirty::pace;
use crate::pattern::{self, Seen};
use crate::tally::Tally;

const DEVICE: &str = "/dev/xvda";
const BLOCK_BYTES: usize = 64 * 1024;
const BLOCK_WORDS: usize = BLOCK_BYTES / size_of::<u64>();
const BLOCK_STEP: u64 = BLOCK_BYTES as u64;
pub(crate) const BLOCKS_PER_MIB: u32 = 16;
/// O_DIRECT wants memory aligned to the device's sectors.
const ALIGN: usize = 4096;
const RETRY: Duration = Duration::from_millis(500);

/// Writes blocks in turn over the whole disk, at a rate.
pub(crate) fn write_forever(blocks_per_s: u32, tally: &Tally) {
    let mut generation = 0;
    loop {
        if let Err(error) = write_until_error(blocks_per_s, &mut generation, tally)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            Tally::add(&tally.disk_errors, 1);
        }
        thread::sleep(RETRY);
    }
}

fn write_until_error(blocks_per_s: u32, generation: &mut u64, tally: &Tally) -> Result<()> {
    let mut disk = Disk::open()?;
    let blocks = disk.blocks()?;
    loop {
        *generation += 1;
        for place in 0..blocks {
            let start = Instant::now();
            disk.write(place, *generation)?;
            Tally::add(&tally.disk_written_bytes, BLOCK_STEP);
            disk.expect(place, *generation, tally)?;
            // The one written longest ago in this round, too.
            disk.expect(place / 2, *generation, tally)?;
            Tally::add(&tally.disk_read_bytes, 2 * BLOCK_STEP);
            pace(start, blocks_per_s);
        }
    }
}

/// Reads the whole disk once; blocks of a writer must be whole, others are passed over.
pub(crate) fn check(tally: &Tally) {
    while let Err(error) = check_once(tally) {
        if error.kind() != std::io::ErrorKind::NotFound {
            Tally::add(&tally.disk_errors, 1);
        }
        thread::sleep(RETRY);
    }
    tally.disk_check_done.store(true, std::sync::atomic::Ordering::Relaxed);
}

fn check_once(tally: &Tally) -> Result<()> {
    let mut disk = Disk::open()?;
    for place in 0..disk.blocks()? {
        match disk.read(place)? {
            Seen::Foreign => {}
            Seen::Whole { .. } => Tally::add(&tally.disk_blocks_checked, 1),
            Seen::Damaged => tally.bad(format_args!("disk block={place} is damaged")),
        }
        Tally::add(&tally.disk_read_bytes, BLOCK_STEP);
    }
    Ok(())
}

struct Disk {
    file: File,
    block: Vec<u64>,
    bytes: Vec<u8>,
    /// Where the aligned part of `bytes` begins.
    from: usize,
}

impl Disk {
    fn open() -> Result<Self> {
        let flags =
            i32::try_from((OFlags::DIRECT | OFlags::DSYNC).bits()).expect("flags are small");
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(DEVICE)?;
        let bytes = vec![0; BLOCK_BYTES + ALIGN];
        let from = bytes.as_ptr().align_offset(ALIGN);
        Ok(Self { file, block: vec![0; BLOCK_WORDS], bytes, from })
    }

    fn blocks(&mut self) -> Result<u64> {
        Ok(self.file.seek(SeekFrom::End(0))? / BLOCK_STEP)
    }

    fn write(&mut self, place: u64, generation: u64) -> Result<()> {
        pattern::write(&mut self.block, place, generation);
        let bytes = &mut self.bytes[self.from..self.from + BLOCK_BYTES];
        for (slot, word) in bytes.chunks_exact_mut(size_of::<u64>()).zip(&self.block) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        self.file.write_all_at(bytes, place * BLOCK_STEP)
    }

    fn read(&mut self, place: u64) -> Result<Seen> {
        let bytes = &mut self.bytes[self.from..self.from + BLOCK_BYTES];
        self.file.read_exact_at(bytes, place * BLOCK_STEP)?;
        for (slot, word) in bytes.chunks_exact(size_of::<u64>()).zip(&mut self.block) {
            *word = u64::from_le_bytes(slot.try_into().expect("eight bytes"));
        }
        Ok(pattern::read(&self.block, place))
    }

    fn expect(&mut self, place: u64, generation: u64, tally: &Tally) -> Result<()> {
        let seen = self.read(place)?;
        if seen != (Seen::Whole { generation }) {
            tally.bad(format_args!("disk block={place} generation={generation} {seen:?}"));
        }
        Ok(())
    }
}
