//! [`Progress`]: how far the windows of a subtask have fired.
//!
//! Watermarks are not state, but what came of them is: a window that has fired must not fire again after
//! a restore, and a record that was late stays so. So a subtask saves, with the key groups that it has,
//! how far it was. When groups of several former subtasks come together, each part is remembered until
//! time has come so far again.

use crate::context::TaskContext;
use crate::item;
use millstream_checkpoint::handle::ListMode;
use millstream_checkpoint::snapshot::{ListSnapshot, OperatorSnapshot, RestoredOperator};
use millstream_core::OperatorError;
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
use millstream_core::time::{MIN_WATERMARK, Timestamp};

/// The name of the state.
const PROGRESS: &str = "window-progress";

/// How far some key groups are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    /// Records before it were late.
    pub(super) watermark: Timestamp,
    /// Windows that end by then have fired.
    pub(super) fired: Timestamp,
    /// Of the window with this end, the keys with lesser hashes have fired.
    pub(super) partly: Option<(Timestamp, u64)>,
}

/// An item of the state: first group, first group after it, and what they have reached.
type Item = ((u32, u32), (Timestamp, Timestamp, Option<(Timestamp, u64)>));

/// How far a subtask is, and what it remembers of former ones.
pub(super) struct Progress {
    pub(super) now: Reached,
    former: Vec<((u32, u32), Reached)>,
    groups: (u32, u32),
    max: MaxParallelism,
}

impl Progress {
    pub(super) fn new(context: &TaskContext) -> Self {
        let (max, parallelism) = (context.max_parallelism, context.parallelism);
        let KeyGroupRange(groups) = KeyGroupRange::of_subtask(context.subtask, max, parallelism);
        let now = Reached { watermark: MIN_WATERMARK, fired: MIN_WATERMARK, partly: None };
        Self { now, former: Vec::new(), groups: (groups.start, groups.end), max }
    }

    /// Time begins anew, for other keys.
    pub(super) fn begin_anew(&mut self) {
        self.now = Reached { watermark: MIN_WATERMARK, fired: MIN_WATERMARK, partly: None };
    }

    /// What state it is, as the job graph names it.
    pub(super) fn declared() -> DeclaredState {
        DeclaredState::list(PROGRESS, ListMode::Union, None)
    }

    /// How far the group of a hash is.
    #[inline]
    pub(super) fn of(&self, hash: u64) -> Reached {
        if self.former.is_empty() { self.now } else { self.with_former(hash) }
    }

    /// Whether groups may be at different places.
    pub(super) fn differs(&self) -> bool {
        !self.former.is_empty()
    }

    #[cold]
    fn with_former(&self, hash: u64) -> Reached {
        let group = KeyGroup::of_hash(hash, self.max).index();
        let of_group = self.former.iter().filter(|((from, to), _)| (*from..*to).contains(&group));
        of_group.fold(self.now, |reached, (_, former)| reached.or(*former))
    }

    /// Whether a former subtask has fired this window for the hash.
    pub(super) fn has_fired(&self, end: Timestamp, hash: u64) -> bool {
        if self.former.is_empty() {
            return false;
        }
        let Reached { fired, partly, .. } = self.with_former(hash);
        end <= fired || partly.is_some_and(|(of, below)| of == end && hash < below)
    }

    /// Everything that the watermark makes due has fired.
    pub(super) fn settle(&mut self) {
        self.now.fired = self.now.fired.max(self.now.watermark.saturating_add(1));
        let watermark = self.now.watermark;
        self.former.retain(|(_, former)| former.watermark > watermark);
    }

    pub(super) fn snapshot(&self, snapshot: &mut OperatorSnapshot) {
        let own = [(self.groups, self.now)];
        let parts = if self.former.is_empty() { &own[..] } else { &self.former };
        let items = parts.iter().filter_map(|((from, to), reached)| {
            let groups = ((*from).max(self.groups.0), (*to).min(self.groups.1));
            let Reached { watermark, fired, partly } = reached.or(self.now);
            let entry: Item = (groups, (watermark, fired, partly));
            (groups.0 < groups.1).then(|| item::encode(&entry))
        });
        snapshot.lists.push(ListSnapshot {
            name: PROGRESS.to_owned(),
            mode: ListMode::Union,
            schema: None,
            items: items.collect(),
        });
    }

    pub(super) fn restore(&mut self, restored: &RestoredOperator) -> Result<(), OperatorError> {
        for bytes in restored.items(PROGRESS) {
            let entry: Item = item::decode("how far windows have fired", &bytes)?;
            let (groups, (watermark, fired, partly)) = entry;
            self.former.push((groups, Reached { watermark, fired, partly }));
        }
        Ok(())
    }
}

impl Reached {
    /// The further of the two.
    fn or(self, other: Self) -> Self {
        Self {
            watermark: self.watermark.max(other.watermark),
            fired: self.fired.max(other.fired),
            partly: self.partly.max(other.partly),
        }
    }
}
