//! Simulated disks: block devices and loop devices from tables, image files from the real file system.

use std::fs;
use std::io;
use std::path::Path;

use super::{SimDom0, SimLoop};
use crate::dom0::file::{grow, require_file, require_same, wrong_kind};
use crate::dom0::{
    AttachedLoop, Backing, BlockDevices, DeviceNumber, Dom0Error, Dom0ErrorKind, FileId, LoopIndex,
};

/// Loop devices that it has.
const LOOPS_MAX: u32 = 256;
/// A loop device has whole sectors.
const SECTOR_BYTES: u64 = 512;

impl BlockDevices for SimDom0 {
    fn backing(&self, path: &Path) -> Result<Backing, Dom0Error> {
        const OPERATION: &str = "use as a disk";
        if let Some((number, bytes)) = self.tables().devices.get(path) {
            return Ok(Backing::Device { number: *number, bytes: *bytes });
        }
        let metadata =
            fs::metadata(path).map_err(|error| Dom0Error::io(OPERATION, path, &error))?;
        if !metadata.is_file() {
            return Err(wrong_kind(OPERATION, path, "it is neither a file nor a block device"));
        }
        Ok(Backing::File { id: FileId::of(&metadata), bytes: metadata.len() })
    }

    fn use_of(&self, device: DeviceNumber) -> Result<Option<String>, Dom0Error> {
        Ok(self.tables().uses.get(&device).cloned())
    }

    fn attach_loop(
        &self,
        image: &Path,
        id: FileId,
        read_only: bool,
    ) -> Result<LoopIndex, Dom0Error> {
        const OPERATION: &str = "attach a loop device to";
        let failed = |error: io::Error| Dom0Error::io(OPERATION, image, &error);
        let file = fs::canonicalize(image).map_err(failed)?;
        let metadata = fs::metadata(&file).map_err(failed)?;
        require_file(OPERATION, image, &metadata)?;
        require_same(OPERATION, image, &metadata, id)?;
        let mut tables = self.tables();
        let index = (0..LOOPS_MAX).map(LoopIndex).find(|index| !tables.loops.contains_key(index));
        let index = index.ok_or_else(|| {
            let kind = Dom0ErrorKind::Busy;
            Dom0Error::own(OPERATION, image.display().to_string(), kind, "no loop device is free")
        })?;
        let bytes = whole_sectors(metadata.len());
        tables.loops.insert(index, SimLoop { file, read_only, bytes, flushes: 0 });
        self.machine.set_block_device(&index.physical_device(), bytes);
        Ok(index)
    }

    fn detach_loop(&self, index: LoopIndex) -> Result<(), Dom0Error> {
        self.tables().loops.remove(&index);
        Ok(())
    }

    fn loops(&self) -> Result<Vec<AttachedLoop>, Dom0Error> {
        let attached = |(index, attached): (&LoopIndex, &SimLoop)| AttachedLoop {
            index: *index,
            backing_file: attached.file.clone(),
            file: fs::metadata(&attached.file).ok().map(|metadata| FileId::of(&metadata)),
            read_only: attached.read_only,
            bytes: attached.bytes,
        };
        Ok(self.tables().loops.iter().map(attached).collect())
    }

    fn flush_loop(&self, index: LoopIndex) -> Result<(), Dom0Error> {
        let mut tables = self.tables();
        let attached = tables.loops.get_mut(&index).ok_or_else(|| {
            let kind = Dom0ErrorKind::NotFound;
            Dom0Error::own("write out the loop device", index.path(), kind, "it has no file")
        })?;
        attached.flushes += 1;
        Ok(())
    }

    fn resize_loop(&self, index: LoopIndex) -> Result<u64, Dom0Error> {
        const OPERATION: &str = "resize the loop device";
        let mut tables = self.tables();
        let attached = tables.loops.get_mut(&index).ok_or_else(|| {
            Dom0Error::own(OPERATION, index.path(), Dom0ErrorKind::NotFound, "it has no file")
        })?;
        let metadata = fs::metadata(&attached.file)
            .map_err(|error| Dom0Error::io(OPERATION, &attached.file, &error))?;
        attached.bytes = whole_sectors(metadata.len());
        self.machine.set_block_device(&index.physical_device(), attached.bytes);
        Ok(attached.bytes)
    }

    fn grow_file(&self, path: &Path, file: FileId, bytes: u64) -> Result<(), Dom0Error> {
        grow(path, file, bytes, |_, _, _| Ok(()))
    }
}

fn whole_sectors(bytes: u64) -> u64 {
    bytes / SECTOR_BYTES * SECTOR_BYTES
}
