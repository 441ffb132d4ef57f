//! Workers: some threads of this process, or one thread in each of two processes.

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::peer::{self, Peer};
use timely::worker::Worker;
use timely::{CommunicationConfig, Config, WorkerConfig};

/// Runs worker threads until their dataflows are done.
pub(crate) fn run<T, F>(config: Config, worker: F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Fn(&mut Worker) -> T + Send + Sync + 'static,
{
    let results = timely::execute(config, worker)?.join();
    Ok(results.into_iter().collect::<std::result::Result<_, _>>()?)
}

/// Worker threads of one process.
pub(crate) fn threads(parallelism: usize) -> Config {
    match parallelism {
        1 => Config::thread(),
        _ => Config::process(parallelism),
    }
}

/// This process's place among two. The first has the sink and starts the second.
pub(crate) struct Processes {
    addresses: Vec<String>,
    index: usize,
}

impl Processes {
    /// Reads which of the two this is: the second one is told by the first.
    pub(crate) fn from_arguments(arguments: &mut Arguments) -> Result<Self> {
        let (addresses, index) = match arguments.text("addresses") {
            Some(addresses) => (addresses.split(',').map(str::to_owned).collect(), 1),
            None => (peer::free_ports()?.map(|port| format!("127.0.0.1:{port}")).to_vec(), 0),
        };
        Ok(Self { addresses, index })
    }

    pub(crate) fn is_first(&self) -> bool {
        self.index == 0
    }

    /// Starts the second process with the first one's arguments.
    pub(crate) fn spawn_second(&self) -> Result<Peer> {
        let mut arguments: Vec<String> = std::env::args().skip(1).collect();
        arguments.push("--addresses".to_owned());
        arguments.push(self.addresses.join(","));
        Peer::spawn(&arguments)
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            communication: CommunicationConfig::Cluster {
                threads: 1,
                process: self.index,
                addresses: self.addresses.clone(),
                report: false,
                zerocopy: false,
            },
            worker: WorkerConfig::default(),
        }
    }
}
