//! Disks on a real Linux: files, their names, loop devices.

use std::io::Write as _;

use super::*;
use crate::dom0::Dom0ErrorKind as Kind;
use crate::dom0::linux::notes::Notes;

fn id(path: &Path) -> FileId {
    FileId::of(&fs::metadata(path).unwrap())
}

fn image(directory: &Path, bytes: u64) -> PathBuf {
    let image = directory.join("disk.img");
    File::create(&image).unwrap().set_len(bytes).unwrap();
    image
}

#[test]
fn what_is_no_disk_is_refused() {
    let dom0 = LinuxDom0::default();
    let any = id(Path::new("/"));
    let check = |path: &str, expect: Kind| {
        let path = Path::new(path);
        assert_eq!(dom0.backing(path).unwrap_err().kind, expect, "{path:?}");
        assert_eq!(dom0.attach_loop(path, any, true).unwrap_err().kind, expect, "{path:?}");
        assert_eq!(dom0.grow_file(path, any, 1).unwrap_err().kind, expect, "{path:?}");
    };
    check("/nowhere/disk.img", Kind::NotFound);
    check("/", Kind::WrongKind);
    check("/dev/null", Kind::WrongKind);
}

#[test]
fn a_file_is_the_same_by_all_its_names() {
    let dom0 = LinuxDom0::default();
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), 3 << 20);
    let before = dom0.backing(&image).unwrap();
    let [link, hard, moved] = ["link", "hard", "moved"].map(|name| directory.path().join(name));
    std::os::unix::fs::symlink(&image, &link).unwrap();
    fs::hard_link(&image, &hard).unwrap();
    assert_eq!(dom0.backing(&link).unwrap(), before);
    assert_eq!(dom0.backing(&hard).unwrap(), before);
    fs::rename(&image, &moved).unwrap();
    assert_eq!(dom0.backing(&moved).unwrap(), before);
    assert!(matches!(before, Backing::File { bytes: 0x30_0000, .. }));
}

#[test]
fn images_only_grow_and_keep_all_their_blocks_if_they_had_them() {
    const MIB: u64 = 1 << 20;
    let dom0 = LinuxDom0::default();
    let directory = tempfile::tempdir().unwrap();
    let sparse = image(directory.path(), MIB);
    let full = directory.path().join("full.img");
    let mut file = File::create(&full).unwrap();
    file.write_all(&vec![1; 1 << 20]).unwrap();
    file.sync_all().unwrap();
    let blocks = |path: &Path| fs::metadata(path).unwrap().blocks() * SECTOR_BYTES;
    for path in [&sparse, &full] {
        dom0.grow_file(path, id(path), 2 * MIB).unwrap();
        dom0.grow_file(path, id(path), 2 * MIB).unwrap();
        let fault = dom0.grow_file(path, id(path), 2 * MIB - 1).unwrap_err();
        assert_eq!(fault.kind, Kind::Shrinks { bytes: 2 * MIB });
        assert_eq!(fs::metadata(path).unwrap().len(), 2 * MIB);
    }
    assert!(blocks(&sparse) < MIB);
    assert!(blocks(&full) >= 2 * MIB);
}

#[test]
fn a_growth_that_does_not_fit_changes_nothing() {
    let dom0 = LinuxDom0::default();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full.img");
    fs::write(&path, vec![1; 1 << 20]).unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    let fault = dom0.grow_file(&path, id(&path), 1 << 42).unwrap_err();
    assert_eq!(fault.kind, Kind::NoSpace, "{fault}");
    let after = fs::metadata(&path).unwrap();
    assert_eq!(after.len(), 1 << 20);
    assert!(after.blocks() * SECTOR_BYTES < 2 << 20);
}

#[test]
fn a_removed_file_is_known_by_name_only() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), 0);
    let line = |suffix: &str| format!("{}{suffix}", image.display()).into_bytes();
    let id = FileId::of(&fs::metadata(&image).unwrap());
    assert_eq!(named_file(&line("")), (image.clone(), Some(id)));
    assert_eq!(named_file(&line(DELETED)), (image.clone(), None));
    fs::remove_file(&image).unwrap();
    assert_eq!(named_file(&line("")), (image.clone(), None));
}

#[test]
fn a_loop_device_knows_its_file_whatever_becomes_of_the_name_and_grows_when_told() {
    let directory = tempfile::tempdir().unwrap();
    let notes = || Notes::in_directory(&directory.path().join("notes"));
    let dom0 = LinuxDom0 { notes: notes() };
    let image = image(directory.path(), 1 << 20);
    let Backing::File { id, .. } = dom0.backing(&image).unwrap() else { panic!() };
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&image, &link).unwrap();
    let index = dom0.attach_loop(&link, id, false).unwrap();
    let seen_by =
        |dom0: &LinuxDom0| dom0.loops().unwrap().into_iter().find(|found| found.index == index);
    let expect = |backing_file: &Path, bytes| {
        let backing_file = backing_file.into();
        Some(AttachedLoop { index, backing_file, file: Some(id), read_only: false, bytes })
    };
    assert_eq!(seen_by(&dom0), expect(&image, 1 << 20));
    let node = Backing::Device { number: index.number(), bytes: 1 << 20 };
    assert_eq!(dom0.backing(Path::new(&index.path())).unwrap(), node);

    let moved = directory.path().join("moved.img");
    fs::rename(&image, &moved).unwrap();
    dom0.grow_file(&moved, id, (2 << 20) + 5).unwrap();
    assert_eq!(seen_by(&dom0), expect(&moved, 1 << 20));
    assert_eq!(dom0.resize_loop(index).unwrap(), 2 << 20);
    // Another run of the agent, and one that has no notes.
    let stranger = LinuxDom0 { notes: Notes::in_directory(&directory.path().join("none")) };
    for dom0 in [&dom0, &LinuxDom0 { notes: notes() }, &stranger] {
        assert_eq!(seen_by(dom0), expect(&moved, 2 << 20));
    }
    fs::remove_file(&moved).unwrap();
    assert_eq!(seen_by(&dom0), expect(&moved, 2 << 20));
    assert_eq!(seen_by(&stranger).unwrap().file, None);

    dom0.detach_loop(index).unwrap();
    dom0.detach_loop(index).unwrap();
    assert_eq!(seen_by(&dom0), None);
    assert_eq!(dom0.resize_loop(index).unwrap_err().kind, Kind::NotFound);
}

#[test]
fn a_note_is_not_believed_for_the_next_attachment() {
    let directory = tempfile::tempdir().unwrap();
    let notes = Notes::in_directory(&directory.path().join("notes"));
    let dom0 = LinuxDom0 { notes: Notes::in_directory(&directory.path().join("notes")) };
    let first = image(directory.path(), 4096);
    let index = dom0.attach_loop(&first, id(&first), true).unwrap();
    let noted = notes.read(index).unwrap();
    dom0.detach_loop(index).unwrap();
    assert_eq!(notes.read(index), None, "{noted:?} is behind it no more");
}
