//! A disk whose power can fail: what was not synced is lost then, or not, or in part.
//!
//! What POSIX promises and nothing more: the content of a file is durable when the file was synced,
//! its name when the directory was. Until then each change may or may not survive, one without the
//! other: a file that was renamed and not synced may be there and empty, a file that was deleted may be
//! back. Every call that changes something counts as one operation; a directory that is removed with
//! its content is as many as it has entries.

use super::Meta;
use super::turns::Turns;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The directory that everything is in.
const ROOT: u64 = 0;

thread_local! {
    static CURRENT: RefCell<Option<SimulatedDisk>> = const { RefCell::new(None) };
}

/// The disk of this thread.
pub(super) fn current() -> Option<SimulatedDisk> {
    CURRENT.with_borrow(Clone::clone)
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    /// Before each call another thread may come.
    turns: Option<Turns>,
}

/// What goes wrong, and at which operation; the first has number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// The power fails after so many operations: whatever follows is refused.
    PowerAfter(u64),
    /// This operation fails and has no effect. A sync that fails throws away what was to be synced.
    ErrorBefore(u64),
    /// This operation has its effect and fails all the same.
    ErrorAfter(u64),
}

#[derive(Debug)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    made: u64,
    /// Operations so far.
    operations: u64,
    fault: Option<DiskFault>,
    is_off: bool,
}

#[derive(Clone, Debug)]
enum Inode {
    File {
        content: Vec<u8>,
        /// What the newest sync made durable.
        durable: Vec<u8>,
        /// A sync has failed: what later ones say means nothing.
        is_poisoned: bool,
    },
    Directory {
        entries: BTreeMap<String, u64>,
        durable: BTreeMap<String, u64>,
        /// What was changed since the newest sync: names that lead somewhere now, or nowhere. Those of
        /// one call survive together or not at all.
        pending: Vec<Vec<(String, Option<u64>)>>,
    },
}

/// An open file of a simulated disk.
#[derive(Debug)]
pub struct Open {
    disk: SimulatedDisk,
    inode: u64,
}

impl Default for State {
    fn default() -> Self {
        let inodes = [(ROOT, Inode::directory())].into();
        Self { inodes, made: ROOT, operations: 0, fault: None, is_off: false }
    }
}

impl Inode {
    fn directory() -> Self {
        Self::Directory { entries: BTreeMap::new(), durable: BTreeMap::new(), pending: Vec::new() }
    }
}

impl SimulatedDisk {
    /// While this is held, the thread sees this disk instead of the machine's.
    pub fn mount(&self) -> Mounted {
        CURRENT.with_borrow_mut(|current| *current = Some(self.clone()));
        Mounted(())
    }

    /// Something goes wrong. Operations are counted from now on.
    pub fn plan(&self, fault: Option<DiskFault>) {
        let mut state = self.state();
        (state.fault, state.operations) = (fault, 0);
    }

    /// So many operations have changed something, or tried to, since the newest plan.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Whether the power has failed.
    pub fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// The power fails and comes back. Of what was not synced, each change survives if `survives`
    /// says so, and of what was written to a file a part that `survives` draws: it gives a number
    /// below its argument.
    pub fn power_cut(&self, survives: &mut dyn FnMut(u64) -> u64) {
        let mut state = self.state();
        (state.is_off, state.fault) = (false, None);
        for inode in state.inodes.values_mut() {
            match inode {
                Inode::File { content, durable, is_poisoned } => {
                    let mut left = durable.clone();
                    if content.len() > durable.len() && survives(2) == 1 {
                        let more = survives((content.len() - durable.len()) as u64 + 1) as usize;
                        left.extend_from_slice(&content[durable.len()..durable.len() + more]);
                        // The length is a thing of its own: blocks that were not written hold zeros.
                        if survives(4) == 0 {
                            left.resize(content.len(), 0);
                        }
                    }
                    (*content, *durable, *is_poisoned) = (left.clone(), left, false);
                }
                Inode::Directory { entries, durable, pending } => {
                    for change in pending.drain(..).filter(|_| survives(2) == 1) {
                        change.into_iter().for_each(|it| apply(durable, it));
                    }
                    entries.clone_from(durable);
                }
            }
        }
        state.forget_unreachable();
    }

    /// The same disk, for threads that take turns at its calls.
    pub fn with_turns(&self, turns: Turns) -> Self {
        Self { state: self.state.clone(), turns: Some(turns) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        if let Some(turns) = &self.turns {
            turns.wait();
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn create_new(&self, path: &Path) -> io::Result<Open> {
        let inode = self.state().change(|state| {
            let (directory, name) = state.place(path)?;
            if state.entries(directory)?.contains_key(&name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let file = Inode::File { content: Vec::new(), durable: Vec::new(), is_poisoned: false };
            let inode = state.add(file);
            state.edit(directory, vec![(name, Some(inode))]);
            Ok(inode)
        })?;
        Ok(Open { disk: self.clone(), inode })
    }

    pub(super) fn open(&self, path: &Path) -> io::Result<Open> {
        let state = self.state();
        state.power()?;
        let inode = state.find(path)?;
        drop(state);
        Ok(Open { disk: self.clone(), inode })
    }

    pub(super) fn metadata(&self, path: &Path) -> io::Result<Meta> {
        let state = self.state();
        state.power()?;
        let inode = state.find(path)?;
        let meta = Meta {
            is_file: false,
            is_directory: false,
            bytes: 0,
            identity: (1, inode),
            modified: None,
        };
        Ok(match &state.inodes[&inode] {
            Inode::File { content, .. } => {
                Meta { is_file: true, bytes: content.len() as u64, ..meta }
            }
            Inode::Directory { .. } => Meta { is_directory: true, ..meta },
        })
    }

    pub(super) fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.state().change(|state| {
            let (directory, name) = state.place(path)?;
            if state.entries(directory)?.contains_key(&name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let inode = state.add(Inode::directory());
            state.edit(directory, vec![(name, Some(inode))]);
            Ok(())
        })
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().change(|state| {
            let inode = state.find(from)?;
            let ((old, old_name), (new, new_name)) = (state.place(from)?, state.place(to)?);
            if old == new {
                state.edit(old, vec![(old_name, None), (new_name, Some(inode))]);
            } else {
                state.edit(new, vec![(new_name, Some(inode))]);
                state.edit(old, vec![(old_name, None)]);
            }
            Ok(())
        })
    }

    pub(super) fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().change(|state| {
            let inode = state.find(from)?;
            let (directory, name) = state.place(to)?;
            if state.entries(directory)?.contains_key(&name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.edit(directory, vec![(name, Some(inode))]);
            Ok(())
        })
    }

    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.state().change(|state| {
            state.find(path)?;
            let (directory, name) = state.place(path)?;
            state.edit(directory, vec![(name, None)]);
            Ok(())
        })
    }

    pub(super) fn remove_directory_and_content(&self, path: &Path) -> io::Result<()> {
        for name in self.names(path)? {
            let inside = path.join(name);
            if self.metadata(&inside)?.is_directory {
                self.remove_directory_and_content(&inside)?;
            } else {
                self.remove_file(&inside)?;
            }
        }
        self.remove_file(path)
    }

    pub(super) fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.power()?;
        Ok(state.entries(state.find(directory)?)?.keys().cloned().collect())
    }

    pub(super) fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.state().change(|state| {
            let inode = state.find(directory)?;
            if let Some(Inode::Directory { entries, durable, pending }) =
                state.inodes.get_mut(&inode)
            {
                durable.clone_from(entries);
                pending.clear();
            }
            Ok(())
        })
    }
}

impl Open {
    pub(super) fn content(&self) -> Vec<u8> {
        match self.disk.state().inodes.get(&self.inode) {
            Some(Inode::File { content, .. }) => content.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.state().power()?;
        let content = self.content();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = content.get(from..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let inode = self.inode;
        self.disk.state().change(|state| {
            if let Some(Inode::File { content, .. }) = state.inodes.get_mut(&inode) {
                content.extend_from_slice(bytes);
            }
            Ok(bytes.len())
        })
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let inode = self.inode;
        let result = state.change(|state| {
            if let Some(Inode::File { content, durable, is_poisoned: false }) =
                state.inodes.get_mut(&inode)
            {
                durable.clone_from(content);
            }
            Ok(())
        });
        if result.is_err()
            && let Some(Inode::File { is_poisoned, .. }) = state.inodes.get_mut(&inode)
        {
            *is_poisoned = true;
        }
        result
    }
}

impl State {
    fn power(&self) -> io::Result<()> {
        if self.is_off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    /// Does an operation that changes something, or not, as it was planned.
    fn change<R>(&mut self, make: impl FnOnce(&mut Self) -> io::Result<R>) -> io::Result<R> {
        self.power()?;
        if self.fault == Some(DiskFault::PowerAfter(self.operations)) {
            self.is_off = true;
            return Err(io::Error::other("the power has failed"));
        }
        self.operations += 1;
        let ill = || Err(io::Error::other("the disk is ill"));
        match self.fault {
            Some(DiskFault::ErrorBefore(at)) if at == self.operations => ill(),
            Some(DiskFault::ErrorAfter(at)) if at == self.operations => {
                make(self)?;
                ill()
            }
            _ => make(self),
        }
    }

    fn add(&mut self, inode: Inode) -> u64 {
        self.made += 1;
        self.inodes.insert(self.made, inode);
        self.made
    }

    fn entries(&self, directory: u64) -> io::Result<&BTreeMap<String, u64>> {
        match self.inodes.get(&directory) {
            Some(Inode::Directory { entries, .. }) => Ok(entries),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        let mut inode = ROOT;
        for component in path.components() {
            if let Component::Normal(name) = component {
                let found = self.entries(inode)?.get(&text(name)?);
                inode = *found.ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(inode)
    }

    /// The directory of a path, and its name there.
    fn place(&self, path: &Path) -> io::Result<(u64, String)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let directory = self.find(path.parent().unwrap_or(Path::new("/")))?;
        self.entries(directory)?;
        Ok((directory, text(name)?))
    }

    fn edit(&mut self, directory: u64, changes: Vec<(String, Option<u64>)>) {
        if let Some(Inode::Directory { entries, pending, .. }) = self.inodes.get_mut(&directory) {
            changes.iter().cloned().for_each(|it| apply(entries, it));
            pending.push(changes);
        }
    }

    fn forget_unreachable(&mut self) {
        let mut reached = BTreeMap::new();
        let mut open = vec![ROOT];
        while let Some(number) = open.pop() {
            let Some(inode) = self.inodes.remove(&number) else { continue };
            if let Inode::Directory { entries, .. } = &inode {
                open.extend(entries.values());
            }
            reached.insert(number, inode);
        }
        self.inodes = reached;
    }
}

fn apply(entries: &mut BTreeMap<String, u64>, (name, inode): (String, Option<u64>)) {
    match inode {
        Some(inode) => drop(entries.insert(name, inode)),
        None => drop(entries.remove(&name)),
    }
}

fn text(name: &OsStr) -> io::Result<String> {
    name.to_str().map(str::to_owned).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// The thread sees a simulated disk as long as this is held.
#[derive(Debug)]
pub struct Mounted(());

impl Drop for Mounted {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| *current = None);
    }
}
