//! Writes `fuzz/corpus`: for each target some inputs that are understood, from which the fuzzer starts.
//! To be run again when a format has changed: `cargo run -p millstream-fuzz-targets --example seeds`.

use millstream_checkpoint::handle::*;
use millstream_checkpoint::local::proof::ProofWriter;
use millstream_checkpoint::metadata::{CheckpointMetadata, SeenSplits, VertexState, encode};
use millstream_checkpoint::native::TableFormat;
use millstream_checkpoint::snapshot::{
    FrozenTable, ListSnapshot, RowSink, SnapshotError, TableSnapshot,
};
use millstream_checkpoint::state_file::TaskStateWriter;
use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::checkpoint::{CheckpointId, SnapshotKind};
use millstream_core::error::Location;
use millstream_core::ids::*;
use millstream_core::job_graph::*;
use millstream_core::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
use millstream_core::record::{Field, Record, Schema, Variant};
use millstream_fuzz_targets::{ORIGIN, TARGETS, Target};
use millstream_host::blob::protocol::{Request, Secret, Verb};
use millstream_jobmanager::ha::{HaRecord, JobRecord};
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use millstream_rpc::protocol::job_link::{FromJobProcess, JobInformation, ToJobProcess};
use millstream_rpc::protocol::job_master::{SnapshotMetrics, ToJobMaster};
use millstream_rpc::protocol::{Answer, AskError, EndpointName, Message, Refusal};
use millstream_rpc::shell::{frame, link};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn main() {
    for target in TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        let directory = directory.join(target.name);
        fs::create_dir_all(&directory).expect("made");
        for (name, bytes) in seeds(target) {
            let understood = (target.run)(&bytes);
            println!("{} {name}: {} bytes, understood: {understood}", target.name, bytes.len());
            fs::write(directory.join(name), bytes).expect("written");
        }
    }
}

type Seeds = Vec<(&'static str, Vec<u8>)>;

fn seeds(target: &Target) -> Seeds {
    match target.name {
        "record" | "inspect" => rows(),
        "batch" => batches(),
        "evolution" => evolution(),
        "rpc_frame" => rpc_frames(),
        "rpc_message" => rpc_messages(),
        "job_link" => job_link(),
        "job_graph" => vec![("two-vertices", postcard(&graph()))],
        "shuffle_frame" => shuffle_frames(),
        "in_flight" => vec![
            ("numbers", [&[0, 0, 0, 0, 2, 0, 0, 0][..], &[7; 16]].concat()),
            ("words", [&[1, 0, 0, 0, 1, 0, 0, 0][..], &[9; 8], &[2, b'h', b'i']].concat()),
        ],
        "blob_request" => vec![("put", request(Verb::Put)), ("get", request(Verb::Get))],
        "blob_reply" => blob_replies(),
        "config_file" => configuration_files(),
        "checkpoint_metadata" => {
            let file = encode(&metadata());
            vec![("file", [&[0], &file[..]].concat()), ("payload", [&[1], &file[32..]].concat())]
        }
        "state_file" => state_files(),
        "ha_record" => {
            let file = ha_record().encode();
            let body = file.iter().position(|byte| *byte == b'\n').expect("a first line") + 1;
            vec![("file", [&[0], &file[..]].concat()), ("body", [&[1], &file[body..]].concat())]
        }
        "local_proof" => {
            let mut proof = ProofWriter::new(ORIGIN.to_owned());
            proof.add(&[7; 300_000]);
            let file = proof.finish().encode();
            let content = &file[..file.len() - 8];
            vec![("file", [&[0], &file[..]].concat()), ("content", [&[1], content].concat())]
        }
        other => panic!("{other} has no seeds"),
    }
}

fn postcard(value: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("in memory")
}

/// A row behind the number of its kind.
fn row(kind: u8, value: &impl Record) -> Vec<u8> {
    let mut row = vec![kind];
    value.encode(&mut row);
    row
}

fn rows() -> Seeds {
    let words = vec!["to".to_owned(), "be or not to be, that is the question".to_owned()];
    let everything = [
        &row(28, &"word".to_owned())[..],
        &[1, 7, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 2, 3],
        &(-1_i128).to_le_bytes(),
        &[1, 1, b'a', 1, 0, 0, 0, 0, 0, 0, 0, 1, 5, b'x', 0, 0, 0, 7, 0, 8, 0, 1],
        &[0, 0, 0x80, 0x7f, 2],
    ];
    let described = [1, 2, b'h', b'i', 1, 1, 9, 1, 5, 1, b'x', 7, 0, 8, 0, 1, 0xff];
    vec![
        ("u64", row(3, &7_u64)),
        ("char", row(8, &'é')),
        ("string", row(10, &words[1])),
        ("option", row(13, &Some(words[0].clone()))),
        ("numbers", row(15, &vec![1_u64, 2, 3])),
        ("words", row(16, &words)),
        ("units", row(17, &vec![(); 5])),
        ("lists-of-units", row(18, &vec![vec![(); 5]; 3])),
        ("set", row(20, &std::collections::BTreeSet::from([1_u16, 2, 700]))),
        ("everything", everything.concat()),
        ("described", [&[255], &postcard(&schema())[..], &described].concat()),
    ]
}

/// An optional struct of a text and shapes.
fn schema() -> Schema {
    let field = |name: &str, schema| Field {
        name: name.to_owned(),
        aliases: vec!["old".to_owned()],
        schema,
        default: None,
    };
    let variant = Variant { name: "V".to_owned(), fields: vec![field("0", Schema::plain("u8"))] };
    let shape = Schema::Enum { name: "E".to_owned(), variants: vec![variant.clone(), variant] };
    let list = Schema::List(Box::new(shape));
    let map = Schema::Map(Box::new(Schema::plain("u8")), Box::new(Schema::plain("string")));
    Schema::Option(Box::new(Schema::Struct {
        name: "S".to_owned(),
        fields: vec![
            field("text", Schema::plain("string")),
            field("list", list),
            field("map", map),
            field("pair", Schema::Tuple(vec![Schema::Array(Box::new(Schema::plain("i16")), 2)])),
            field("foreign", Schema::Foreign("F".to_owned())),
        ],
    }))
}

fn batches() -> Seeds {
    let of =
        |choice: u8, count: u32, rows: &[u8]| [&[choice], &count.to_le_bytes()[..], rows].concat();
    vec![
        ("numbers", of(0, 2, &[7; 16])),
        ("hashed-words", of(3, 1, &[1, 2, 3, 4, 5, 6, 7, 8, 2, b'h', b'i'])),
        ("units", of(4, 9, &[])),
        ("pairs", of(6, 1, &[1, b'x', 1, 0, 0, 0, 0, 0, 0, 0])),
        ("lists", of(8, 2, &[2, 0, 0, 0])),
        ("long", of(10, 1, &[5; 800])),
    ]
}

fn evolution() -> Seeds {
    let known = [
        &[0, 1, 1, b'g', 0xfe, 0xff, 2, 0, 0, 0, 0x80, 0x3f, 1, 1, 9, 1, 0, 0, 0][..],
        &[2, 0, 0, 0, 3],
    ];
    let schema = |kind: &str| postcard(&Schema::List(Box::new(Schema::plain(kind))));
    vec![
        ("known", known.concat()),
        ("kinds", vec![3, 2, 1, 0, 0, 0]),
        ("wider", [&[200], &schema("u16")[..], &[15, 2, 1, 2, 3, 4]].concat()),
    ]
}

fn attempt() -> ExecutionAttemptId {
    ExecutionAttemptId {
        graph: ExecutionGraphId(3),
        vertex: JobVertexId(1),
        subtask: 1,
        attempt: 2,
    }
}

fn task_state() -> TaskState {
    let mut metadata = metadata();
    metadata.vertices.remove(&JobVertexId(1)).expect("there").subtasks.remove(0)
}

fn messages() -> Vec<Message> {
    vec![
        Message::Dispatcher(ToDispatcher::SubmitJob { job: JobId(7), graph: Box::new(graph()) }),
        Message::Dispatcher(ToDispatcher::ListJobs),
        Message::JobMaster(ToJobMaster::AcknowledgeCheckpoint {
            attempt: attempt(),
            checkpoint: CheckpointId(5),
            state: Box::new(task_state()),
            metrics: SnapshotMetrics::default(),
        }),
    ]
}

fn rpc_frames() -> Seeds {
    let encoded = |frame| frame::encode(&frame).expect("small");
    let to = EndpointName::Dispatcher;
    let token = Some(FencingToken(9));
    let asks = messages().into_iter().zip(1..).map(|(message, correlation)| {
        encoded(frame::Frame::Ask { correlation, to, token, message })
    });
    let refused = AskError::Timeout { to: "x".to_owned(), timeout_ms: 10 };
    vec![
        ("hello", encoded(frame::Frame::Hello { version: 1, instance: 77 })),
        ("asks", asks.collect::<Vec<_>>().concat()),
        ("answer", encoded(frame::Frame::Answer { correlation: 1, result: Ok(Answer::Ack) })),
        ("no-answer", encoded(frame::Frame::Answer { correlation: 2, result: Err(refused) })),
    ]
}

fn rpc_messages() -> Seeds {
    let names = ["submission", "listing", "acknowledgement"];
    let with = |kind: u8, bytes: Vec<u8>| [&[kind], &bytes[..]].concat();
    let said = messages().into_iter().map(|message| with(0, postcard(&message)));
    let refused = Answer::Refused(Refusal::Unknown("job".to_owned()));
    names.into_iter().zip(said).chain([("refusal", with(1, postcard(&refused)))]).collect()
}

fn job_link() -> Seeds {
    fn frames(kind: u8, messages: &[impl serde::Serialize]) -> Vec<u8> {
        let mut bytes = vec![kind];
        messages.iter().for_each(|message| link::write_frame(&mut bytes, message).expect("small"));
        bytes
    }
    let information = Box::new(JobInformation { job: JobId(1), graph: graph() });
    let start = ToJobProcess::Start { information, resource: ResourceId("tm:1".to_owned()) };
    let acknowledged = FromJobProcess::AcknowledgeCheckpoint {
        attempt: attempt(),
        checkpoint: CheckpointId(5),
        state: Box::new(task_state()),
        metrics: SnapshotMetrics::default(),
    };
    let hello = FromJobProcess::Hello { version: 1, pid: 2 };
    vec![
        ("told", frames(0, &[start, ToJobProcess::Dismiss])),
        ("said", frames(1, &[hello, FromJobProcess::Ready, acknowledged])),
    ]
}

fn graph() -> JobGraph {
    let location = Location { file: "src/main.rs".to_owned(), line: 7 };
    let vertex = |id: u128, name: &str| JobVertex {
        id: JobVertexId(id),
        name: name.to_owned(),
        parallelism: 2,
        max_parallelism: MaxParallelism::new(128).expect("in range"),
        slot_sharing_group: "default".to_owned(),
        operators: vec![OperatorInfo {
            id: OperatorId(id),
            name: name.to_owned(),
            declared_at: location.clone(),
            states: None,
        }],
        splits: vec![SourceSplit(vec![1, 2, 3])],
    };
    let edge = JobEdge {
        data_set: DataSetId(5),
        source: 0,
        target: 1,
        ship: ShipStrategy::Hash,
        exchange: ExchangeMode::Pipelined,
    };
    let entry = PlanEntry {
        operator: OperatorId(1),
        name: "source".to_owned(),
        declared_at: location.clone(),
        text: "source u64".to_owned(),
    };
    JobGraph {
        name: "job".to_owned(),
        vertices: vec![vertex(1, "source"), vertex(2, "sum")],
        edges: vec![edge],
        mode: RuntimeMode::Streaming,
        configuration: [("parallelism.default".to_owned(), "2".to_owned())].into(),
        signature: PlanSignature { entries: vec![entry] },
        program: Some(Program {
            artefact: ContentHash(9),
            file_name: "job".to_owned(),
            arguments: vec!["--fast".to_owned()],
            environment: [("A".to_owned(), "B".to_owned())].into(),
            execute_ordinal: 1,
            earlier_results: vec![vec![1]],
            plan_values: [("now".to_owned(), vec![2])].into(),
            cached_files: Vec::new(),
        }),
    }
}

fn shuffle_frames() -> Seeds {
    let frame = |kind: u8, flags: u8, payload: &[u8]| {
        let length = (payload.len() as u32).to_le_bytes();
        let words = [[1, 0, 0, 0], [2, 0, 0, 0], [3, 0, 0, 0]].concat();
        [&length[..], &[kind, flags, 0, 0], &words, payload].concat()
    };
    let barrier = [&[7, 0, 0, 0, 0, 0, 0, 0][..], &[1; 8], &[2, 3, 0, 0], &[9, 0, 0, 0]].concat();
    let consumer =
        [frame(1, 0, b"millwire"), frame(2, 0, &[4; 60]), frame(3, 0, &[]), frame(4, 0, &[])];
    let producer = [
        frame(1, 0, b"millwire"),
        frame(16, 0, &[]),
        frame(17, 1, &[5; 50]),
        frame(21, 0, &barrier),
        frame(22, 0, &[8; 8]),
        frame(18, 0, &[]),
    ];
    let failures = [frame(19, 0, &[]), frame(20, 0, b"because")];
    vec![
        ("consumer", [vec![255], consumer.concat()].concat()),
        ("producer", [vec![1], producer.concat()].concat()),
        ("failures", [vec![9], failures.concat()].concat()),
    ]
}

fn request(verb: Verb) -> Vec<u8> {
    let (secret, job, hash) = (Secret::new([3; 32]), JobId(4), ContentHash(5));
    Request { verb, secret, job, hash, bytes: 6 }.encode().to_vec()
}

fn blob_replies() -> Seeds {
    let content = b"the content of a blob";
    let mut hasher = millstream_core::hash::Hasher128::new();
    hasher.update(content);
    let name = hasher.finish().to_le_bytes();
    let reply = |status: u8, number: u64, words: &[u8]| {
        let length = (words.len() as u16).to_le_bytes();
        [&[status][..], &length, &number.to_le_bytes(), words].concat()
    };
    let chunk = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
    let (first, second) = content.split_at(4);
    let length = content.len() as u64;
    let whole = [reply(0, length, b""), chunk(first), chunk(second), reply(0, 0, b"")].concat();
    vec![
        ("blob", [&name[..], &whole].concat()),
        ("unknown", [&name[..], &reply(3, 0, b"no such blob")].concat()),
        ("quota", [&name[..], &reply(4, 10, b"full")].concat()),
    ]
}

fn configuration_files() -> Seeds {
    let nested = "# a comment\nrest:\n  port: 9000\n  bind-address: localhost\n\
                  io.tmp.dirs: [a, b]\nheartbeat:\n  interval: 10 s\n  timeout: 50000\n";
    let flat = "parallelism.default: 2\ntaskmanager.memory.process.size: 1g\n'quoted': \"a\\n\"\n";
    let aliases = "a: &x {b: 1, c: [1, 2.5, true, ~]}\nd: *x\ne:\n  <<: *x\n  f: |\n    text\n";
    vec![("nested", nested.into()), ("flat", flat.into()), ("aliases", aliases.into())]
}

fn metadata() -> CheckpointMetadata {
    let part = FilePart {
        file: StateFile::File(FileName { root: None, path: "shared/1".to_owned(), bytes: 100 }),
        index_offset: 16,
        index_length: 40,
        rows: 3,
        bytes: 60,
    };
    let inline = FilePart { file: StateFile::Inline(vec![0, 255]), ..part.clone() };
    let table = TableState {
        name: "sum".to_owned(),
        schema: TableSchema {
            key: Schema::plain("u64"),
            namespace: Schema::Tuple(Vec::new()),
            value: schema(),
        },
        groups: KeyGroupRange(0..128),
        chain: vec![part, inline.clone()],
        format: TableFormat::Rows,
    };
    let list = ListState {
        name: "splits".to_owned(),
        mode: ListMode::Split,
        schema: None,
        items: 1,
        part: inline,
    };
    let operator = OperatorState { tables: vec![table], lists: vec![list] };
    let operators = [(OperatorId(1), operator)].into();
    let vertex = VertexState {
        name: "source".to_owned(),
        operators: vec![OperatorId(1)],
        max_parallelism: MaxParallelism::new(128).expect("in range"),
        subtasks: vec![TaskState { operators, splits: 2, ..TaskState::default() }],
        splits: SeenSplits::new(&[b"a", b"b", b"c"], &[0, 2].into()),
    };
    CheckpointMetadata {
        job: JobId(0xAB),
        checkpoint: CheckpointId(7),
        kind: SnapshotKind::Checkpoint,
        timestamp: 1_700_000_000_000,
        vertices: [(JobVertexId(1), vertex)].into(),
    }
}

/// A table of two groups with a row each.
struct Rows;

impl FrozenTable for Rows {
    fn write(self: Box<Self>, out: &mut dyn RowSink) -> Result<(), SnapshotError> {
        for group in [3, 7] {
            out.rows(KeyGroup::new(group).expect("in range"), 1, &[group as u8; 16])?;
        }
        Ok(())
    }
}

fn state_files() -> Seeds {
    let storage = MemoryStorage::new();
    let groups = KeyGroupRange(0..128);
    let (exclusive, shared) = ("chk-1/t".to_owned(), "shared/t".to_owned());
    let mut writer =
        TaskStateWriter::new(Arc::new(storage.clone()), exclusive, shared, groups, usize::MAX);
    let number = Schema::plain("u64");
    let namespace = Schema::Tuple(Vec::new());
    let schema = TableSchema { key: number.clone(), namespace, value: number };
    let table = TableSnapshot { name: "sums".to_owned(), schema, content: Box::new(Rows) };
    let table = writer.table(table, None, false).expect("written").chain.remove(0);
    let items = vec![b"one".to_vec(), b"two".to_vec()];
    let (name, mode) = ("splits".to_owned(), ListMode::Split);
    let list = writer.list(ListSnapshot { name, mode, schema: None, items }).expect("written").part;
    let seed = |flags: u8, part: &FilePart| {
        let StateFile::Inline(file) = &part.file else { panic!("it is small") };
        let (offset, length) = (part.index_offset as u8, part.index_length as u8);
        [&[flags, offset, 0, length, 0, 2, 0, 0, 128], &file[..]].concat()
    };
    vec![
        ("table", seed(0, &table)),
        ("table-repaired", seed(2, &table)),
        ("table-inline-twice", seed(14, &table)),
        ("list", seed(1, &list)),
        ("list-repaired", seed(3, &list)),
    ]
}

fn ha_record() -> HaRecord {
    let mut record = HaRecord { lineage: 1, epoch: 2, beat: 3, ..HaRecord::default() };
    record.jobs.insert(JobId(7), JobRecord::new("job-7".to_owned(), 1_700_000_000_000));
    record
}
