//! Why lanes do not become one stream again.

use super::LinkError;

/// Why lanes do not become one stream again. Whatever it is, the migration is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LaneError {
    #[error("no stream came from the source")]
    NoStream,
    #[error("lane {lane} broke: {error}")]
    Broken { lane: u32, error: LinkError },
    #[error("{0}")]
    Format(#[from] FormatError),
    #[error("a stream of number {number} is no lane: there are {max} at most", max = super::LANES_MAX)]
    Number { number: u32 },
    #[error("stream {number} says that it is lane {lane}")]
    Misnamed { number: u32, lane: u8 },
    #[error("lane {lane} comes twice")]
    Twice { lane: u32 },
    #[error("lane {lane} says that there are {lanes} lanes, and another one said {before}")]
    Disagree { lane: u32, lanes: u8, before: u8 },
    #[error(
        "{come} of {lanes} lanes have come: the source gave up, or the way between the hosts is blocked"
    )]
    Missing { come: usize, lanes: usize },
    #[error("lane {lane} brings byte {position} again, where {next} is the next")]
    Overlap { lane: u32, position: u64, next: u64 },
    #[error(
        "lane {lane} is at byte {position}, where {next} is the next: nothing can be so far ahead"
    )]
    Far { lane: u32, position: u64, next: u64 },
    #[error("no lane brings byte {next}")]
    Gap { next: u64 },
    #[error("lane {lane} says that all ends at byte {end}, where {next} is the next")]
    End { lane: u32, end: u64, next: u64 },
    #[error("no lane has brought byte {next} for {seconds} s, while others wait")]
    Stalled { next: u64, seconds: u64 },
}

/// What of one lane cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    #[error(
        "the stream is no lane of a migration, or of another release: both hosts must run the same release of the agent"
    )]
    NoLane,
    #[error(
        "the stream's lanes are of version {version}, and this host's of {own}: both hosts must run the same release of the agent",
        own = super::format::VERSION
    )]
    Version { version: u16 },
    #[error("a lane says that it is lane {lane} of {lanes}")]
    Which { lane: u8, lanes: u8 },
    #[error("a piece of {bytes} bytes: there are {max} at most", max = super::PIECE_BYTES_MAX)]
    TooLong { bytes: u32 },
    #[error("a piece of {bytes} bytes at byte {position}: there is no such place")]
    NoPlace { position: u64, bytes: u32 },
    #[error("a lane goes back from byte {before} to byte {position}")]
    Back { position: u64, before: u64 },
    #[error("something comes behind a lane's end")]
    Behind,
    #[error("a lane ended before it said so: migrate the VM again")]
    Truncated,
}
