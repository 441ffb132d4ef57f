//! [`WatermarkAlignment`]: how far the sources of an alignment group are, and how far each may go. Pure.
//!
//! Each source of a group says how far its event time is, again and again, and is answered: the least of the
//! group, and the drift that the source allows itself. Who waits and may go on is told at once when the
//! least has risen. An answer that is lost comes with the next report; a report that is late holds the others
//! back and does no harm. Who is idle, has ended or is lost holds nobody back.

use millstream_core::ids::ExecutionAttemptId;
use millstream_core::time::Timestamp;
use millstream_rpc::protocol::job_master::WatermarkReport;
use std::collections::BTreeMap;

/// The alignment groups of a job.
#[derive(Clone, Debug, Default)]
pub struct WatermarkAlignment {
    groups: BTreeMap<String, BTreeMap<ExecutionAttemptId, Member>>,
}

/// A source of a group.
#[derive(Clone, Debug)]
struct Member {
    drift_ms: i64,
    /// How far it is; nothing: nobody waits for it.
    watermark: Option<Timestamp>,
    /// So far it may go, as it was told last.
    told: Option<Timestamp>,
    /// It has reported and was not answered.
    asked: bool,
}

/// How far a source may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Who.
    pub attempt: ExecutionAttemptId,
    /// In which group.
    pub group: String,
    /// It reads no further.
    pub watermark: Timestamp,
}

impl WatermarkAlignment {
    /// A source has said how far it is.
    pub fn on_report(&mut self, report: WatermarkReport) {
        let WatermarkReport { attempt, group, drift_ms, watermark } = report;
        let members = self.groups.entry(group).or_default();
        let told = members.get(&attempt).and_then(|member| member.told);
        members.insert(attempt, Member { drift_ms, watermark, told, asked: true });
    }

    /// Forgets all attempts but these: the others have ended, however they have.
    pub fn retain(&mut self, keep: impl Fn(ExecutionAttemptId) -> bool) {
        self.groups.retain(|_, members| {
            members.retain(|attempt, _| keep(*attempt));
            !members.is_empty()
        });
    }

    /// Whether there is nobody to align.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Who is to be told how far it may go. Not to be asked while some source of the job has not begun: it
    /// may be the one that all others have to wait for.
    pub fn allow(&mut self) -> Vec<Allowance> {
        let mut allowed = Vec::new();
        for (group, members) in &mut self.groups {
            let least = members.values().filter_map(|member| member.watermark).min();
            for (attempt, member) in members {
                let watermark =
                    least.map_or(i64::MAX, |least| least.saturating_add(member.drift_ms));
                if std::mem::take(&mut member.asked) || member.may_go_on(watermark) {
                    member.told = Some(watermark);
                    allowed.push(Allowance { attempt: *attempt, group: group.clone(), watermark });
                }
            }
        }
        allowed
    }
}

impl Member {
    /// Whether it waits, and would not if it knew this.
    fn may_go_on(&self, allowed: Timestamp) -> bool {
        let waits = |at: Timestamp| self.told.is_none_or(|told| at > told);
        self.watermark.is_some_and(|at| at <= allowed && waits(at))
    }
}

#[cfg(test)]
#[path = "watermark_alignment_test.rs"]
mod tests;
