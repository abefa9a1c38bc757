//! dom0's real Linux: the loop driver through `loopdev`, counters through sysfs, terminals through rustix. No `unsafe` of ours.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use loopdev::{LoopControl, LoopDevice};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use vmm_core::stats::DiskCounters;
use xen_bindings::DomId;

use super::{AttachedLoop, ConsoleSource, Dom0, Dom0Error, LoopIndex};

/// Between asking for a free loop device and taking it, somebody else may take it.
const LOOP_TRIES_MAX: u32 = 16;
/// Bytes of a sector, as xen-blkback counts.
const SECTOR_BYTES: u64 = 512;
/// Bytes read from a terminal at once.
const CONSOLE_CHUNK: usize = 4096;
/// The longest last words that are waited for.
const REST_BYTES_MAX: usize = 1 << 20;
/// What sysfs adds to a file that was removed.
const DELETED: &str = " (deleted)";

/// The Linux that this process runs on.
#[derive(Debug, Default)]
pub struct LinuxDom0 {}

impl Dom0 for LinuxDom0 {
    fn attach_loop(&self, image: &Path, read_only: bool) -> Result<LoopIndex, Dom0Error> {
        const OPERATION: &str = "attach a loop device to";
        let failed = |error: io::Error| Dom0Error::io(OPERATION, image, &error);
        // The loop driver takes any file; what is missing is told before a device is taken.
        let file = fs::canonicalize(image).map_err(failed)?;
        File::open(&file).map_err(failed)?;
        let control = LoopControl::open().map_err(failed)?;
        let mut last = io::Error::from(io::ErrorKind::ResourceBusy);
        for _ in 0..LOOP_TRIES_MAX {
            let device = control.next_free().map_err(failed)?;
            match device.with().read_only(read_only).attach(&file) {
                Ok(()) => return index_of(&device).map_err(failed),
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => last = error,
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(last))
    }

    fn detach_loop(&self, index: LoopIndex) -> Result<(), Dom0Error> {
        let path = PathBuf::from(index.path());
        let failed = |error: io::Error| Dom0Error::io("detach the loop device", &path, &error);
        if backing_file(index).map_err(failed)?.is_none() {
            return Ok(());
        }
        LoopDevice::open(&path).and_then(|device| device.detach()).map_err(failed)
    }

    fn loops(&self) -> Result<Vec<AttachedLoop>, Dom0Error> {
        let directory = Path::new("/sys/block");
        let failed =
            |error: io::Error| Dom0Error::io("list the loop devices in", directory, &error);
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok());
            let Some(index) = number.map(LoopIndex) else { continue };
            if let Some(backing_file) = backing_file(index).map_err(failed)? {
                found.push(AttachedLoop { index, backing_file });
            }
        }
        found.sort_by_key(|attached| attached.index);
        Ok(found)
    }

    fn vbd_counters(&self, domid: DomId, devid: u32) -> Result<Option<DiskCounters>, Dom0Error> {
        let directory =
            PathBuf::from(format!("/sys/bus/xen-backend/devices/vbd-{domid}-{devid}/statistics"));
        let read = |name: &str| read_counter(&directory.join(name));
        let all = || -> io::Result<Option<DiskCounters>> {
            let (Some(reads), Some(writes)) = (read("rd_req")?, read("wr_req")?) else {
                return Ok(None);
            };
            let (Some(rd_sect), Some(wr_sect)) = (read("rd_sect")?, read("wr_sect")?) else {
                return Ok(None);
            };
            Ok(Some(DiskCounters {
                reads,
                writes,
                read_bytes: rd_sect.saturating_mul(SECTOR_BYTES),
                written_bytes: wr_sect.saturating_mul(SECTOR_BYTES),
                errors: 0,
            }))
        };
        all().map_err(|error| Dom0Error::io("read the counters in", &directory, &error))
    }

    fn open_console(&self, _: DomId, tty: &str) -> Result<Box<dyn ConsoleSource>, Dom0Error> {
        let open = || -> io::Result<TtyConsole> {
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let terminal = rustix::fs::open(tty, flags, Mode::empty())?;
            // Else the terminal echoes what it prints back to the guest as input.
            let mut modes = tcgetattr(&terminal)?;
            modes.make_raw();
            tcsetattr(&terminal, OptionalActions::Now, &modes)?;
            Ok(TtyConsole { terminal: Receiver::from_owned_fd_unchecked(terminal)? })
        };
        match open() {
            Ok(console) => Ok(Box::new(console)),
            Err(error) => Err(Dom0Error::io("open the console", Path::new(tty), &error)),
        }
    }

    fn now(&self) -> Duration {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
    }
}

fn index_of(device: &LoopDevice) -> io::Result<LoopIndex> {
    let path = device.path().ok_or(io::ErrorKind::NotFound)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let number = name.strip_prefix("loop").and_then(|number| number.parse().ok());
    number.map(LoopIndex).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The file behind a loop device, as the kernel tells it; `None` when there is none.
fn backing_file(index: LoopIndex) -> io::Result<Option<PathBuf>> {
    match fs::read(format!("/sys/block/loop{}/loop/backing_file", index.0)) {
        // Bytes: other people's files may have names that are not UTF-8.
        Ok(line) => {
            let path = line.strip_suffix(b"\n").unwrap_or(&line);
            let path = path.strip_suffix(DELETED.as_bytes()).unwrap_or(path);
            Ok(Some(PathBuf::from(OsStr::from_bytes(path))))
        }
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A device that goes while its sysfs is read answers ENODEV or ENXIO.
fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let gone = [Errno::NOENT, Errno::NODEV, Errno::NXIO];
    Errno::from_io_error(error).is_some_and(|errno| gone.contains(&errno))
}

fn read_counter(path: &Path) -> io::Result<Option<u64>> {
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| io::ErrorKind::InvalidData.into()),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The terminal of xenconsoled's, raw and non-blocking. To tokio it is one end of a pipe: something to be read when it is ready.
struct TtyConsole {
    terminal: Receiver,
}

impl ConsoleSource for TtyConsole {
    fn read(&mut self) -> BoxFuture<'_, Vec<u8>> {
        async {
            let mut chunk = [0; CONSOLE_CHUNK];
            loop {
                match self.terminal.read(&mut chunk).await {
                    Ok(count) => return chunk.iter().take(count).copied().collect(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // EIO: xenconsoled has closed its end.
                    Err(_) => return Vec::new(),
                }
            }
        }
        .boxed()
    }

    fn rest(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut chunk = [0; CONSOLE_CHUNK];
        while text.len() < REST_BYTES_MAX {
            match self.terminal.try_read(&mut chunk) {
                Ok(count @ 1..) => text.extend(chunk.iter().take(count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn a_terminal_is_read_raw_until_its_other_end_closes() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let tty = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let domid = DomId::new(1).unwrap();
        let mut console = LinuxDom0::default().open_console(domid, &tty).unwrap();
        let mut master = File::from(master);
        master.write_all(b"boot\r\n\x03").unwrap();
        assert_eq!(console.read().await, b"boot\r\n\x03");
        master.write_all(b"panic").unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(console.rest(), b"panic");
        drop(master);
        assert_eq!(console.read().await, b"");
    }

    #[test]
    fn what_is_not_there_counts_nothing_and_a_missing_image_is_told() {
        let dom0 = LinuxDom0::default();
        assert_eq!(dom0.vbd_counters(DomId::new(7).unwrap(), 51712).unwrap(), None);
        let fault = dom0.attach_loop(Path::new("/nowhere/disk.img"), true).unwrap_err();
        assert_eq!(fault.kind, super::super::Dom0ErrorKind::NotFound);
        assert!(dom0.now() < dom0.now() + Duration::from_nanos(1));
    }
}
