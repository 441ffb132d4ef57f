//! Embedded mode: the job runs in this process.

use millstream_api::error::{Error, ErrorCode};
use millstream_api::executor::{JobClient, JobHandle, JobResult, PipelineExecutor};
use millstream_core::ids::{
    AllocationId, ExecutionAttemptId, ExecutionGraphId, JobId, PartitionId, ResourceId,
};
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_operator::plan::Plan;
use millstream_rpc::protocol::deployment::*;
use millstream_rpc::protocol::job_link::{FromJobProcess, ToJobProcess};
use millstream_task::host::TaskHost;
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Instant;

/// Runs plans in this process.
pub struct LocalExecutor;

struct Local {
    host: Option<TaskHost>,
    events: mpsc::Receiver<FromJobProcess>,
    plan: Arc<Plan>,
    left: usize,
    started: Instant,
}

impl PipelineExecutor for LocalExecutor {
    fn submit(
        &self,
        plan: Plan,
        _plan_values: &BTreeMap<String, Vec<u8>>,
    ) -> millstream_api::Result<JobClient> {
        let plan = Arc::new(plan);
        let (send, events) = mpsc::channel();
        let send = std::sync::Mutex::new(send);
        let host = TaskHost::new(
            plan.clone(),
            ResourceId("local".into()),
            Default::default(),
            Default::default(),
            Arc::new(move |event| drop(send.lock().unwrap().send(event))),
        );
        let graph = ExecutionGraphId(1);
        let attempt = |vertex: usize, subtask| ExecutionAttemptId {
            graph,
            vertex: plan.graph.vertices[vertex].id,
            subtask,
            attempt: 0,
        };
        let mut left = 0;
        for (v, vertex) in plan.graph.vertices.iter().enumerate() {
            for subtask in 0..vertex.parallelism {
                left += 1;
                let me = attempt(v, subtask);
                let partitions = plan.graph.outputs_of(v).map(|(_, edge)| {
                    let target = &plan.graph.vertices[edge.target];
                    let range =
                        edge.ship.consumers_of(subtask, vertex.parallelism, target.parallelism);
                    ResultPartitionDescriptor {
                        partition: PartitionId { data_set: edge.data_set, producer: me },
                        consumer: target.id,
                        ship: edge.ship,
                        exchange: edge.exchange,
                        consumer_parallelism: target.parallelism,
                        consumer_max_parallelism: target.max_parallelism,
                        first_consumer: range.start,
                        subpartitions: range.end - range.start,
                    }
                });
                let gates = plan.graph.inputs_of(v).map(|(_, edge)| {
                    let source = &plan.graph.vertices[edge.source];
                    let range =
                        edge.ship.producers_of(subtask, source.parallelism, vertex.parallelism);
                    let channels = range.map(|p| {
                        let fed = edge.ship.consumers_of(p, source.parallelism, vertex.parallelism);
                        InputChannelDescriptor {
                            partition: PartitionId {
                                data_set: edge.data_set,
                                producer: attempt(edge.source, p),
                            },
                            subpartition: subtask - fed.start,
                            location: Some(PartitionLocation {
                                resource: ResourceId("local".into()),
                                data_address: String::new(),
                            }),
                        }
                    });
                    InputGateDescriptor {
                        data_set: edge.data_set,
                        ship: edge.ship,
                        channels: channels.collect(),
                    }
                });
                host.handle(ToJobProcess::Deploy(Box::new(TaskDeploymentDescriptor {
                    job: JobId(1),
                    attempt: me,
                    task_name: vertex.name.clone(),
                    allocation: AllocationId(u128::from(subtask)),
                    parallelism: vertex.parallelism,
                    max_parallelism: vertex.max_parallelism,
                    partitions: partitions.collect(),
                    gates: gates.collect(),
                })));
            }
        }
        let started = Instant::now();
        Ok(JobClient::new(Box::new(Local {
            host: Some(host),
            events,
            plan: plan.clone(),
            left,
            started,
        })))
    }
}

impl JobHandle for Local {
    fn job(&self) -> JobId {
        JobId(1)
    }

    fn status(&self) -> millstream_api::Result<JobStatus> {
        Ok(JobStatus::Running)
    }

    fn cancel(&self) -> millstream_api::Result<()> {
        Ok(())
    }

    fn wait(&mut self) -> millstream_api::Result<JobResult> {
        let host = self.host.take().expect("waited for once");
        let mut splits: BTreeMap<_, _> = self
            .plan
            .graph
            .vertices
            .iter()
            .map(|v| {
                (v.id, v.splits.clone().into_iter().collect::<std::collections::VecDeque<_>>())
            })
            .collect();
        while self.left > 0 {
            match self.events.recv().expect("the host lives") {
                FromJobProcess::TaskState(state) => match state.state {
                    ExecutionState::Finished => self.left -= 1,
                    ExecutionState::Failed => {
                        let failure = state.failure.expect("a failure says why");
                        return Err(Error::new(ErrorCode::JobFailed, "the job has failed")
                            .why(failure.message));
                    }
                    _ => (),
                },
                FromJobProcess::RequestNextSplit { vertex, attempt } => {
                    let split = splits.get_mut(&vertex).and_then(|s| s.pop_front());
                    host.handle(ToJobProcess::NextSplit { attempt, split });
                }
                _ => (),
            }
        }
        host.handle(ToJobProcess::Dismiss);
        host.join();
        Ok(JobResult { job: JobId(1), runtime: self.started.elapsed() })
    }
}
