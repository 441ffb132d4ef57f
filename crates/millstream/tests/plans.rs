//! What a plan says of the program before anything of it runs: its states, and what the user should
//! know.

use millstream::api::args::Args;
use millstream::api::error::ErrorCode;
use millstream::api::{JobClient, PipelineExecutor};
use millstream::core::checkpoint::{CheckpointId, SnapshotKind};
use millstream::core::ids::JobId;
use millstream::core::job_graph::OperatorInfo;
use millstream::core::job_state::{DeclaredState, ListMode, StateShape};
use millstream::core::key_group::{KeyGroupRange, MaxParallelism};
use millstream::operator::plan::Plan;
use millstream::prelude::*;
use millstream::{sink, source};
use millstream_checkpoint::compatibility::Comparison;
use millstream_checkpoint::handle::{
    FilePart, ListState as WrittenList, OperatorState, StateFile, TableSchema, TableState,
    TaskState,
};
use millstream_checkpoint::metadata::{CheckpointMetadata, SeenSplits, VertexState};
use millstream_checkpoint::native::TableFormat;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Keeps the plan instead of running it.
#[derive(Clone, Default)]
struct Keeper(Rc<RefCell<Option<Plan>>>);

impl PipelineExecutor for Keeper {
    fn submit(&self, plan: Plan, _values: &BTreeMap<String, Vec<u8>>) -> Result<JobClient> {
        *self.0.borrow_mut() = Some(plan);
        Err(Error::new(ErrorCode::Process, "only planned"))
    }
}

fn planned(declare: impl FnOnce(&Env)) -> Plan {
    let (plan, error) = plan_or_error(declare);
    plan.unwrap_or_else(|| panic!("{error}"))
}

fn plan_or_error(declare: impl FnOnce(&Env)) -> (Option<Plan>, Error) {
    let keeper = Keeper::default();
    let args = Args::parse([]).expect("well formed");
    let (configuration, executor) = (BTreeMap::new(), Box::new(keeper.clone()));
    let env = Env::with_executor(args, configuration, BTreeMap::new(), executor);
    declare(&env);
    let error = env.execute("plan").expect_err("only planned");
    (keeper.0.take(), error)
}

#[derive(KeyedState)]
struct Account {
    total: u32,
    #[state(alias = "notes")]
    remarks: MapState<u64, String>,
    recent: ListState<i64>,
}

#[derive(OperatorState)]
struct Rules {
    #[state(alias = "old_rules")]
    rules: BroadcastState<u64, String>,
}

#[derive(Clone)]
struct Apply;

impl KeyedBroadcastProcessFunction<u64, u64, u64> for Apply {
    type State = Account;
    type Broadcast = Rules;
    type Out = u64;

    fn process(
        &mut self,
        _record: u64,
        _rules: &Rules,
        _ctx: &mut ProcessContext<'_, u64, Account, u64>,
    ) -> FunctionResult {
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        _record: u64,
        _ctx: &mut OperatorContext<'_, Rules, u64>,
    ) -> FunctionResult {
        Ok(())
    }
}

fn shown(state: &DeclaredState) -> String {
    let aliases = state.aliases.join("|");
    match &state.shape {
        StateShape::Keyed { key, namespace, value } => {
            format!("{}({aliases}): {} {} -> {}", state.name, key.0, namespace.0, value.0)
        }
        StateShape::List { mode, item } => {
            let item = item.as_ref().expect("declared by its type");
            assert_eq!(*mode, ListMode::Broadcast);
            format!("{}({aliases}): broadcast {}", state.name, item.0)
        }
    }
}

#[test]
fn a_plan_names_every_state_with_its_kind_its_keys_and_its_rows() {
    let plan = planned(|env| {
        let numbers = env.source("numbers", source::collection([1_u64]));
        let rules = env.source("rules", source::collection([1_u64]));
        let applied = numbers.key_by(|n| *n).connect_broadcast(&rules).process(Apply).name("apply");
        applied.key_by(|n| *n).count().name("count").sink("nowhere", sink::blackhole());
    });
    let states = |name: &str| {
        let operators = plan.graph.vertices.iter().flat_map(|vertex| &vertex.operators);
        let operator = operators.into_iter().find(|operator| operator.name == name);
        let states = operator.expect("it is in the plan").states.clone();
        states.map(|states| states.iter().map(shown).collect::<Vec<_>>())
    };
    let expected = [
        "value-fields(): u64 () -> Account { total: u32 }",
        "remarks(notes): u64 u64 -> entry { value: string }",
        "recent(): u64 u64 -> entry { value: i64 }",
        "timers-event(): u64 ((), i64) -> ()",
        "timers-processing(): u64 ((), i64) -> ()",
        "rules(old_rules): broadcast (u64, string)",
    ];
    assert_eq!(states("apply").as_deref(), Some(&expected.map(str::to_owned)[..]));
    assert_eq!(states("count"), Some(vec!["aggregate(): u64 () -> u64".to_owned()]));
    // What sources and sinks have, they alone know.
    assert_eq!((states("numbers"), states("nowhere")), (None, None));
}

#[derive(OperatorState)]
struct Recent {
    recent: SplitListState<u64>,
}

#[derive(Clone)]
struct Twice;

impl KeyedBroadcastProcessFunction<u64, u64, u64> for Twice {
    type State = Account;
    type Broadcast = Recent;
    type Out = u64;

    fn process(
        &mut self,
        _record: u64,
        _recent: &Recent,
        _ctx: &mut ProcessContext<'_, u64, Account, u64>,
    ) -> FunctionResult {
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        _record: u64,
        _ctx: &mut OperatorContext<'_, Recent, u64>,
    ) -> FunctionResult {
        Ok(())
    }
}

#[test]
fn two_states_of_an_operator_have_two_names() {
    let (plan, error) = plan_or_error(|env| {
        let numbers = env.source("numbers", source::collection([1_u64]));
        let others = env.source("others", source::collection([1_u64]));
        let twice = numbers.key_by(|n| *n).connect_broadcast(&others).process(Twice);
        twice.sink("nowhere", sink::blackhole());
    });
    assert!(plan.is_none());
    assert!(error.to_string().starts_with("error[E0108]: two states are called `recent`"));
}

#[test]
fn a_source_that_cannot_read_anything_twice_is_told_before_the_job_runs() {
    let plan = planned(|env| {
        let lines = env.source("lines", source::socket_text("localhost:1"));
        let numbers = env.source("numbers", source::collection([1_u64]));
        lines.sink("lines out", sink::blackhole());
        numbers.sink("numbers out", sink::blackhole());
    });
    let [warning] = &plan.warnings[..] else { panic!("{:?}", plan.warnings) };
    assert!(warning.starts_with("source `lines` declared at crates/millstream/tests/plans.rs:"));
    assert!(warning.contains("cannot read anything twice: after a failure records are missing"));
}

/// A checkpoint of this plan, with something in all of its states.
fn checkpoint_of(plan: &Plan) -> CheckpointMetadata {
    let file = StateFile::Inline(Vec::new());
    let part = FilePart { file, index_offset: 0, index_length: 0, rows: 0, bytes: 0 };
    let written = |operator: &OperatorInfo| {
        let mut state = OperatorState::default();
        for DeclaredState { name, shape, .. } in operator.states.iter().flatten().cloned() {
            match shape {
                StateShape::Keyed { key, namespace, value } => state.tables.push(TableState {
                    name,
                    schema: TableSchema { key: key.0, namespace: namespace.0, value: value.0 },
                    groups: KeyGroupRange(0..128),
                    chain: vec![part.clone()],
                    format: TableFormat::Rows,
                }),
                StateShape::List { mode, item } => {
                    let (schema, part) = (item.map(|item| item.0), part.clone());
                    state.lists.push(WrittenList { name, mode, schema, items: 0, part });
                }
            }
        }
        (operator.id, state)
    };
    let vertices = plan.graph.vertices.iter().map(|vertex| {
        let operators = vertex.operators.iter().map(written).collect();
        let state = VertexState {
            name: vertex.name.clone(),
            operators: vertex.operators.iter().map(|operator| operator.id).collect(),
            max_parallelism: MaxParallelism::default_for(1),
            subtasks: vec![TaskState { operators, ..TaskState::default() }],
            splits: SeenSplits::default(),
        };
        (vertex.id, state)
    });
    CheckpointMetadata {
        job: JobId(1),
        checkpoint: CheckpointId(1),
        kind: SnapshotKind::Checkpoint,
        timestamp: 0,
        vertices: vertices.collect(),
    }
}

#[test]
fn windows_and_joins_of_other_types_are_refused_before_anything_starts() {
    type Program = fn(&Env);
    fn numbers(env: &Env) -> DataStream<u64> {
        env.source("numbers", source::collection([1_u64]))
    }
    fn others(env: &Env) -> DataStream<u64> {
        env.source("others", source::collection([1_u64]))
    }
    fn words(env: &Env) -> DataStream<String> {
        env.source("words", source::collection(["a".to_owned()]))
    }
    fn end<T: Record>(stream: DataStream<T>) {
        stream.uid("it").sink("nowhere", sink::blackhole());
    }
    fn a_day() -> TumblingEventTimeWindows {
        TumblingEventTimeWindows::of(Duration::from_secs(86_400))
    }
    fn sessions() -> EventTimeSessionWindows {
        EventTimeSessionWindows::with_gap(Duration::from_secs(60))
    }
    let cases: [(&str, Program, Program, &str); 5] = [
        (
            "windows on a grid",
            |env| end(numbers(env).key_by(|n| *n).window(a_day()).count()),
            |env| {
                let windows = numbers(env).key_by(|n| *n).window(a_day());
                end(windows.fold(String::new, |_, _| ()));
            },
            "written as u64, now string",
        ),
        (
            "sessions",
            |env| end(numbers(env).key_by(|n| *n).window(sessions()).reduce(|a, _| a)),
            |env| {
                let windows = numbers(env).key_by(|n| *n).window(sessions());
                end(windows.fold_merging(String::new, |_, _| (), |_, _| ()));
            },
            "now string",
        ),
        (
            "windows of counts",
            |env| end(numbers(env).key_by(|n| *n).count_window(3).fold(|| 0_u64, |_, _| ())),
            |env| {
                let windows = numbers(env).key_by(|n| *n).count_window(3);
                end(windows.fold(String::new, |_, _| ()));
            },
            "written as u64, now string",
        ),
        (
            "joins in windows",
            |env| {
                let (a, b) = (numbers(env).key_by(|n| *n), others(env).key_by(|n| *n));
                end(a.join(&b).window(a_day()).apply(|a, b| a + b));
            },
            |env| {
                let (a, b) = (numbers(env).key_by(|n| *n), words(env).key_by(|_| 1_u64));
                end(a.join(&b).window(a_day()).apply(|a, _| *a));
            },
            "written as u64, now string",
        ),
        (
            "joins by intervals",
            |env| {
                let (a, b) = (numbers(env).key_by(|n| *n), others(env).key_by(|n| *n));
                end(a.interval_join(&b, 0, 1).process(|a, b| a + b));
            },
            |env| {
                let (a, b) = (numbers(env).key_by(|n| *n), words(env).key_by(|_| 1_u64));
                end(a.interval_join(&b, 0, 1).process(|a, _| *a));
            },
            "written as u64, now string",
        ),
    ];
    for (what, before, after, why) in cases {
        let checkpoint = checkpoint_of(&planned(before));
        let same = Comparison::new(&checkpoint, &planned(before).graph);
        assert_eq!(same.refusal(), None, "{what}");
        let refusal = Comparison::new(&checkpoint, &planned(after).graph).refusal();
        let refusal = refusal.unwrap_or_else(|| panic!("{what} are not refused"));
        assert!(
            refusal.contains("plans.rs:") && refusal.contains("cannot read state `"),
            "{refusal}"
        );
        assert!(refusal.contains(why), "{what}: {refusal}");
    }
}
