//! Server and client against each other, and against peers that misbehave.

use super::super::client::BlobClient;
use super::*;
use crate::ErrorKind;
use crate::scratch::Scratch;
use millstream_core::hash::xxh3_128;
use millstream_core::ids::{ContentHash, JobId};
use std::path::Path;

const JOB: JobId = JobId(7);
const PATIENCE: Duration = Duration::from_secs(10);

struct Cluster {
    scratch: Scratch,
    store: Arc<BlobStore>,
    server: BlobServer,
}

impl Cluster {
    fn new(limits: ServerLimits) -> Self {
        let scratch = Scratch::new();
        let store = Arc::new(BlobStore::open(&scratch.join("store"), 64 << 20).unwrap());
        let address = "127.0.0.1:0".parse().unwrap();
        let server = BlobServer::start(store.clone(), secret(), address, limits).unwrap();
        Cluster { scratch, store, server }
    }

    fn client(&self) -> BlobClient {
        BlobClient::new(self.server.address(), secret(), PATIENCE)
    }
}

fn secret() -> Secret {
    Secret::new([9; 32])
}

fn get(client: &BlobClient, hash: ContentHash) -> Result<Vec<u8>, BlobError> {
    let mut bytes = Vec::new();
    client.get(hash, &mut bytes, Path::new("memory"))?;
    Ok(bytes)
}

/// Bytes that no two chunks of have alike.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u64 / 8 + 1)
        .flat_map(|word| (word * 0x9E37_79B9).to_le_bytes())
        .take(bytes)
        .collect()
}

#[test]
fn content_of_any_length_goes_there_and_back() {
    let cluster = Cluster::new(SERVER_LIMITS);
    for bytes in [0, 1, 65_535, 65_536, 65_537, 3_000_000] {
        let content = content(bytes);
        let hash = cluster.client().put_bytes(JOB, &content).unwrap();
        assert_eq!(hash, ContentHash(xxh3_128(&content)));
        assert_eq!(get(&cluster.client(), hash).unwrap(), content);
    }
}

#[test]
fn a_file_is_put_and_a_second_put_of_it_is_not_sent() {
    let cluster = Cluster::new(SERVER_LIMITS);
    let path = cluster.scratch.join("program");
    std::fs::write(&path, content(1_000_000)).unwrap();
    let hash = cluster.client().put_file(JOB, &path).unwrap();
    cluster.client().put_file(JobId(8), &path).unwrap();
    assert_eq!(cluster.store.used_bytes(), 1_000_000);
    cluster.store.release_job(JOB).unwrap();
    assert!(cluster.store.contains(hash), "the other job needs it");
    cluster.store.release_job(JobId(8)).unwrap();
    assert!(matches!(get(&cluster.client(), hash), Err(BlobError::Unknown(_))));
}

#[test]
fn a_blob_that_does_not_fit_is_refused_before_it_is_sent() {
    let cluster = Cluster::new(SERVER_LIMITS);
    let error = cluster.client().put_bytes(JOB, &vec![0; 65 << 20]).unwrap_err();
    assert!(error.to_string().contains("raise its quota"), "{error}");
    assert_eq!(cluster.store.used_bytes(), 0);
}

#[test]
fn who_does_not_know_the_secret_gets_nothing() {
    let cluster = Cluster::new(SERVER_LIMITS);
    let hash = cluster.client().put_bytes(JOB, b"program").unwrap();
    let mut wrong = [9; 32];
    wrong[31] = 8;
    let stranger = BlobClient::new(cluster.server.address(), Secret::new(wrong), PATIENCE);
    assert!(matches!(get(&stranger, hash), Err(BlobError::Denied)));
    let error = stranger.put_bytes(JOB, b"other").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    assert_eq!(format!("{:?}", secret()), "Secret(***)");
}

#[test]
fn a_blob_damaged_on_the_servers_disk_is_noticed_and_can_be_put_again() {
    let cluster = Cluster::new(SERVER_LIMITS);
    let content = content(200_000);
    let hash = cluster.client().put_bytes(JOB, &content).unwrap();
    let path = cluster.scratch.join("store/blobs").join(hash.to_string());
    for damaged in [&content[..199_999], &[&content[..], b"x"].concat()[1..], b""] {
        std::fs::write(&path, damaged).unwrap();
        let error = get(&cluster.client(), hash).unwrap_err();
        assert!(error.may_be_retried(), "{error}");
        cluster.client().put_bytes(JOB, &content).unwrap();
        assert_eq!(get(&cluster.client(), hash).unwrap(), content);
    }
}

#[test]
fn more_clients_than_connections_are_all_served() {
    let limits = ServerLimits { connections_max: 2, ..SERVER_LIMITS };
    let cluster = Cluster::new(limits);
    let content = content(500_000);
    let hash = cluster.client().put_bytes(JOB, &content).unwrap();
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| assert_eq!(get(&cluster.client(), hash).unwrap(), content));
        }
    });
}

#[test]
fn silent_connections_are_cut_and_do_not_keep_others_out() {
    let silence_max = Duration::from_millis(100);
    let cluster = Cluster::new(ServerLimits { connections_max: 2, silence_max });
    let mut silent: Vec<TcpStream> =
        (0..2).map(|_| TcpStream::connect(cluster.server.address()).unwrap()).collect();
    // One byte now and then is not a request.
    let _ = silent[0].write(b"M");
    cluster.client().put_bytes(JOB, b"program").unwrap();
    for stream in &mut silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let ended = stream.read(&mut [0]);
        assert!(
            matches!(ended, Ok(0))
                || ended.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset)
        );
    }
}

#[test]
fn nonsense_ends_the_connection_and_nothing_else() {
    let cluster = Cluster::new(SERVER_LIMITS);
    let mut header = [0; 80];
    header[..5].copy_from_slice(b"MSB1\x01");
    header[8..40].copy_from_slice(&[9; 32]);
    header[72..80].copy_from_slice(&10_u64.to_le_bytes());
    let too_long_chunk = [&header[..], &u32::MAX.to_le_bytes()].concat();
    let empty_chunk = [&header[..], &[0; 4]].concat();
    let more_than_announced = [&header[..], &11_u32.to_le_bytes(), &[0; 11]].concat();
    let wrong_content = [&header[..], &10_u32.to_le_bytes(), &[0; 10]].concat();
    header[72..80].copy_from_slice(&u64::MAX.to_le_bytes());
    let endless = header.to_vec();
    let cases: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n and so on until there are eighty bytes of it....",
        b"MSB1\x03",
        &too_long_chunk,
        &empty_chunk,
        &more_than_announced,
        &wrong_content,
        &endless,
    ];
    for case in cases {
        let mut stream = TcpStream::connect(cluster.server.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(case).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 2048);
    }
    assert_eq!(cluster.store.used_bytes(), 0);
    let incoming = std::fs::read_dir(cluster.scratch.join("store/incoming")).unwrap();
    assert_eq!(incoming.count(), 0);
    cluster.client().put_bytes(JOB, b"program").unwrap();
}

#[test]
fn dropping_the_server_ends_connections_and_frees_the_port() {
    let cluster = Cluster::new(SERVER_LIMITS);
    let address = cluster.server.address();
    let mut open = TcpStream::connect(address).unwrap();
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = cluster.client();
    client.put_bytes(JOB, b"program").unwrap();
    drop(cluster.server);
    assert!(!matches!(open.read(&mut [0]), Ok(1..)));
    let error = client.put_bytes(JOB, b"other").unwrap_err();
    assert!(matches!(error, BlobError::Connect { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Transient);
}

#[test]
fn blobs_are_served_on_loopback_only() {
    let scratch = Scratch::new();
    let store = Arc::new(BlobStore::open(scratch.path(), 100).unwrap());
    let address = "0.0.0.0:0".parse().unwrap();
    let error = BlobServer::start(store, secret(), address, SERVER_LIMITS).unwrap_err();
    assert!(matches!(error, BlobError::Serve { .. }), "{error}");
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let patience = Duration::from_millis(50);
    let client = BlobClient::new(deaf.local_addr().unwrap(), secret(), patience);
    let error = client.put_bytes(JOB, b"program").unwrap_err();
    assert!(matches!(error, BlobError::Transfer { .. }), "{error}");
}
