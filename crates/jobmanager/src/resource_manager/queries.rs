//! What people ask.

use super::known::TaskExecutor;
use super::machine::ResourceManager;
use millstream_core::ids::ResourceId;
use millstream_rpc::protocol::details::{ClusterResources, TaskManagerDetails};
use millstream_rpc::protocol::resource_manager::ResourceManagerAnswer;
use millstream_rpc::protocol::{Answer, Refusal};

impl ResourceManager {
    pub(super) fn cluster_resources(&self) -> Answer {
        let slots = self.slots.counts();
        let resources = ClusterResources {
            task_managers: self.task_executors.len() as u32,
            slots_total: slots.total(),
            slots_free: slots.free,
        };
        Answer::ResourceManager(ResourceManagerAnswer::ClusterResources(resources))
    }

    pub(super) fn task_managers(&self) -> Answer {
        let all = self.task_executors.values();
        let all = all.map(|worker| self.describe(worker)).collect();
        Answer::ResourceManager(ResourceManagerAnswer::TaskManagers(all))
    }

    pub(super) fn task_manager(&self, resource: &ResourceId) -> Answer {
        match self.task_executors.get(resource) {
            Some(worker) => {
                let one = vec![self.describe(worker)];
                Answer::ResourceManager(ResourceManagerAnswer::TaskManagers(one))
            }
            None => Answer::Refused(Refusal::Unknown(format!("task manager {resource}"))),
        }
    }

    fn describe(&self, worker: &TaskExecutor) -> TaskManagerDetails {
        let resource = &worker.registration.resource;
        TaskManagerDetails {
            registration: worker.registration.clone(),
            instance: worker.instance,
            slots: self.slots.describe(resource),
            last_heartbeat: worker.last_heartbeat,
            free: self.slots.free_resources(resource),
        }
    }
}
