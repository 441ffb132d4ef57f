//! A server that speaks S3, on loopback: moto, from the Python registry, in an environment of its
//! own that all runs share.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const VERSION: &str = "5.2.5";

/// A bucket on the server of this test run.
pub(crate) struct Server {
    pub endpoint: String,
    pub bucket: String,
}

impl Server {
    /// A new bucket; nothing, and said so, where there is no Python to run the server with.
    pub(crate) fn start() -> Option<Self> {
        static ADDRESS: OnceLock<Result<String, String>> = OnceLock::new();
        match ADDRESS.get_or_init(start) {
            Ok(address) => Some(Self::with_bucket(address)),
            Err(reason) => {
                eprintln!("SKIPPED: no S3 server can be run on this machine: {reason}");
                None
            }
        }
    }

    fn with_bucket(address: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let bucket = format!("state-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let request = format!(
            "PUT /{bucket} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Self { endpoint: format!("http://{address}"), bucket }
    }
}

fn start() -> Result<String, String> {
    let environment = installed()?;
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        free.local_addr().map_err(|error| error.to_string())?.port()
    };
    let mut server = Command::new(environment.join("bin/moto_server"));
    server.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    let server = with_end(&mut server).spawn().map_err(|error| error.to_string())?;
    wait_for(server, port)
}

/// The server ends with us: it is given a pipe that nobody else holds, and a shell that waits for it.
fn with_end(server: &mut Command) -> Command {
    let program = server.get_program().to_owned();
    let arguments: Vec<_> = server.get_args().map(ToOwned::to_owned).collect();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("\"$@\" & cat >/dev/null; kill $!").arg("sh").arg(program).args(arguments);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    shell
}

fn wait_for(mut server: Child, port: u16) -> Result<String, String> {
    let address = format!("127.0.0.1:{port}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(&address).is_err() {
        if Instant::now() > deadline {
            let _ = server.kill();
            return Err("it did not listen within 60 s".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // Its pipe stays open as long as this process lives.
    std::mem::forget(server);
    Ok(address)
}

/// The directory of the environment; made by whoever comes first.
fn installed() -> Result<PathBuf, String> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let environment = base.join(format!("moto-{VERSION}"));
    let lock = File::create(base.join("moto.lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let done = environment.join("installed");
    if done.exists() {
        return Ok(environment);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    run(Command::new(environment.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .arg(format!("moto[server]=={VERSION}")))?;
    std::fs::write(&done, VERSION).map_err(|error| error.to_string())?;
    Ok(environment)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}
