//! Flink beside us, if it is there: an installation under `FLINK_PEER` with a running cluster.
//!
//! The jobs measure themselves and print a line; see the README of `benches` for how to install.

use std::ffi::OsString;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use crate::measure::Figures;

/// An installation whose cluster answers.
pub(crate) struct Flink {
    folder: PathBuf,
    home: PathBuf,
    address: String,
}

impl Flink {
    /// Looks for it; if it is not usable, says why.
    pub(crate) fn find() -> Result<Self, String> {
        let Some(folder) = std::env::var_os("FLINK_PEER").map(PathBuf::from) else {
            return Err("not installed here".to_owned());
        };
        let home =
            std::env::var_os("FLINK_HOME").map_or_else(|| folder.join("flink"), PathBuf::from);
        for needed in [home.join("bin/flink"), folder.join("jobs.jar")] {
            if !needed.exists() {
                return Err(format!("no {}", needed.display()));
            }
        }
        let port = std::env::var("REST_PORT").unwrap_or_else(|_| "18081".to_owned());
        let address = format!("127.0.0.1:{port}");
        if TcpStream::connect(&address).is_err() {
            return Err(format!("no cluster answers at {address}"));
        }
        Ok(Self { folder, home, address })
    }

    /// The client that runs one job and waits for it.
    pub(crate) fn command(
        &self,
        class: &str,
        arguments: impl Iterator<Item = OsString>,
    ) -> Command {
        let mut command = Command::new(self.home.join("bin/flink"));
        command
            .env("FLINK_CONF_DIR", self.folder.join("conf"))
            .env("FLINK_LOG_DIR", self.folder.join("log"))
            .args(["run", "-m", &self.address, "-c", class])
            .arg(self.folder.join("jobs.jar"))
            .args(arguments);
        command
    }
}

/// Where the queries of its SQL job are: `FLINK_SQL`, or `sql/` of the installation.
pub(crate) fn sql_folder() -> PathBuf {
    let installed =
        || PathBuf::from(std::env::var_os("FLINK_PEER").unwrap_or_default()).join("sql");
    std::env::var_os("FLINK_SQL").map_or_else(installed, PathBuf::from)
}

/// Whether a line of output is what a job measured.
pub(crate) fn is_figures(line: &str) -> bool {
    line.starts_with("RESULT,") || line.starts_with("LATENCY,")
}

/// Reads such a line, whose fields carry their units.
pub(crate) fn read_figures(line: &str) -> Figures {
    let fields: Vec<&str> = line.split(',').collect();
    let with = |prefix: &str, suffix: &str| {
        fields
            .iter()
            .find_map(|field| field.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok())
            .unwrap_or(0.0)
    };
    Figures {
        seconds: with("", " s"),
        cpu_seconds: with("", " cpu-s"),
        peak_rss_kb: with("", " MB peak") * 1024.0,
        // The job only repeats what it was told; the reference has counted.
        records: 0.0,
        p50_us: with("p50 ", " us"),
        p99_us: with("p99 ", " us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_result_line() {
        let figures = read_figures(
            "RESULT,keyedsum,p1,hashmap no-ckpt,5.11 s,6.2 cpu-s,10000000 rows,1956947 rows/s,\
             1612903 rows/cpu-s,1234 MB peak,load 1.20",
        );
        assert_eq!(figures.seconds, 5.11);
        assert_eq!(figures.cpu_seconds, 6.2);
        assert_eq!(figures.peak_rss_kb, 1234.0 * 1024.0);
    }

    #[test]
    fn reads_a_latency_line() {
        let figures = read_figures(
            "LATENCY,rate 10000/s,buffer-timeout 0 ms,p50 5 us,p99 50 us,p99.9 90 us,max 1000 us",
        );
        assert_eq!((figures.p50_us, figures.p99_us), (5.0, 50.0));
    }
}
