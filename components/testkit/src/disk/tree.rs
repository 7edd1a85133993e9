//! Files and folders by number.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use fuser::{Errno, FileAttr, FileType, INodeNo};

use super::contents::{Contents, PAGE};
use crate::random::Random;

pub(super) struct Node {
    pub(super) attr: FileAttr,
    pub(super) body: Body,
    pub(super) opened: usize,
}

pub(super) enum Body {
    File(Contents),
    Folder(BTreeMap<OsString, u64>),
}

pub(super) struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    has_power: bool,
}

/// Who makes a file, and with which rights.
pub(super) struct Maker {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
}

impl Tree {
    pub(super) fn new() -> Self {
        let mut tree = Self { nodes: BTreeMap::new(), next: INodeNo::ROOT.0, has_power: true };
        tree.add(Body::Folder(BTreeMap::new()), &Maker { uid: 0, gid: 0, mode: 0o755 });
        tree
    }

    fn add(&mut self, body: Body, maker: &Maker) -> u64 {
        let (number, now) = (self.next, SystemTime::now());
        self.next += 1;
        let kind = if matches!(body, Body::File(_)) { FileType::RegularFile } else { FileType::Directory };
        let attr = FileAttr {
            ino: INodeNo(number),
            size: 0,
            blocks: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            kind,
            perm: (maker.mode & 0o7777) as u16,
            nlink: 1,
            uid: maker.uid,
            gid: maker.gid,
            rdev: 0,
            blksize: PAGE as u32,
            flags: 0,
        };
        self.nodes.insert(number, Node { attr, body, opened: 0 });
        number
    }

    pub(super) fn node(&mut self, number: INodeNo) -> Result<&mut Node, Errno> {
        if !self.has_power {
            return Err(Errno::EIO);
        }
        self.nodes.get_mut(&number.0).ok_or(Errno::ENOENT)
    }

    pub(super) fn folder(&mut self, number: INodeNo) -> Result<&mut BTreeMap<OsString, u64>, Errno> {
        match &mut self.node(number)?.body {
            Body::Folder(names) => Ok(names),
            Body::File(_) => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn file(&mut self, number: INodeNo) -> Result<&mut Contents, Errno> {
        match &mut self.node(number)?.body {
            Body::File(contents) => Ok(contents),
            Body::Folder(_) => Err(Errno::EISDIR),
        }
    }

    /// As it is now, its size included.
    pub(super) fn attr(&mut self, number: INodeNo) -> Result<FileAttr, Errno> {
        let node = self.node(number)?;
        if let Body::File(contents) = &node.body {
            node.attr.size = contents.len() as u64;
            node.attr.blocks = node.attr.size.div_ceil(512);
        }
        Ok(node.attr)
    }

    pub(super) fn look(&mut self, parent: INodeNo, name: &OsStr) -> Result<INodeNo, Errno> {
        self.folder(parent)?.get(name).map(|number| INodeNo(*number)).ok_or(Errno::ENOENT)
    }

    pub(super) fn make(
        &mut self,
        parent: INodeNo,
        name: &OsStr,
        body: Body,
        maker: &Maker,
    ) -> Result<FileAttr, Errno> {
        if self.folder(parent)?.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let number = self.add(body, maker);
        self.folder(parent)?.insert(name.to_owned(), number);
        self.attr(INodeNo(number))
    }

    pub(super) fn remove(&mut self, parent: INodeNo, name: &OsStr) -> Result<(), Errno> {
        let number = self.look(parent, name)?;
        if matches!(&self.node(number)?.body, Body::Folder(names) if !names.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        self.folder(parent)?.remove(name);
        self.node(number)?.attr.nlink = 0;
        self.forget_unless_opened(number);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: (INodeNo, &OsStr), to: (INodeNo, &OsStr)) -> Result<(), Errno> {
        let number = self.look(from.0, from.1)?;
        match self.look(to.0, to.1) {
            Ok(same) if same == number => return Ok(()),
            Ok(_) => self.remove(to.0, to.1)?,
            Err(_) => {}
        }
        self.folder(from.0)?.remove(from.1);
        self.folder(to.0)?.insert(to.1.to_owned(), number.0);
        Ok(())
    }

    /// A file without a name lives as long as somebody has it open.
    pub(super) fn forget_unless_opened(&mut self, number: INodeNo) {
        if self.nodes.get(&number.0).is_some_and(|node| node.attr.nlink == 0 && node.opened == 0) {
            self.nodes.remove(&number.0);
        }
    }

    /// A release is heard without power too: it is the kernel's.
    pub(super) fn release(&mut self, number: INodeNo) {
        if let Some(node) = self.nodes.get_mut(&number.0) {
            node.opened = node.opened.saturating_sub(1);
        }
        self.forget_unless_opened(number);
    }

    fn files(&mut self) -> impl Iterator<Item = &mut Contents> {
        self.nodes.values_mut().filter_map(|node| match &mut node.body {
            Body::File(contents) => Some(contents),
            Body::Folder(_) => None,
        })
    }

    pub(super) fn sync(&mut self) {
        self.files().for_each(Contents::sync);
    }

    pub(super) fn cut_power(&mut self) {
        self.has_power = false;
    }

    pub(super) fn restore_power(&mut self, seed: Option<u64>) -> usize {
        let mut random = seed.map(Random::new);
        let mut survives = || random.as_mut().is_some_and(|random| random.draw() >> 63 == 1);
        let unsynced = self.files().map(|contents| contents.keep(&mut survives)).sum();
        self.has_power = true;
        unsynced
    }
}
