//! [`AlignmentGroups`]: sources that are to be about equally far in event time, as one task sees it.
//!
//! A source of a group tells the job master how far it is, each interval and at once when it has to wait,
//! and reads no further than the job master says: the least of the group and the drift that is allowed.
//! Before the first answer it reads until it knows a time at all. Nothing of this is state.

use crate::context::TaskContext;
use millstream_core::OperatorError;
use millstream_core::job_graph::RuntimeMode;
use millstream_core::time::{MIN_WATERMARK, Timestamp};
use millstream_shuffle::element::Watermark;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So many groups a task may belong to.
const GROUPS_MAX: usize = 64;

/// So many bytes the name of a group may have.
const NAME_BYTES_MAX: usize = 256;

/// What a strategy says of alignment.
#[derive(Clone, Debug)]
pub(super) struct AlignmentOptions {
    pub(super) group: Arc<str>,
    pub(super) drift_ms: i64,
    pub(super) interval_ms: i64,
}

/// What is to be told of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlignmentReport {
    /// The group.
    pub group: Arc<str>,
    /// So many milliseconds the task may be ahead of the least of the group.
    pub drift_ms: i64,
    /// How far it is; nothing: nobody has to wait for it.
    pub watermark: Option<Timestamp>,
}

/// The alignment groups of one task, shared by its operators that know of time and the task itself, which
/// reads or does not. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AlignmentGroups(Arc<Mutex<Vec<Member>>>);

/// The task as a member of a group.
#[derive(Debug)]
struct Member {
    options: AlignmentOptions,
    /// How far it is; nothing: nobody has to wait for it.
    reached: Option<Timestamp>,
    /// So far it may go; nothing: that is not known yet.
    allowed: Option<Timestamp>,
    /// There is something to tell.
    due: bool,
}

impl Member {
    fn waits(&self) -> bool {
        let waits = |reached| self.allowed.is_none_or(|allowed| reached > allowed);
        self.reached.is_some_and(|reached| reached != MIN_WATERMARK && waits(reached))
    }
}

/// An operator's place in a group.
#[derive(Debug)]
pub(super) struct AlignmentMember {
    groups: AlignmentGroups,
    at: usize,
    pub(super) interval_ms: i64,
}

impl AlignmentGroups {
    fn lock(&self) -> MutexGuard<'_, Vec<Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A strategy's group, unless there is nothing to align: without watermarks before the end of the input.
    pub(super) fn join(
        options: AlignmentOptions,
        context: &TaskContext,
    ) -> Result<Option<AlignmentMember>, OperatorError> {
        if context.mode == RuntimeMode::Batch {
            return Ok(None);
        }
        let groups = context.alignment.clone();
        let mut members = groups.lock();
        let group = &options.group;
        if group.is_empty() || group.len() > NAME_BYTES_MAX {
            return Err(OperatorError::new(format!(
                "the name of an alignment group has 1 to {NAME_BYTES_MAX} bytes, not {}",
                group.len()
            )));
        }
        if members.iter().any(|member| member.options.group == *group) {
            return Err(OperatorError::new(format!(
                "alignment group `{group}` is named twice for the records of one source: the later \
                 strategy replaces the earlier one, so name it in that one only"
            )));
        }
        if members.len() == GROUPS_MAX {
            return Err(OperatorError::new(format!(
                "a task cannot belong to more than {GROUPS_MAX} alignment groups"
            )));
        }
        let (at, interval_ms) = (members.len(), options.interval_ms);
        let reached = Some(MIN_WATERMARK);
        members.push(Member { options, reached, allowed: None, due: true });
        drop(members);
        Ok(Some(AlignmentMember { groups, at, interval_ms }))
    }

    /// Whether the task belongs to none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether the task is so far ahead of a group that it is not to read.
    pub fn waits(&self) -> bool {
        self.lock().iter().any(Member::waits)
    }

    /// What is to be told now.
    pub fn take_reports(&self) -> Vec<AlignmentReport> {
        let mut members = self.lock();
        let report = |member: &mut Member| {
            let (group, drift_ms) = (member.options.group.clone(), member.options.drift_ms);
            let due = std::mem::take(&mut member.due);
            due.then_some(AlignmentReport { group, drift_ms, watermark: member.reached })
        };
        members.iter_mut().filter_map(report).collect()
    }

    /// So far the task may go, as far as this group is concerned.
    pub fn allow(&self, group: &str, watermark: Timestamp) {
        let mut members = self.lock();
        let member = members.iter_mut().find(|member| &*member.options.group == group);
        if let Some(member) = member {
            member.allowed = Some(watermark);
        }
    }
}

impl AlignmentMember {
    /// So far time is.
    pub(super) fn reached(&self, watermark: Watermark) {
        let mut members = self.groups.lock();
        let Some(member) = members.get_mut(self.at) else { return };
        let (waited, counted) = (member.waits(), member.reached.is_some());
        member.reached = (!watermark.is_idle()).then_some(watermark.time);
        member.due |= (member.waits() && !waited) || member.reached.is_some() != counted;
    }

    /// The time to tell where it is has come.
    pub(super) fn tell(&self) {
        if let Some(member) = self.groups.lock().get_mut(self.at) {
            member.due = true;
        }
    }

    /// Whether the task is not to read, for any of its groups.
    pub(super) fn waits(&self) -> bool {
        self.groups.waits()
    }
}

impl AlignmentOptions {
    pub(super) fn new(group: &str, drift: Duration, interval: Duration) -> Self {
        let (drift_ms, interval_ms) =
            (super::strategy::millis(drift), super::strategy::millis(interval));
        Self { group: group.into(), drift_ms, interval_ms: interval_ms.max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(context: &TaskContext) -> AlignmentMember {
        let options =
            AlignmentOptions::new("g", Duration::from_millis(100), Duration::from_secs(1));
        AlignmentGroups::join(options, context).expect("the first").expect("streaming")
    }

    #[test]
    fn a_task_waits_where_it_is_further_than_it_may_and_says_so_at_once() {
        let context = TaskContext::alone();
        let (member, groups) = (member(&context), context.alignment.clone());
        let report =
            |watermark| vec![AlignmentReport { group: "g".into(), drift_ms: 100, watermark }];
        assert_eq!(groups.take_reports(), report(Some(MIN_WATERMARK)), "it exists");
        assert!(!groups.waits(), "it may look how far it is");
        member.reached(Watermark::active(50));
        assert!(groups.waits(), "nobody knows how far the others are");
        assert_eq!(groups.take_reports(), report(Some(50)));
        assert_eq!(groups.take_reports(), []);
        groups.allow("g", 120);
        member.reached(Watermark::active(120));
        assert!(!groups.waits() && groups.take_reports().is_empty());
        member.reached(Watermark::active(121));
        assert!(groups.waits());
        assert_eq!(groups.take_reports(), report(Some(121)));
        groups.allow("another", i64::MAX);
        assert!(groups.waits());
        member.reached(Watermark::idle(121));
        assert!(!groups.waits(), "nobody waits for it, nor it for anybody");
        assert_eq!(groups.take_reports(), report(None));
    }

    #[test]
    fn a_group_that_is_named_twice_in_a_chain_is_refused() {
        let context = TaskContext::alone();
        let _first = member(&context);
        let options = AlignmentOptions::new("g", Duration::ZERO, Duration::ZERO);
        let error = AlignmentGroups::join(options, &context).expect_err("the second");
        assert!(error.message.contains("`g` is named twice"), "{error}");
    }

    #[test]
    fn in_batch_mode_there_is_nothing_to_align() {
        let context = TaskContext { mode: RuntimeMode::Batch, ..TaskContext::alone() };
        let options = AlignmentOptions::new("g", Duration::ZERO, Duration::ZERO);
        assert!(AlignmentGroups::join(options, &context).expect("no error").is_none());
        assert!(context.alignment.is_empty());
    }
}
