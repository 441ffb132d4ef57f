//! `TaskManagersInfo`, `TaskManagerInfo`, `TaskManagerDetailsInfo`.

use millstream_core::ids::{JobId, ResourceId};
use millstream_core::time::Timestamp;
use millstream_rpc::protocol::details::TaskManagerDetails;
use millstream_rpc::protocol::resource::ResourceProfile;
use millstream_rpc::protocol::resource_manager::{HardwareDescription, MemoryConfiguration};
use serde::Serialize;
use std::collections::BTreeMap;

/// All workers.
#[derive(Serialize)]
pub(crate) struct TaskManagers {
    pub(crate) taskmanagers: Vec<TaskManager>,
}

/// A worker.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskManager {
    id: ResourceId,
    path: String,
    data_port: i32,
    jmx_port: i32,
    /// In spite of its name the time of the last heartbeat, as in Flink.
    time_since_last_heartbeat: Timestamp,
    slots_number: u32,
    free_slots: u32,
    assigned_tasks: u32,
    total_resource: Resource,
    free_resource: Resource,
    hardware: Hardware,
    memory_configuration: Memory,
    blocked: bool,
}

/// A worker with its slots.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskManagerWithSlots {
    #[serde(flatten)]
    task_manager: TaskManager,
    allocated_slots: Vec<AllocatedSlot>,
    metrics: ProcessMetrics,
}

/// `SlotInfo`: a slot that a job has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AllocatedSlot {
    job_id: JobId,
    resource: Resource,
    assigned_tasks: u32,
}

/// `ResourceProfileInfo`, in cores and mebibytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    cpu_cores: f64,
    task_heap_memory: u64,
    task_off_heap_memory: u64,
    managed_memory: u64,
    network_memory: u64,
    extended_resources: BTreeMap<String, f64>,
}

/// `HardwareDescription`, in bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hardware {
    cpu_cores: u32,
    physical_memory: u64,
    free_memory: u64,
    managed_memory: u64,
}

/// `TaskExecutorMemoryConfiguration`, in bytes. What only a JVM has is 0.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    framework_heap: u64,
    task_heap: u64,
    framework_off_heap: u64,
    task_off_heap: u64,
    network_memory: u64,
    managed_memory: u64,
    jvm_metaspace: u64,
    jvm_overhead: u64,
    total_flink_memory: u64,
    total_process_memory: u64,
}

/// `TaskManagerMetricsInfo`: of a JVM and of Netty, so that all of it is 0 here.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessMetrics {
    heap_used: u64,
    heap_committed: u64,
    heap_max: u64,
    non_heap_used: u64,
    non_heap_committed: u64,
    non_heap_max: u64,
    direct_count: u64,
    direct_used: u64,
    direct_max: u64,
    mapped_count: u64,
    mapped_used: u64,
    mapped_max: u64,
    netty_shuffle_memory_segments_available: u64,
    netty_shuffle_memory_segments_used: u64,
    netty_shuffle_memory_segments_total: u64,
    netty_shuffle_memory_available: u64,
    netty_shuffle_memory_used: u64,
    netty_shuffle_memory_total: u64,
    garbage_collectors: [u64; 0],
}

impl TaskManager {
    pub(crate) fn of(details: &TaskManagerDetails) -> Self {
        let registration = &details.registration;
        let taken = details.slots.slots.values().filter(|slot| slot.allocation.is_some()).count();
        Self {
            id: registration.resource.clone(),
            path: registration.address.to_string(),
            data_port: port_of(&registration.data_address),
            jmx_port: -1,
            time_since_last_heartbeat: details.last_heartbeat,
            slots_number: registration.slots,
            free_slots: registration.slots.saturating_sub(taken as u32),
            assigned_tasks: 0,
            total_resource: Resource::of(&registration.total),
            free_resource: Resource::of(&details.free),
            hardware: Hardware::of(&registration.hardware),
            memory_configuration: Memory::of(&registration.memory),
            blocked: false,
        }
    }
}

impl TaskManagerWithSlots {
    pub(crate) fn of(details: &TaskManagerDetails) -> Self {
        let allocated = details.slots.slots.values().filter_map(|slot| {
            let (_, job_id) = slot.allocation?;
            let resource = Resource::of(&slot.profile);
            Some(AllocatedSlot { job_id, resource, assigned_tasks: 0 })
        });
        Self {
            task_manager: TaskManager::of(details),
            allocated_slots: allocated.collect(),
            metrics: ProcessMetrics::default(),
        }
    }
}

impl Resource {
    fn of(profile: &ResourceProfile) -> Self {
        let mebibytes = |bytes: u64| bytes >> 20;
        Self {
            cpu_cores: f64::from(profile.cpu_millis) / 1000.0,
            task_heap_memory: mebibytes(profile.task_memory),
            task_off_heap_memory: 0,
            managed_memory: mebibytes(profile.managed_memory),
            network_memory: mebibytes(profile.network_memory),
            extended_resources: BTreeMap::new(),
        }
    }
}

impl Hardware {
    fn of(hardware: &HardwareDescription) -> Self {
        Self {
            cpu_cores: hardware.cpu_cores,
            physical_memory: hardware.physical_memory,
            free_memory: hardware.free_memory,
            managed_memory: hardware.managed_memory,
        }
    }
}

impl Memory {
    fn of(memory: &MemoryConfiguration) -> Self {
        Self {
            framework_heap: 0,
            task_heap: memory.task,
            framework_off_heap: 0,
            task_off_heap: 0,
            network_memory: memory.network,
            managed_memory: memory.managed,
            jvm_metaspace: 0,
            jvm_overhead: 0,
            total_flink_memory: memory.task + memory.network + memory.managed,
            total_process_memory: memory.process,
        }
    }
}

/// The port of `host:port`; -1 if there is none.
fn port_of(address: &str) -> i32 {
    let port = address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    port.map_or(-1, i32::from)
}
