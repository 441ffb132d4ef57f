//! Timers follow from the state: after each step they are set to what it calls for.
//!
//! A deadline that moved back is left alone: the timer fires, nothing is due, and it is set anew.
//! That spares an effect per heartbeat. One that moved forward, or is not needed any more, is
//! changed at once.
//!
//! A job master is one session: its timers die with it. Within it, a timer that comes too late or
//! twice finds nothing due; only restarts have names, since an overtaken one must not act.

use super::{Context, JobMaster, JobMasterTimer, moment};
use crate::mutant;
use millstream_core::time::Mono;
use millstream_rpc::machine::Effect;
use std::collections::BTreeMap;

impl JobMaster {
    pub(super) fn on_timer(&mut self, cx: &mut Context<'_>, timer: JobMasterTimer) {
        self.armed.remove(&timer);
        match timer {
            JobMasterTimer::Registration => self.on_registration_timer(cx),
            JobMasterTimer::HeartbeatRound => self.on_heartbeat_round(cx),
            JobMasterTimer::WorkerTimeout => self.on_worker_timeout(cx),
            JobMasterTimer::ResourceManagerTimeout => self.on_resource_manager_timeout(cx),
            // Declaring is part of what follows every step.
            JobMasterTimer::Declaration => {}
            JobMasterTimer::SlotRequestTimeout => self.on_slot_request_timeout(cx),
            JobMasterTimer::SlotIdle => self.return_idle_slots(cx),
            // Coordinating is part of what follows every step.
            JobMasterTimer::Checkpoint => self.recover_again(cx),
            JobMasterTimer::Restart(id) => {
                let stale = self.scheduler.on_restart_timer(id, moment(cx));
                self.counters.stale_timers += u64::from(stale);
            }
        }
    }

    fn deadlines(&self, now: Mono) -> BTreeMap<JobMasterTimer, Mono> {
        let config = &self.config;
        let needs = self.pool.requirements();
        let waiting_since = self.scheduler.waiting_since();
        let named = [
            (JobMasterTimer::Registration, self.link.wake),
            (JobMasterTimer::HeartbeatRound, self.workers.next_round),
            (JobMasterTimer::WorkerTimeout, self.workers.heartbeats.next_deadline()),
            (JobMasterTimer::ResourceManagerTimeout, self.link.heartbeats.next_deadline()),
            (
                JobMasterTimer::Declaration,
                self.link.declare_at(&needs, config.slot_request_max_interval_ms),
            ),
            (
                JobMasterTimer::SlotRequestTimeout,
                waiting_since.map(|since| since + config.slot_request_timeout_ms),
            ),
            (JobMasterTimer::SlotIdle, self.pool.next_idle(config.slot_idle_timeout_ms)),
            (JobMasterTimer::Checkpoint, self.checkpoints.next_deadline()),
        ];
        let named = named.into_iter().filter_map(|(timer, at)| Some((timer, at?)));
        let restarts = self.scheduler.restarts().iter();
        let restarts = restarts
            .filter(|(_, pending)| pending.until > now)
            .map(|(id, pending)| (JobMasterTimer::Restart(id), pending.until));
        named.chain(restarts).collect()
    }

    pub(super) fn arm_timers(&mut self, cx: &mut Context<'_>) {
        let deadlines = self.deadlines(cx.now);
        let restarts = self.scheduler.restarts();
        self.armed.retain(|timer, _| {
            // A restart whose backoff ends with this very millisecond still waits for its timer.
            let pending = matches!(timer, JobMasterTimer::Restart(id)
                if restarts.iter().any(|(known, _)| known == *id));
            let pending = pending && !mutant::on("due_restart_timer_cleared");
            let needed = deadlines.contains_key(timer) || pending;
            if !needed {
                cx.out.push(Effect::ClearTimer { timer: *timer });
            }
            needed
        });
        for (timer, at) in deadlines {
            let armed = self.armed.get(&timer);
            if armed.is_none_or(|armed| at < *armed) {
                self.armed.insert(timer, at);
                cx.out.push(Effect::SetTimer { timer, at });
            }
        }
    }

    pub(super) fn clear_timers(&mut self, cx: &mut Context<'_>) {
        for timer in std::mem::take(&mut self.armed).into_keys() {
            cx.out.push(Effect::ClearTimer { timer });
        }
    }
}
