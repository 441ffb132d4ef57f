//! The task executor as an endpoint, over whatever runs its job processes.

use super::config::{self, ConfigError};
use super::job_manager::FatalSink;
use millstream_core::config::Configuration;
use millstream_rpc::machine::OpId;
use millstream_rpc::protocol::EndpointName;
use millstream_rpc::shell::{EndpointHandle, Performer, RpcSystem, spawn_endpoint};
use millstream_taskmanager::config::TaskExecutorConfig;
use millstream_taskmanager::op::Op;
use millstream_taskmanager::task_executor::TaskExecutor;

/// Starts job processes, speaks to them and ends them, for one task executor.
pub trait Children: Send + 'static {
    /// Does the work; everything that comes of it is told to the endpoint.
    fn perform(&mut self, op: OpId, what: Op, endpoint: &EndpointHandle<TaskExecutor>);
}

/// Starts a task executor as the endpoint of `rpc`.
pub fn start_task_executor(
    rpc: &RpcSystem,
    configuration: &Configuration,
    base: TaskExecutorConfig,
    children: impl Children,
    fatal: FatalSink,
) -> Result<EndpointHandle<TaskExecutor>, ConfigError> {
    let machine = TaskExecutor::new(config::task_executor(configuration, base)?);
    let work = TaskExecutorWork { children, fatal };
    Ok(spawn_endpoint(rpc, EndpointName::TaskExecutor, machine, move |_| Box::new(work)))
}

struct TaskExecutorWork<C> {
    children: C,
    fatal: FatalSink,
}

impl<C: Children> Performer<TaskExecutor> for TaskExecutorWork<C> {
    fn perform(&mut self, op: OpId, what: Op, endpoint: &EndpointHandle<TaskExecutor>) {
        self.children.perform(op, what, endpoint);
    }

    fn fatal(&mut self, reason: String) {
        (self.fatal)(reason);
    }
}
