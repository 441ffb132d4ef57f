//! Where a program begins and ends: the environment holds the stream graph, the configuration and
//! the executor.

use crate::args::Args;
use crate::data_stream::DataStream;
use crate::error::{Error, ErrorCode, Result};
use crate::executor::{JobClient, JobResult, PipelineExecutor};
use crate::settings::{RuntimeExecutionMode, Settings};
use crate::stream_graph::{Chaining, NodeBody, NodeId, StreamGraph, StreamNode};
use crate::translate;
use millstream_core::Record;
use millstream_core::error::Location;
use millstream_core::record::Input;
use millstream_operator::plan::Factory;
use millstream_operator::source::{AnySource, ReaderSource, Source};
use millstream_shuffle::partition::BatchPrototype;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, LockResult, Mutex, PoisonError};

/// Builds jobs and runs them. Cheap to clone; all clones build the same job.
///
/// The launch mode (embedded, on a cluster, as a process of a cluster) comes from the environment
/// variables of the process, never from the program.
#[derive(Clone)]
pub struct StreamExecutionEnvironment {
    shared: Rc<Shared>,
}

struct Shared {
    graph: RefCell<StreamGraph>,
    settings: RefCell<Settings>,
    args: Args,
    executor: Box<dyn PipelineExecutor>,
}

impl StreamExecutionEnvironment {
    /// An environment whose jobs run through this executor: what the facade's entry points call.
    pub fn with_executor(
        args: Args,
        configuration: BTreeMap<String, String>,
        plan_values: BTreeMap<String, Vec<u8>>,
        executor: Box<dyn PipelineExecutor>,
    ) -> Self {
        let mut settings = Settings { configuration, plan_values, ..Settings::default() };
        settings.configuration.extend(args.configuration.clone());
        settings.parallelism = args.parallelism;
        let (graph, settings) = (RefCell::default(), RefCell::new(settings));
        Self { shared: Rc::new(Shared { graph, settings, args, executor }) }
    }

    /// The value of the program's argument `--name`, which has to be given.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new().with_arguments(["--input", "words.txt"]);
    /// assert_eq!(test.env().arg("input")?, "words.txt");
    /// assert!(test.env().arg("output").is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn arg(&self, name: &str) -> Result<String> {
        self.shared.args.require(name)
    }

    /// The value of the program's argument `--name`, if it is given.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new().with_arguments(["--input", "words.txt"]);
    /// assert_eq!(test.env().arg_opt("input").as_deref(), Some("words.txt"));
    /// assert_eq!(test.env().arg_opt("output"), None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn arg_opt(&self, name: &str) -> Option<String> {
        self.shared.args.get(name)
    }

    /// The value of the program's argument `--name`, read from text, if it is given.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new().with_arguments(["--times", "3"]);
    /// let times = test.env().arg_parsed("times")?.unwrap_or(1);
    /// assert_eq!(times, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn arg_parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>> {
        self.shared.args.parsed(name)
    }

    /// The parallelism of operators that set none. The command line's `--parallelism` comes first.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// env.set_parallelism(1);
    /// let seen = sink::collect();
    /// env.source("numbers", source::collection(0..3_u64)).sink("seen", seen.clone());
    /// env.execute("numbers")?;
    /// assert_eq!(seen.take(), [0, 1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_parallelism(&self, parallelism: u32) -> &Self {
        let mut settings = self.shared.settings.borrow_mut();
        settings.parallelism = self.shared.args.parallelism.or(Some(parallelism));
        drop(settings);
        self
    }

    /// The number of key groups of operators that set none.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// env.set_max_parallelism(720);
    /// let seen = sink::collect();
    /// env.source("numbers", source::collection(0..3_u64)).sink("seen", seen.clone());
    /// env.execute("numbers")?;
    /// assert_eq!(seen.take(), [0, 1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_max_parallelism(&self, max_parallelism: u32) -> &Self {
        self.shared.settings.borrow_mut().max_parallelism = Some(max_parallelism);
        self
    }

    /// How bounded input is treated. A `-D execution.runtime-mode` is overridden.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// env.set_runtime_mode(RuntimeExecutionMode::Batch);
    /// let counts = sink::collect();
    /// env.source("numbers", source::collection([5_u64, 5, 5]))
    ///     .key_by(|n| *n)
    ///     .count()
    ///     .sink("counts", counts.clone());
    /// env.execute("numbers")?;
    /// // One final count for each key.
    /// assert_eq!(counts.take(), [(5, 3)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_runtime_mode(&self, mode: RuntimeExecutionMode) -> &Self {
        self.shared.settings.borrow_mut().mode = Some(mode);
        self
    }

    /// Runs each operator in tasks of its own.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// env.disable_operator_chaining();
    /// let seen = sink::collect();
    /// env.source("numbers", source::collection(0..3_u64)).sink("seen", seen.clone());
    /// env.execute("numbers")?;
    /// assert_eq!(seen.take(), [0, 1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn disable_operator_chaining(&self) -> &Self {
        self.shared.settings.borrow_mut().chaining_disabled = true;
        self
    }

    /// Sets a configuration key of the job. The command line's `-D` comes first.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// env.configure("execution.runtime-mode", "BATCH");
    /// let seen = sink::collect();
    /// env.source("numbers", source::collection(0..3_u64)).sink("seen", seen.clone());
    /// env.execute("numbers")?;
    /// assert_eq!(seen.take(), [0, 1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn configure(&self, key: &str, value: &str) -> &Self {
        if !self.shared.args.configuration.contains_key(key) {
            let mut settings = self.shared.settings.borrow_mut();
            settings.configuration.insert(key.to_owned(), value.to_owned());
        }
        self
    }

    /// A value that must be the same in every process that runs the program but is no argument: the
    /// current time, a random id, an environment variable, a local file. It is computed once, where
    /// the job is planned, and replayed everywhere else.
    ///
    /// Job processes run the program's `main` again up to `execute`; anything they compute there on
    /// their own could differ.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    /// let started = test.env().plan_value("started", || now().map_or(0, |now| now.as_secs()))?;
    /// assert_eq!(test.env().plan_value("started", || 0_u64)?, started);
    /// # Ok(())
    /// # }
    /// ```
    pub fn plan_value<T: Record>(&self, name: &str, compute: impl FnOnce() -> T) -> Result<T> {
        let known = self.shared.settings.borrow().plan_values.get(name).cloned();
        if let Some(bytes) = known {
            return T::decode(&mut Input::new(&bytes)).map_err(|error| {
                Error::new(ErrorCode::PlanMismatch, format!("plan value `{name}` has another type"))
                    .why(error.to_string())
            });
        }
        let value = compute();
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        self.shared.settings.borrow_mut().plan_values.insert(name.to_owned(), bytes);
        Ok(value)
    }

    /// Gives every function of the job a file, or a directory with all that is in it, under a name: a model,
    /// a dictionary. On a cluster it is uploaded with the job, and may be gone from here once the job is
    /// submitted; each worker fetches it once. Functions ask for it in `open`, with
    /// [`TaskContext::cached_file`](millstream_operator::context::TaskContext::cached_file).
    ///
    /// Whether it is there is looked at by `execute`. A name stands for one path.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// env.register_cached_file("/nowhere/model.bin", "model")?;
    /// env.source("numbers", source::collection(0..3_u64)).sink("seen", sink::collect());
    /// let error = env.execute("numbers").expect_err("it is not there").to_string();
    /// assert!(error.contains("`model`") && error.contains("/nowhere/model.bin"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_cached_file(&self, path: impl Into<PathBuf>, name: &str) -> Result<()> {
        let path = path.into();
        let mut settings = self.shared.settings.borrow_mut();
        let known = settings.cached_files.entry(name.to_owned()).or_insert_with(|| path.clone());
        if *known != path {
            let summary = format!("two cached files have the name `{name}`");
            let paths = format!("`{}` and `{}`", known.display(), path.display());
            return Err(Error::argument(summary).why(paths).next("give each a name of its own"));
        }
        Ok(())
    }

    /// The records of a source.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// let seen = sink::collect();
    /// env.source("numbers", source::collection(0..3_u64)).sink("seen", seen.clone());
    /// env.execute("numbers")?;
    /// assert_eq!(seen.take(), [0, 1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn source<T: Record, S: Source<T>>(&self, name: &str, source: S) -> DataStream<T> {
        let (bounded, replays) = (source.is_bounded(), source.can_replay());
        let parallelism_max = source.parallelism_max();
        // Tasks are built on their own threads; a source need not be shareable to be used there.
        let source = Arc::new(Mutex::new(source));
        let for_tasks = source.clone();
        let body = NodeBody::Source {
            factory: Factory::new(move |context| {
                let reader = even_after_panic(for_tasks.lock()).reader(context)?;
                let source: Box<dyn AnySource> = Box::new(ReaderSource(reader));
                Ok(source)
            }),
            bounded,
            replays,
            splits: Box::new(move || even_after_panic(source.lock()).splits()),
        };
        let id = self.add(StreamNode {
            kind: format!("source -> {}", T::schema()),
            name: name.to_owned(),
            named: true,
            stateful: false,
            states: None,
            gives_sides: false,
            uid: None,
            declared_at: Location::caller(),
            parallelism: None,
            parallelism_max,
            max_parallelism: None,
            slot_sharing_group: None,
            chaining: Chaining::Always,
            inputs: Vec::new(),
            body,
            output_type: BatchPrototype::of::<T>(),
        });
        DataStream::of_node(self.clone(), id)
    }

    pub(crate) fn add(&self, node: StreamNode) -> NodeId {
        let mut graph = self.shared.graph.borrow_mut();
        graph.nodes.push(node);
        NodeId(graph.nodes.len() - 1)
    }

    pub(crate) fn change(&self, node: NodeId, change: impl FnOnce(&mut StreamNode)) {
        let mut graph = self.shared.graph.borrow_mut();
        change(graph.nodes.get_mut(node.0).expect("the stream is of a job not yet executed"));
    }

    /// Runs what was declared since the last `execute`, and waits for its end.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// let seen = sink::collect();
    /// env.source("numbers", source::collection(0..3_u64)).sink("seen", seen.clone());
    /// let result = env.execute("numbers")?;
    /// assert!(result.accumulators.is_empty());
    /// assert_eq!(seen.take(), [0, 1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn execute(&self, name: &str) -> Result<JobResult> {
        self.execute_async(name)?.wait()
    }

    /// Begins to run what was declared since the last `execute`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TestEnv;
    /// # use millstream::{sink, source};
    /// # fn main() -> Result<()> {
    /// let test = TestEnv::new();
    /// let env = test.env();
    /// let seen = sink::collect();
    /// env.source("numbers", source::collection(0..3_u64)).sink("seen", seen.clone());
    /// let running = env.execute_async("numbers")?;
    /// running.wait()?;
    /// assert_eq!(seen.take(), [0, 1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn execute_async(&self, name: &str) -> Result<JobClient> {
        self.shared.args.check_all_asked()?;
        let graph = std::mem::take(&mut *self.shared.graph.borrow_mut());
        let settings = self.shared.settings.borrow().clone();
        let plan = translate::plan(name, graph, &settings)?;
        self.shared.executor.submit(plan, &settings.plan_values)
    }
}

/// A source's own methods run under its lock; one that panicked has failed its task, and another
/// attempt may try again.
fn even_after_panic<T>(lock: LockResult<T>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}
