//! A payload out of a kernel's file, piece by piece: no more of the output than a buffer is in memory, since new pages are slow in
//! a paravirtual dom0 and few in a small one.
//!
//! Speed on Debian's kernel (8 MB to 66 MB, same machine): liblzma 0.65 s, lzma-rust2 0.93 s; ruzstd 0.31 s; miniz 0.2 s.

use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::FileExt as _;

use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;

use super::bzimage::{Format, Packed};

/// What is read at once.
const READ_BYTES: usize = 128 << 10;
/// What is written at once.
const WRITE_BYTES: usize = 256 << 10;
/// Memory of a decoder: dictionaries of kernels have up to 128 MiB.
const DECODER_BYTES_MAX: u64 = 192 << 20;
/// A block of LZ4's legacy format, unpacked.
const LZ4_BLOCK_BYTES: usize = 8 << 20;
const LZ4_MAGIC_BYTES: u64 = 4;
const ELF: &[u8] = b"\x7fELF";

/// Why a payload was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The payload is not what its header says.
    #[error("its payload is damaged: {0}")]
    Damaged(String),
    /// It may be sound; this host did not get it done.
    #[error("unpacking failed: {0}")]
    Failed(String),
}

/// Unpacks payloads: in this process, or in a worker.
pub trait Unpack: Send + Sync {
    /// Writes the ELF file inside `source` to `destination`, which is empty. Blocks.
    ///
    /// # Errors
    /// See [`UnpackError`].
    fn unpack(&self, packed: &Packed, source: &File, destination: &File)
    -> Result<(), UnpackError>;

    /// Whether a file that starts so is a kernel that only this host's builder knows.
    fn knows(&self, _head: &[u8]) -> bool {
        false
    }
}

/// Unpacks in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcess;

impl Unpack for InProcess {
    fn unpack(
        &self,
        packed: &Packed,
        source: &File,
        destination: &File,
    ) -> Result<(), UnpackError> {
        let input = BufReader::with_capacity(READ_BYTES, Part::of(source, packed));
        let damaged = |error: &dyn std::fmt::Display| UnpackError::Damaged(error.to_string());
        let decoder: Box<dyn Read + '_> = match packed.format {
            Format::Xz => {
                let stream = Stream::new_stream_decoder(DECODER_BYTES_MAX, 0);
                Box::new(XzDecoder::new_stream(input, stream.map_err(|error| damaged(&error))?))
            }
            Format::Lzma => {
                let stream = Stream::new_lzma_decoder(DECODER_BYTES_MAX);
                Box::new(XzDecoder::new_stream(input, stream.map_err(|error| damaged(&error))?))
            }
            Format::Gzip => Box::new(flate2::bufread::GzDecoder::new(input)),
            Format::Zstd => {
                let decoder = ruzstd::decoding::StreamingDecoder::new(input);
                Box::new(decoder.map_err(|error| damaged(&error))?)
            }
            Format::Lz4 => Box::new(Lz4Legacy::new(input)),
        };
        pump(decoder, destination, packed.unpacked_bytes)
    }
}

/// A part of a file, read without moving its position: other processes may have the same open file.
struct Part<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl<'a> Part<'a> {
    fn of(file: &'a File, packed: &Packed) -> Self {
        Self { file, at: packed.offset, left: packed.length }
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        (self.at, self.left) = (self.at + read as u64, self.left - read as u64);
        Ok(read)
    }
}

/// Writes exactly `bytes` of what the decoder gives: a decoder that gives less or more was given something else than a kernel.
fn pump(mut decoder: impl Read, mut to: &File, bytes: u64) -> Result<(), UnpackError> {
    let mut buffer = vec![0; WRITE_BYTES];
    let mut written = 0;
    loop {
        let filled = fill(&mut decoder, &mut buffer)?;
        let piece = &buffer[..filled];
        if written == 0 && !piece.starts_with(ELF) {
            return Err(UnpackError::Damaged("there is no ELF file in it".into()));
        }
        written += filled as u64;
        if written > bytes {
            return Err(UnpackError::Damaged(format!("it is larger than the {bytes} bytes noted")));
        }
        to.write_all(piece).map_err(|error| UnpackError::Failed(error.to_string()))?;
        if filled < buffer.len() {
            break;
        }
    }
    if written < bytes {
        return Err(UnpackError::Damaged(format!("it ends after {written} of {bytes} bytes")));
    }
    Ok(())
}

/// As much as fits, or less at the end.
fn fill(decoder: &mut impl Read, buffer: &mut [u8]) -> Result<usize, UnpackError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match decoder.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(UnpackError::Damaged(error.to_string())),
        }
    }
    Ok(filled)
}

/// LZ4's legacy frame: a magic, then blocks, each after its packed length.
struct Lz4Legacy<R> {
    input: R,
    packed: Vec<u8>,
    block: Vec<u8>,
    given: usize,
    started: bool,
}

impl<R: Read> Lz4Legacy<R> {
    fn new(input: R) -> Self {
        Self { input, packed: Vec::new(), block: Vec::new(), given: 0, started: false }
    }

    /// Unpacks the next block; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        if !std::mem::replace(&mut self.started, true) {
            io::copy(&mut self.input.by_ref().take(LZ4_MAGIC_BYTES), &mut io::sink())?;
        }
        let mut length = [0; 4];
        match self.input.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            outcome => outcome?,
        }
        let length = u32::from_le_bytes(length);
        if length as usize > lz4_flex::block::get_maximum_output_size(LZ4_BLOCK_BYTES) {
            return Err(io::Error::other(format!("a block of {length} bytes")));
        }
        self.packed.clear();
        self.input.by_ref().take(length.into()).read_to_end(&mut self.packed)?;
        self.block.resize(LZ4_BLOCK_BYTES, 0);
        let unpacked = lz4_flex::block::decompress_into(&self.packed, &mut self.block);
        self.block.truncate(unpacked.map_err(io::Error::other)?);
        self.given = 0;
        Ok(!self.block.is_empty())
    }
}

impl<R: Read> Read for Lz4Legacy<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.block.len() && !self.next()? {
            return Ok(0);
        }
        let rest = &self.block[self.given..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}
